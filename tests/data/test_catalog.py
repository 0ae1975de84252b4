"""The data sets as objects: each is one, with the facts that planning needs; and one is added by a file and a name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from paper_repro import cli
from paper_repro.data import catalog, sets
from paper_repro.data.imagenet import layout
from paper_repro.errors import UserError
from paper_repro.spec import LOADERS, Spec
from paper_repro.training.options import require_applicable

ADDED = """
from dataclasses import dataclass
from pathlib import Path

import torch

from paper_repro.data.dataset import InMemory, Parts


@dataclass(frozen=True, kw_only=True)
class Digits(InMemory):
    def load(self, folder: Path) -> Parts:
        values = torch.tensor([int(digit) for digit in (folder / "digits.txt").read_text()])
        return (values[:-2, None].float(), values[:-2] % 2), (values[-2:, None].float(), values[-2:] % 2)

    def make_ready(self, root, say, twice=False):
        say("twice " * (1 + twice))
        super().make_ready(root, say)
"""


FACTS = {
    "source": "paper_repro.data.sets.digits:Digits", "title": "Digits", "train_examples": 8, "val_examples": 2,
    "num_classes": 2, "input_size": (1, 1), "licence": "none", "disk_mb": 0, "kept_in": "", "by_hand": "Write it",
    "files": {"digits.txt": "84d89877f0d4041efb6bf91a16f0248f2fd573e6af05c19f96bedb9f882f7882"},
    "steps": [{"flag": "--twice", "help": "say it twice."}],
}  # fmt: skip


@pytest.mark.parametrize("name", catalog.sets())
def test_every_name_is_that_of_one_data_set(name: str) -> None:
    item, source = catalog.dataset(name), catalog.source(name)
    assert item.name == source.name == name
    assert all(value == getattr(source, key) for key, value in vars(item).items())
    assert item.title and item.licence and item.disk_mb > 0 and item.num_classes > 1
    assert not item.same_as or catalog.dataset(item.same_as).train_examples == item.train_examples
    assert set(item.readers) <= set(LOADERS)


def test_no_module_is_without_a_data_set() -> None:
    files = {file.stem for file in Path(sets.__file__).parent.glob("*.py")} - {"__init__"}
    assert files == {catalog.keys(name)["source"].rpartition(":")[0].rpartition(".")[2] for name in catalog.sets()}


def test_facts_are_read_without_torch() -> None:
    code = "import sys; from paper_repro.data import catalog; catalog.every(); print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "False\n"


def test_the_counts_of_imagenet_are_those_that_a_copy_is_checked_by() -> None:
    facts = catalog.dataset("imagenet1k")
    assert [facts.train_examples, facts.val_examples] == [part.examples for part in layout.PARTS.values()]


def test_a_data_set_is_added_by_one_file_and_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is found, verified, opened for training, listed, and has options of its own on the command line."""
    (tmp_path / "sets").mkdir()
    (tmp_path / "sets" / "digits.py").write_text(ADDED, encoding="utf-8")
    monkeypatch.setattr(sets, "__path__", [*sets.__path__, str(tmp_path / "sets")])
    monkeypatch.setitem(catalog.sets(), "digits", FACTS)
    (tmp_path / "digits.txt").write_text("0123456789", encoding="utf-8")

    train, val, fingerprint = catalog.source("digits").open(tmp_path, batch_size=4)
    assert len(train) == 2 and len(fingerprint) == 64
    ((inputs, labels),) = val.in_order()
    assert torch.equal(inputs, torch.tensor([[8.0], [9.0]])) and labels.tolist() == [0, 1]

    def data(*arguments: str) -> str:
        cli.cli.main(["data", *arguments], standalone_mode=False)
        return capsys.readouterr().out

    assert "Digits: 8 + 2 examples, 2 classes (licence: none)" in data()
    assert data("digits", "--root", str(tmp_path), "--twice").startswith("twice twice")
    with pytest.raises(UserError, match="--twice apply to `data digits` alone"):
        data("cifar10", "--twice")
    with pytest.raises(UserError, match="unknown data set ''"):
        data("")
    spec = Spec(model="m", dataset="digits", method="dense", epochs=9, batch_size=1, lr=1, weight_decay=0)
    with pytest.raises(UserError, match="loader 'ffcv' means nothing for Digits"):
        require_applicable(spec.with_options("loader=ffcv"))
    (tmp_path / "digits.txt").unlink()
    with pytest.raises(UserError, match=r"digits.txt is not there: it is Digits. It cannot be fetched. Write it"):
        data("digits", "--root", str(tmp_path))
