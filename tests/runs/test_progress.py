"""What is shown while rows train: tidy lines in a file, bars on a terminal."""

from __future__ import annotations

import io
import re

from paper_repro.runs.progress import TrainingProgress, seconds_left
from paper_repro.terminal import Console


def event(kind: str, step: int, **more: object) -> dict:
    return {
        "event": kind,
        "step": step,
        "total_steps": 100,
        "epoch": step / 50,
        "epochs": 2,
        "batch_size": 8,
        "processes": 1,
        "seconds": step * 0.5,
        "steps_here": step,
        "seconds_here": step * 0.5,
        "train_loss": 0.7 if step else None,
        "sparsity_pct": 12.3 if step else None,
        **more,
    }


def show(terminal: bool) -> str:
    out = io.StringIO()
    # nothing of the environment: rich draws no bars where it says TERM=dumb
    console = Console(file=out, force_terminal=terminal, width=120, color_system=None, _environ={"TERM": "xterm"})
    with TrainingProgress(console, 2) as progress:
        progress("str-80 s0", event("start", 0))
        for step in range(10, 60, 10):
            progress("str-80 s0", event("progress", step))
        progress("str-80 s0", event("epoch", 50))
        progress("str-80 s0", event("epoch", 52))  # a second later
        progress("gmp-80 s0", event("start", 0))
        progress("gmp-80 s0", {"event": "note", "text": "resumed at step 7 of 100"})
        progress("gmp-80 s0", {"event": "failed", "text": "the training process died"})
        progress("str-80 s0", {"event": "result", "status": "finished", "top1_pct": 86.152, "sparsity_pct": 79.998})
        progress("str-80 s0", {"event": "end"})
    return out.getvalue()


def test_lines_where_there_is_no_terminal() -> None:
    """An epoch that ends a second after the last line has none of its own."""
    lines = [re.sub(r"^\d\d:\d\d:\d\d +", "", line) for line in show(terminal=False).splitlines()]
    assert [re.sub(" +", " ", line) for line in lines] == [
        "str-80 s0 starts",
        "str-80 s0 epoch 1.0/2 loss 0.700 sparsity 12.3 %, 25 s left",
        "gmp-80 s0 starts",
        "gmp-80 s0 resumed at step 7 of 100",
        "gmp-80 s0 FAILED: the training process died (1 of 2 rows)",
        "str-80 s0 finished: top-1 86.15 %, sparsity 80.00 % (2 of 2 rows)",
    ]


def test_what_is_left_is_told_by_the_pace_since_the_run_was_taken_up() -> None:
    """A night's sleep in the first ten steps does not count; nothing is said before the first step here."""
    slept = 30_000.0
    taken_up = event("start", 10, seconds=slept, steps_here=0, seconds_here=0.0)
    assert seconds_left(taken_up) is None
    assert seconds_left(event("progress", 50, seconds=slept + 20, steps_here=40, seconds_here=20.0)) == 25.0
    assert seconds_left(event("progress", 100)) is None
    older = event("progress", 50)
    del older["steps_here"], older["seconds_here"]
    assert seconds_left(older) is None


def test_bars_on_a_terminal() -> None:
    text = show(terminal=True)
    assert "all rows" in text and "2 of 2" in text and "sparsity  12.3 %" in text
