"""The process that trains one run, alone or as one of several that torchrun has started: takes its order from the
environment, and sends events (``paper_repro.runs.child``).
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch

from paper_repro.data import brought
from paper_repro.errors import UserError
from paper_repro.methods import plugins
from paper_repro.models import plugins as networks_of_users
from paper_repro.runs import child
from paper_repro.spec import Spec
from paper_repro.training import distributed
from paper_repro.training.guards import AlreadyRunning, Interrupted
from paper_repro.training.hooks import Hook
from paper_repro.training.loop import run

Tell = Callable[[dict[str, Any]], None]


def main(hooks: Sequence[Hook] = ()) -> int:
    """Train what was ordered; the exit code."""
    tell = partial(_tell, child.Events())
    order = child.order()
    torch.set_num_threads(order["threads"])
    try:
        with distributed.joined() as processes:
            try:
                return train(order, processes, tell, hooks)
            except Exception as error:
                if processes.count == 1:
                    raise
                abandon(error, processes, tell)
    except UserError as error:
        tell({"event": _kind(error), "text": str(error)})
        return error.exit_code
    except Interrupted as interruption:
        return 128 + interruption.signum
    return 0


def train(order: dict[str, Any], processes: distributed.Processes, tell: Tell, hooks: Sequence[Hook]) -> int:
    """The exit code, where nothing is raised."""
    spec = Spec.from_dict(order["spec"])
    if spec.method_sha256:
        plugins.load(plugins.find(order["plugin"]))
    if spec.model_sha256:
        brought.bring(networks_of_users.find(order["model"]))
    done = run(
        spec,
        runs=Path(order["runs"]),
        data_root=Path(order["data_root"]),
        provenance=order["provenance"],
        report=tell,
        processes=processes,
        hooks=hooks,
    ).result
    if processes.first:
        tell({"event": "result", **{key: getattr(done, key) for key in ("status", "top1_pct", "sparsity_pct")}})
    return 0


def abandon(error: Exception, processes: distributed.Processes, tell: Tell) -> None:
    """End this process of several, at once: what usually comes at the end would wait for the others. Where another one
    is lost, the rest ends with it.
    """
    # of a plug-in's run, whatever goes wrong in training comes as a UserError that says so
    cause = error.__cause__ if isinstance(error, UserError) else error
    text, lost = distributed.explanation(cause) if isinstance(cause, Exception) else ("", False)
    if isinstance(error, UserError) and not lost:
        text = str(error)
    if not isinstance(error, UserError):
        traceback.print_exc()
    tell({"event": "lost" if lost else _kind(error), "text": text})
    sys.stderr.flush()
    if lost:
        processes.end_others()
    os._exit(error.exit_code if isinstance(error, UserError) and not lost else 1)


def _kind(error: Exception) -> str:
    """The event that an error is: a run that another process is at has not failed."""
    return "busy" if isinstance(error, AlreadyRunning) else "error"


def _tell(events: child.Events, event: dict[str, Any]) -> None:
    """One event to whoever started this process; if nobody reads any more, stop as on SIGTERM, with the state saved."""
    try:
        events.tell(**event)
    except BrokenPipeError:
        events.stream = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - for the rest of the process
        os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
