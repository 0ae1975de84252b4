"""What a person sees while rows train: a live table on a terminal, elsewhere a line for what happens, and for an epoch
where the last line of its run is some seconds old.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeRemainingColumn

from paper_repro.terminal import Console

QUIET_S = 10.0  # of a run's training between two lines about epochs: a small network has hundreds of short ones


class TrainingProgress:
    """Listens to the events of several runs; use it as a context manager around them."""

    def __init__(self, console: Console, total_runs: int) -> None:
        self.console, self.total_runs, self.done = console, total_runs, 0
        self.lock = threading.Lock()
        self.tasks: dict[str, TaskID] = {}
        self.outcomes: dict[str, str] = {}
        self.told_at: dict[str, float] = {}  # run -> seconds of its training at the last line about it
        self.bars = Progress(
            SpinnerColumn(finished_text=" "),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[state]}", markup=False),
            TimeRemainingColumn(compact=True),
            console=console,
            disable=not console.is_terminal,
        )
        self.all_rows = self.bars.add_task("all rows", total=float(total_runs), state=f"0 of {total_runs}")
        self.shares: dict[str, float] = {}

    def __enter__(self) -> TrainingProgress:
        self.bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.bars.stop()

    def __call__(self, run: str, event: Mapping[str, Any]) -> None:
        """Take one event (see ``training.hooks.Progress``) of the run called ``run``; safe from several threads."""
        with self.lock:
            match event["event"]:
                case "start" | "progress" | "epoch" as kind:
                    self._show(run, event)
                    if not self.console.is_terminal and kind != "progress":
                        self._tell(run, event)
                case "note":
                    self._line(run, event["text"])
                case "result":
                    self.outcomes[run] = outcome(event)
                case "end":
                    self._finish(run, self.outcomes.get(run, "done"))
                case "stopped":
                    self._line(run, event["text"])
                case "failed":
                    self._finish(run, f"FAILED: {event['text']}")

    def _tell(self, run: str, event: Mapping[str, Any]) -> None:
        if event["event"] == "epoch" and event["seconds"] - self.told_at.get(run, 0.0) < QUIET_S:
            return
        self.told_at[run] = event["seconds"]
        fresh = event["event"] == "start" and not event["step"]
        self._line(run, f"starts{_shared(event)}" if fresh else how_far(event) + _left(event))

    def _show(self, run: str, event: Mapping[str, Any]) -> None:
        if run not in self.tasks:
            self.tasks[run] = self.bars.add_task(run, total=event["total_steps"], state="")
        self.bars.update(self.tasks[run], completed=event["step"], state=how_far(event))
        self.shares[run] = event["step"] / event["total_steps"]
        self._update_total()

    def _finish(self, run: str, text: str) -> None:
        self.done += 1
        self.shares[run] = 1.0
        if run in self.tasks:
            self.bars.remove_task(self.tasks.pop(run))
        self._update_total()
        self._line(run, f"{text} ({self.done} of {self.total_runs} rows)")

    def _update_total(self) -> None:
        self.bars.update(self.all_rows, completed=sum(self.shares.values()), state=f"{self.done} of {self.total_runs}")

    def _line(self, run: str, text: str) -> None:
        self.console.say(f"{time.strftime('%H:%M:%S')}  {run:<18} {text}")


def _shared(event: Mapping[str, Any]) -> str:
    """What each of several processes gets of a batch."""
    batch, processes = event["batch_size"], event["processes"]
    return (
        "" if processes == 1 else f" on {processes} processes: {batch} examples a batch, {batch // processes} on each"
    )


def seconds_left(event: Mapping[str, Any]) -> float | None:
    """Of training, at the pace since this process took the run up: an earlier one may have been on another machine, or
    asleep. None before its first step, and after the last of all.
    """
    to_go = event["total_steps"] - event["step"]
    steps = event.get("steps_here")  # an earlier version did not say it
    return event["seconds_here"] * to_go / steps if steps and to_go else None


def _left(event: Mapping[str, Any]) -> str:
    left = seconds_left(event)
    return "" if left is None else f", {left:.0f} s left"


def how_far(event: Mapping[str, Any]) -> str:
    """Epoch, and loss and sparsity where there has been a step."""
    loss = (
        ""
        if event["train_loss"] is None
        else f"  loss {event['train_loss']:.3f}  sparsity {event['sparsity_pct']:5.1f} %"
    )
    return f"epoch {event['epoch']:.1f}/{event['epochs']}{loss}"


def outcome(event: Mapping[str, Any]) -> str:
    """How a run has ended."""
    if event["top1_pct"] is None:
        return str(event["status"])
    return f"{event['status']}: top-1 {event['top1_pct']:.2f} %, sparsity {event['sparsity_pct']:.2f} %"
