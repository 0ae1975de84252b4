"""The verb ``status``: a line for each run of a job, from its own records, and from SLURM's queue where there is one.

Any machine that can read the folder of the runs may ask, at any time: nothing is locked, and nothing written.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path

from rich.text import Text

from paper_repro import record
from paper_repro.errors import UserError
from paper_repro.record import as_written
from paper_repro.runs import journal, slurm
from paper_repro.runs.child import Event
from paper_repro.runs.progress import how_far, outcome, seconds_left
from paper_repro.runs.slurm import Array, Task
from paper_repro.spec import Spec
from paper_repro.terminal import Console
from paper_repro.training import guards, saved_state
from paper_repro.workflows.job import Job

WAITS = ("PENDING", "REQUEUED", "REQUEUE_HOLD", "SPECIAL_EXIT")


def show_status(job: Job, console: Console) -> int:
    """Print the lines, and how many runs are in which state."""
    try:
        queue = slurm.queue(job.runs)
    except UserError as error:
        queue = {}
        console.say(f"{error}; what follows is from the runs alone, and not from a queue")
    arrays = {name: array for array in slurm.arrays(job.runs) for name in array.runs}  # the last one of each run
    states: Counter[str] = Counter()
    for row, spec in job.specs():
        state, more = _state(job, spec, queue.get(spec.name), arrays.get(spec.name))
        states[state] += 1
        style = {"failed": "red", "finished": "green"}.get(state, "")
        console.say(Text.assemble(f"{row.id:<18} s{spec.seed}  ", (state, style), more))
    console.print(f"{states.total()} runs: {', '.join(f'{count} {state}' for state, count in states.most_common())}")
    return 0


def _state(job: Job, spec: Spec, task: Task | None, array: Array | None) -> tuple[str, str]:
    """(in one word or two, what else is known): by its record, then the queue, then the last that was heard of it."""
    folder = job.runs / spec.name
    stored = record.finished(folder, spec)
    if stored is not None:
        return "finished", f": {outcome(as_written(stored.result))}"
    heard, step = journal.last(folder), saved_state.newest_step(folder)
    saved = "" if step is None else f", saved at step {step:,}"
    if task is not None and task.state in WAITS:
        return "waiting for requeue" if task.restarts else "queued", f" ({task.id}, {task.reason}){saved}"
    if task is not None:
        return "running", f" on {task.nodes} ({task.id}){_progress(heard)}"
    log = f"; log: {array.log(spec.name)}" if array else ""
    failure = _failure(folder, heard, array, spec.name)
    if failure:
        return "failed", f": {failure}{saved}{log}"
    if heard is not None and heard["event"] != "stopped" and not heard["job"] and guards.may_be_at_work(folder):
        return "running", f" on {heard['host']}, outside of the queue{_progress(heard)}"
    if step is None and array is None:
        return "to do", ""
    return "stopped", f"{saved or ': nothing is saved yet'}; `make submit` or `make run` goes on{log}"


def _failure(folder: Path, heard: Event | None, array: Array | None, name: str) -> str:
    """Why the run failed, in its own words, or in those of the decision not to queue it again; "" where it did not. The
    decision follows the last words of a task: what was heard after it is of a training outside of the queue.
    """
    if heard is not None and heard["event"] == "failed":
        return str(heard.get("text", ""))
    starts = array.starts(name) if array else None
    if starts is None or not starts.exists():
        return ""
    # by the clock of the file system, which both were written to: those of two machines may differ
    if heard is not None and (folder / journal.FILE).stat().st_mtime_ns > starts.stat().st_mtime_ns:
        return ""
    return str(json.loads(starts.read_text(encoding="utf-8"))["failure"])


def _progress(heard: Event | None) -> str:
    """How far it is, and what is left, as of the last that was heard."""
    if heard is None or "step" not in heard:
        return ", nothing heard yet"
    ago = time.time() - heard["time"]
    left = seconds_left(heard)
    hours = "" if left is None else f", about {max(0.0, left - ago) / 3600:.1f} h left"
    return f": {how_far(heard)}{hours}, heard {ago / 60:.0f} min ago"
