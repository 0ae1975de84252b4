"""The last that was heard of a run while it trains, or of how it failed: ``progress.json`` in its folder.

Whoever can read the folder can follow the run, from any machine. A run that has ended well needs none: it has its
record.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from paper_repro.errors import UserError
from paper_repro.files import write
from paper_repro.runs.child import Event

FILE = "progress.json"
KEPT = ("start", "progress", "epoch", "stopped", "failed")


def note(folder: Path, event: Event) -> None:
    """Keep an event of the run in ``folder``, with when, where and in which job of a cluster it was. Training does not
    end for a disk that has no room for it.
    """
    if event["event"] == "end":
        (folder / FILE).unlink(missing_ok=True)
    elif event["event"] in KEPT:
        here = {"time": time.time(), "host": os.uname().nodename, "job": os.environ.get("SLURM_JOB_ID")}
        with suppress(UserError):
            write(folder / FILE, json.dumps({**event, **here}) + "\n")


def last(folder: Path) -> dict[str, Any] | None:
    """The last event that was kept; None where nothing was, or it cannot be read."""
    try:
        event: dict[str, Any] = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return event if isinstance(event, dict) and {"event", "time", "host", "job"} <= event.keys() else None
