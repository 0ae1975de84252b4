"""Networks whose ranks a training lowered: read back from a finished run, at its end and as kept on its way, and
exported.
"""

from __future__ import annotations

import copy
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from torch import nn

from paper_repro import cli, methods, models, record
from paper_repro.accounting import account, low_rank_products, ranks
from paper_repro.errors import UserError
from paper_repro.interchange import networks, weight_files
from paper_repro.interchange.export import Exported, export, run_onnx
from paper_repro.methods.base import attached
from paper_repro.record import Record
from paper_repro.spec import Spec
from paper_repro.training import loop
from paper_repro.training import run as training_run
from paper_repro.training.hooks import Hook
from paper_repro.training.run import Run
from tests.training.tiny import RANKS, install_sequences

ANY = [[w, u] for w in range(10) for u in range(13)]  # whichever it passes: they differ between processors
INPUTS = torch.randn(5, 10, 9, generator=torch.Generator().manual_seed(7))


@dataclass(frozen=True)
class Finished:
    """A finished run of ``spec``, and its plain networks as they were in the process that trained it."""

    folder: Path
    result: Record
    last: nn.Module
    kept: dict[str, nn.Module]

    def passing(self) -> str:
        """Ranks that it was kept at between those that it began with and those that it ended with."""
        final = "/".join(map(str, ranks(self.last).values()))
        return next(name for name in self.kept if name not in ("9/12", final))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Finished]:
    """One tiny run of str-rank that keeps its network at all ranks; the tiny data set stands for HAR-2 meanwhile.

    Its matrices begin larger, so that its logits differ between inputs, and between ranks, to the end.
    """
    runs = tmp_path_factory.mktemp("runs")
    spec = replace(RANKS, epochs=5, method_args={**RANKS.method_args, "keep": ANY})
    last, kept = [], {}
    untrained = training_run.untrained

    def eager(spec: Spec) -> nn.Module:
        network = untrained(spec)
        for layers in low_rank_products(network).values():
            for layer in layers:
                nn.init.normal_(layer.weight, std=0.5)
        return network

    class Watch(Hook):
        def on_step(self, run: Run) -> None:
            milestone = run.method.milestone(run.model)
            if milestone is not None:
                kept[milestone] = copy.deepcopy(run.finalized())

        def on_finish(self, run: Run, plain: nn.Module) -> None:
            last.append(copy.deepcopy(plain))

    with pytest.MonkeyPatch.context() as patch:
        install_sequences(patch)
        patch.setattr(training_run, "untrained", eager)
        result = loop.run(spec, runs, runs, hooks=[Watch()])
        yield Finished(runs / spec.name, result, last[0], kept)


@pytest.fixture
def finished(trained: Finished, tmp_path: Path) -> Finished:
    """A copy of the run that a test may change."""
    folder = tmp_path / "run"
    shutil.copytree(trained.folder, folder)
    return replace(trained, folder=folder)


def written(folder: Path, out: Path, kept: str | None = None) -> dict[str, Exported]:
    return {item.path.name: item for item in export(folder, out, kept) if isinstance(item, Exported)}


