"""The record of a run: what is written is read back, older ones are read, and what is wrong with one is said."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest

from paper_repro import record
from paper_repro.errors import UserError
from paper_repro.record import Kept, Layer, Point, Record
from paper_repro.spec import Spec
from tests.made_up_record import change, finished, leave

SPEC = Spec(model="m", dataset="d", method="str", epochs=3, batch_size=4, lr=0.1, weight_decay=0.1, warmup_epochs=0)
LAYER = Layer(layer="a", params=10, macs=20, sparsity_pct=50.0, threshold=0.1, kept_l1=1.5, balance=math.inf)
POINT = Point(epoch=0.5, lr=0.1, train_loss=2.0, sparsity_pct=0.0, thresholds={"a": 0.1}, balance={"a": (1.5, 0.9)})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return leave(tmp_path, SPEC, finished(SPEC, top1_pct=90.0), [LAYER], history=[POINT])


def test_what_is_written_is_read_back_and_written_the_same(folder: Path) -> None:
    before = (folder / record.FILE).read_bytes()
    run = record.read(folder)
    assert (run.spec, run.layers, run.history) == (SPEC, [LAYER], [POINT])
    record.write(run, folder)
    assert (folder / record.FILE).read_bytes() == before


def test_the_file_has_the_keys_that_were_given_in_a_fixed_order(folder: Path) -> None:
    content = json.loads((folder / record.FILE).read_text(encoding="utf-8"))
    assert list(content) == ["schema", "spec", "result", "layers", "history", "provenance"]
    assert list(content["result"]) == ["status", "top1_pct", "epochs", "dataset", "dataset_sha256", "seconds"]
    assert content["spec"] == SPEC.to_dict() and content["history"][0]["balance"] == {"a": [1.5, 0.9]}


def test_a_network_kept_on_the_way_is_a_part_of_it(tmp_path: Path) -> None:
    kept = {"epoch": 1.5, "result": {"top1_pct": 80.0, "val_loss": 1.0, "sparsity_pct": 0.0}, "layers": [LAYER]}
    folder = leave(tmp_path, SPEC, finished(SPEC), kept={"9/8": kept})
    assert record.read(folder).kept == {"9/8": Kept.model_validate(kept)}


def test_a_record_of_an_earlier_version_is_read(folder: Path) -> None:
    """It has fewer keys: no number of processes, and specs without the options that came later."""
    old = {key: value for key, value in SPEC.to_dict().items() if key not in ("optimizer", "compile", "loader")}
    change(folder, "spec", value=old)
    change(folder, "provenance", value={"device": "cpu", "threads": 1})
    run = record.finished(folder, SPEC)
    assert run is not None and run.provenance.processes == 1 and run.provenance.commit == "unknown"


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (("schema",), 99, "is no result of schema 1: another version wrote it"),
        (("layers",), None, "layers empty, and a value is needed"),
        (("layers", 0), {"layer": "a"}, "layers.0.params is missing"),
        (("result", "seconds"), "long", "result.seconds 'long' is not a plain number"),
        (("result", "status"), "done", "result.status 'done' must be 'finished', 'not_sparse' or 'diverged'"),
        (("result", "second"), 1.0, "result.second Extra inputs are not permitted, not 1.0"),
        (("history", 0, "thresholds"), {"a": "b"}, "history.0.thresholds.a 'b' is not a plain number"),
        (("spec", "momentm"), 0.9, "unknown spec key 'momentm'. Did you mean 'momentum'?"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(
    folder: Path, place: tuple[str | int, ...], value: object, message: str
) -> None:
    change(folder, *place, value=value)
    with pytest.raises(UserError) as error:
        record.read(folder)
    assert error.value.exit_code == 3
    assert str(folder / record.FILE) in str(error.value) and message in str(error.value)
    assert "delete its folder" in str(error.value)


def test_a_file_that_is_cut_off_and_one_that_is_not_there(folder: Path, tmp_path: Path) -> None:
    file = folder / record.FILE
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(UserError, match=r"result\.json is damaged \(") as error:
        record.finished(folder, SPEC)
    assert error.value.exit_code == 3
    assert record.finished(tmp_path / "none", SPEC) is None
    with pytest.raises(UserError, match="holds no finished run"):
        record.read(tmp_path / "none")


def test_a_file_that_cannot_be_read_is_not_called_damaged(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Deleting its folder, the advice for a damaged one, would lose a run that may be whole."""

    def refuse(*_arguments: object, **_options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(UserError, match=r"result\.json cannot be read: Permission denied") as error:
        record.finished(folder, SPEC)
    assert error.value.exit_code == 3
    assert "delete" not in str(error.value) and "damaged" not in str(error.value)


def test_a_run_of_another_spec_is_refused(folder: Path) -> None:
    with pytest.raises(UserError, match=r"belongs to another run \(lr: 0\.1 there, 0\.2 here\)"):
        record.finished(folder, replace(SPEC, lr=0.2))


def test_a_typing_slip_is_an_error_where_a_record_is_built() -> None:
    with pytest.raises(ValueError, match="sparsity"):
        Record.model_validate({"spec": SPEC, "result": finished(SPEC).model_dump() | {"sparsity": 1.0}})
