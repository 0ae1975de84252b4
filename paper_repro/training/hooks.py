"""Hooks: what happens beside the steps of a run. The loop calls each of them, in order, at five moments.

What the project itself does there is a hook like any other: the history, the networks that are kept on the way, and
the progress that people see. In a run of several processes every one calls its hooks, at the same steps; what they
write or say, the first process alone does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from paper_repro.accounting import nonzero_sparsity_pct
from paper_repro.interchange import networks, weight_files
from paper_repro.record import Kept, KeptResult, Point, as_written
from paper_repro.training.run import Run

Report = Callable[[dict[str, Any]], None]


class Hook:
    """Does nothing; a hook overrides what it needs. ``plain`` is the finalized network of that moment."""

    def on_start(self, run: Run) -> None:
        """Before the first step, or the first one after an interruption."""

    def on_step(self, run: Run) -> None:
        """After every step."""

    def on_record(self, run: Run) -> None:
        """After each of those steps that the history has a point of."""

    def on_epoch(self, run: Run, plain: nn.Module) -> None:
        """After every epoch, once it is measured and before the state is saved; of the last one, at the end."""

    def on_finish(self, run: Run, plain: nn.Module) -> None:
        """At the end of a run that did not diverge."""


class History(Hook):
    """Writes the points of the history."""

    def on_record(self, run: Run) -> None:
        loss_sum, count = run.processes.total(*run.losses.tolist())
        run.losses.zero_()
        values = {
            "epoch": run.epoch,
            "lr": run.optimizer.param_groups[0]["lr"],
            "train_loss": loss_sum / count,
            "sparsity_pct": nonzero_sparsity_pct(run.model),
            "thresholds": run.method.thresholds(run.model),
        }
        balances = run.method.balances(run.model)
        run.history.append(Point.model_validate(values | ({"balance": balances} if balances else {})))


class KeptNetworks(Hook):
    """Keeps the networks that the method names on the way, each as it was after the last step at its milestone.

    They are finalized and measured at the end of the epoch: a network may be at its milestone for many steps.
    """

    def on_step(self, run: Run) -> None:
        milestone = run.method.milestone(run.model)
        if milestone is not None:
            run.passed[milestone] = {"step": run.step, "model": run.weights()}

    def on_epoch(self, run: Run, plain: nn.Module) -> None:
        if not run.passed:
            return
        now = run.weights()
        for milestone, then in run.passed.items():
            run.model.load_state_dict(then["model"])
            self._keep(run, milestone, then["step"])
        run.model.load_state_dict(now)
        run.passed = {}

    def _keep(self, run: Run, milestone: str, step: int) -> None:
        plain = run.finalized()
        accuracy, (size, layers) = run.accuracy(plain), run.size(plain)
        result = KeptResult(**as_written(accuracy), **as_written(size))
        run.kept[milestone] = Kept(epoch=step / run.per_epoch, result=result, layers=layers)
        if run.processes.first:
            weight_files.write_weights(plain.state_dict(), networks.kept_weights(run.folder, milestone))


class Progress(Hook):
    """Tells ``report`` how far the run is, in small dicts with an ``event`` key."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.began = 0, 0.0  # step and seconds of training where this process took the run up

    def note(self, text: str) -> None:
        """Something that people should know."""
        self.report({"event": "note", "text": text})

    def on_start(self, run: Run) -> None:
        self.began = run.step, run.seconds
        self._tell("start", run)

    def on_record(self, run: Run) -> None:
        self._tell("progress", run)

    def on_epoch(self, run: Run, plain: nn.Module) -> None:
        self._tell("epoch", run)

    def _tell(self, event: str, run: Run) -> None:
        last = run.history[-1] if run.history else None
        self.report(
            {
                "event": event,
                "step": run.step,
                "total_steps": run.total,
                "epoch": run.epoch,
                "epochs": run.spec.epochs,
                "batch_size": run.spec.batch_size,
                "processes": run.processes.count,
                "seconds": run.seconds,
                "steps_here": run.step - self.began[0],
                "seconds_here": run.seconds - self.began[1],
                "train_loss": last and last.train_loss,
                "sparsity_pct": last and last.sparsity_pct,
            }
        )