def logits(network: nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return network.eval()(INPUTS)


@pytest.mark.parametrize("which", ["last", "kept"])
def test_a_run_leaves_as_a_plain_network_of_the_ranks_that_it_has(
    finished: Finished, tmp_path: Path, which: str
) -> None:
    kept = finished.passing() if which == "kept" else None
    original = finished.kept[kept] if kept else finished.last
    w, u = ranks(original).values()
    assert 0 < w <= 9 and 0 < u < 12 and kept in (None, f"{w}/{u}"), (w, u)
    files = written(finished.folder, tmp_path / "out", kept)
    assert list(files) == ["model.safetensors", "model.onnx"]
    assert f"fastgrnn with ranks {w} (w), {u} (u)" in files["model.safetensors"].form
    plain = models.fastgrnn(hidden=12, rank_w=w, rank_u=u)
    plain.load_state_dict(weight_files.read_weights(tmp_path / "out" / "model.safetensors"))
    expected = logits(original)
    assert torch.equal(logits(plain), expected) and expected.std(dim=0).min() > 1e-3  # they depend on the input
    assert torch.allclose(run_onnx(tmp_path / "out" / "model.onnx", INPUTS), expected, atol=1e-5)


def test_every_network_that_was_kept_is_the_one_that_was_measured(finished: Finished) -> None:
    assert list(finished.kept) == list(finished.result.kept) and len(finished.kept) > 2
    assert finished.passing() in finished.kept
    for name, original in finished.kept.items():
        found = networks.read(finished.folder, name)
        assert "/".join(map(str, ranks(found.network).values())) == name
        assert torch.equal(logits(found.network), logits(original))
        params = account(found.network, found.input_size).params
        assert params / 1e6 == finished.result.kept[name].result.params_m


def test_the_command_line_names_the_ranks(
    finished: Finished, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kept, run = finished.passing(), str(finished.folder)
    for arguments, expected in ((["--kept", kept], 0), ([], 0), (["--kept", "1/99"], 2)):
        monkeypatch.setattr(sys, "argv", ["paper-repro", "checkpoint", "export", run, *arguments])
        with pytest.raises(SystemExit) as done:
            cli.main()
        assert done.value.code == expected
    assert f"has no network kept at 1/99: it kept those at {', '.join(finished.kept)}" in capsys.readouterr().err
    of_kept, of_last = finished.folder / "export" / kept.replace("/", "-"), finished.folder / "export"
    for folder, original in ((of_kept, finished.kept[kept]), (of_last, finished.last)):
        state = weight_files.read_weights(folder / networks.WEIGHTS)
        assert len(state["u.down.weight"]) == ranks(original)["u"] and (folder / "model.onnx").exists()


def test_networks_kept_by_earlier_versions_are_read(finished: Finished) -> None:
    """They are files of torch.save; nothing in them is executed."""
    kept = finished.passing()
    path = networks.kept_weights(finished.folder, kept)
    path.unlink()
    torch.save(finished.kept[kept].state_dict(), path.with_suffix(".pt"))
    assert torch.equal(logits(networks.read(finished.folder, kept).network), logits(finished.kept[kept]))
    torch.save({"u.down.weight": Path("foreign")}, path.with_suffix(".pt"))
    with pytest.raises(UserError, match="nothing in it was executed"):
        networks.read(finished.folder, kept)


def test_what_is_not_there_is_said(finished: Finished) -> None:
    kept = finished.passing()
    networks.kept_weights(finished.folder, kept).unlink()
    with pytest.raises(UserError, match=rf"{kept.replace('/', '-')}\.safetensors does not exist"):
        networks.read(finished.folder, kept)
    for none in ({"kept": {}}, {}):  # runs of one epoch say nothing of it
        said = finished.result.model_dump(exclude={"kept"}) | none
        record.write(Record.model_validate(said), finished.folder)
        with pytest.raises(UserError, match=f"no network kept at {kept}: it kept none on its way, and has its last"):
            networks.read(finished.folder, kept)


def test_weights_that_do_not_fit_at_any_ranks_are_refused(finished: Finished) -> None:
    """More ranks than the run began with, factors that disagree, no matrix: none is taken for a rank that fell."""
    state = finished.kept[finished.passing()].state_dict()
    for name, value in (
        ("u.down.weight", torch.zeros(13, 12)),
        ("u.up.weight", state["u.up.weight"][:, 1:]),
        ("u.down.weight", torch.zeros(())),
    ):
        weight_files.write_weights({**state, name: value}, finished.folder / networks.WEIGHTS)
        with pytest.raises(UserError, match=r"is of another network: (?s:.)*size mismatch for u"):
            networks.read(finished.folder)


def test_a_product_that_is_all_gone_is_read_and_exported(finished: Finished, tmp_path: Path) -> None:
    model = models.fastgrnn(hidden=12, rank_w=9, rank_u=12)
    method = methods.get("str-rank")
    method.attach(model)
    with torch.no_grad():
        attached(model.u.down)[0].soft.s.fill_(5.0)
    plain = method.finalize(model)
    weight_files.write_weights(plain.state_dict(), finished.folder / networks.WEIGHTS)
    found = networks.read(finished.folder)
    assert ranks(found.network) == {"w": 9, "u": 0} and torch.equal(logits(found.network), logits(plain))
    files = written(finished.folder, tmp_path / "out")
    assert torch.allclose(run_onnx(files["model.onnx"].path, INPUTS), logits(plain), atol=1e-5)
