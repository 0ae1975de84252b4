"""Checkpoints that survive a crash at any moment.

A folder holds an index, ``checkpoints.json``, that lists the newest checkpoint and its predecessor with their sha256.
A checkpoint is written under a name of its own first; replacing the index is the one moment at which it begins to
count.
"""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from paper_repro.data.sources import is_intact, sha256
from paper_repro.errors import UserError
from paper_repro.files import replacing, write

INDEX = "checkpoints.json"
KEEP = 2


def save(folder: Path, step: int, state: dict[str, Any]) -> None:
    """Write the checkpoint of ``step`` (training steps done) and forget all but the newest two."""
    import torch  # whoever only asks how far a run is does not pay for it

    path = folder / f"step-{step:07d}.pt"
    try:
        with replacing(path) as temporary:
            torch.save(state, temporary)
            entry = {"file": path.name, "sha256": sha256(temporary), "step": step}
    except (OSError, RuntimeError) as error:  # torch says "unexpected pos" where a disk is full
        room = shutil.disk_usage(folder).free >> 20
        raise UserError(
            f"cannot write {path} ({' '.join(str(error).split())}); {room} MiB are free there. The checkpoint before "
            "it is as it was: make room, and the same command goes on from there",
            exit_code=3,
        ) from error
    entries = [entry, *(old for old in _entries(folder) if old["file"] != path.name)][:KEEP]
    write(folder / INDEX, json.dumps(entries, indent=1) + "\n")
    remove(folder, keep={item["file"] for item in entries})


def load(folder: Path, say: Callable[[str], None] = print) -> dict[str, Any] | None:
    """The newest intact checkpoint; None when the run has none yet.

    A damaged one is reported and its predecessor used. When every one is damaged this is a UserError (exit code 3):
    the run is never restarted from the beginning behind its owner's back.
    """
    for leftover in folder.glob(".step-*.tmp"):
        say(f"discarded {leftover.name}: a checkpoint that was being written when the run was stopped")
        leftover.unlink(missing_ok=True)  # another process of this run may be at it too
    entries = _entries(folder)
    for entry in entries:
        path = folder / entry["file"]
        if is_intact(path, entry["sha256"]):
            return _loaded(path)
        say(f"checkpoint {path} is {'damaged' if path.exists() else 'gone'}: trying its predecessor")
    if entries:
        files = ", ".join(entry["file"] for entry in entries)
        raise UserError(
            f"every checkpoint in {folder} is damaged or gone; restore one of {files}, "
            "or delete the folder to train this run from the beginning",
            exit_code=3,
        )
    return None


def _loaded(path: Path) -> dict[str, Any]:
    """The content of a checkpoint: tensors and plain values. Whatever else a pickle may hold is never executed."""
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path} holds more than tensors and plain values, and loading that could run foreign code. It was not "
            "written by this program; if you trust it, load it elsewhere with torch.load(..., weights_only=False), and "
            "save its tensors alone",
            exit_code=3,
        ) from error


def room_bytes(parameters: int, values_each: int) -> int:
    """What the checkpoints of a network need on disk, with ``values_each`` of a parameter in float32
    (``optimizer.values_each``): of those that are kept, and of the next one while it is written.
    """
    return (KEEP + 1) * 4 * values_each * parameters


def newest_step(folder: Path) -> int | None:
    """Training steps done at the newest checkpoint; None where there is none."""
    return next((entry["step"] for entry in _entries(folder)), None)


def remove(folder: Path, keep: Collection[str] = ()) -> None:
    """Delete the checkpoints of a folder, except the files named in ``keep``."""
    for path in folder.glob("step-*.pt"):
        if path.name not in keep:
            path.unlink()
    if not keep:
        (folder / INDEX).unlink(missing_ok=True)


def _entries(folder: Path) -> list[dict[str, Any]]:
    try:
        entries = json.loads((folder / INDEX).read_text(encoding="utf-8"))
        if not isinstance(entries, list):
            raise TypeError("it holds no list")
        return [{"file": str(one["file"]), "sha256": str(one["sha256"]), "step": int(one["step"])} for one in entries]
    except FileNotFoundError:
        return []
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(
            f"{folder / INDEX} is not readable ({error}); restore it or delete the folder", exit_code=3
        ) from error
