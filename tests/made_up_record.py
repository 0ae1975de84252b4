"""Records of made-up runs, left in folders as training leaves them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from paper_repro import record
from paper_repro.record import Layer, Provenance, Record, Result, Size
from paper_repro.spec import Spec

MADE_BY = Provenance(
    commit="0123456789" * 4, dirty="false", torch="2.0", python="3.11", device="cpu", cpu="Test CPU", threads=1,
    platform="Linux x86_64",
)  # fmt: skip


def finished(spec: Spec, **values: Any) -> Result:
    """A result that says what every result says, with these values."""
    known = {"status": "finished", "epochs": spec.epochs, "dataset": spec.dataset, "dataset_sha256": "ab" * 32}
    return Result.model_validate(known | {"seconds": 61.25} | values)


def leave(directory: Path, spec: Spec, result: Result, layers: Sequence[Layer] = (), **more: Any) -> Path:
    """The folder of a run that ended so."""
    if result.status == "diverged":
        unknown = dict.fromkeys([*Size.model_fields, "top1_pct", "val_loss"])
        result, layers = result.model_copy(update=unknown), ()
    values = {"spec": spec, "result": result, "layers": layers, "history": [], "provenance": MADE_BY} | more
    record.write(Record.model_validate(values), directory / spec.name)
    return directory / spec.name


def change(folder: Path, *place: str | int, value: Any) -> None:
    """Change the record of a run at one place, such as ("result", "seconds"), to what may be no record any more."""
    content = json.loads((folder / record.FILE).read_text(encoding="utf-8"))
    part = content
    for key in place[:-1]:
        part = part[key]
    part[place[-1]] = value
    (folder / record.FILE).write_text(json.dumps(content), encoding="utf-8")
