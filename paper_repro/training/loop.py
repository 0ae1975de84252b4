"""One training run from spec to record, by the paper's protocol: the optimizer, schedule and label smoothing of the
spec, weight decay as the method says. Any method; none is known by name.

A run lives in ``runs/<spec.name>``. It can be stopped after any step and goes on bit by bit as if it had not been; a
finished run is never trained again. What it leaves is its record (``record.py``) and the finalized network, as
``model.safetensors`` (6 MB for ResNet50 at tier smoke): saved states are deleted at its end, and without the weights a
finished run could not be exported. Networks that the method asks to keep on the way lie beside it, in ``kept``. Where
several processes train it together, each does what stands here on its share of every batch, and the first of them
writes the files.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import nn

from paper_repro import record
from paper_repro.accounting import ranks
from paper_repro.files import write
from paper_repro.interchange import networks, weight_files
from paper_repro.methods import plugins
from paper_repro.models import plugins as networks_of_users
from paper_repro.record import Accuracy, Epoch, Layer, Record, as_written
from paper_repro.spec import Spec
from paper_repro.training import saved_state
from paper_repro.training.distributed import ONE_PROCESS, Processes
from paper_repro.training.forecast import Forecast, require_pruning
from paper_repro.training.guards import Interrupted, StopRequest, advice_to, locked, stop_signals
from paper_repro.training.hooks import History, Hook, KeptNetworks, Progress, Report
from paper_repro.training.options import require_applicable
from paper_repro.training.run import Run

SPARSE_FROM_PCT = 1.0  # overall sparsity from which a network counts as sparse


def run(
    spec: Spec,
    runs: Path,
    data_root: Path,
    provenance: Mapping[str, Any] | None = None,
    report: Report = lambda event: None,
    processes: Processes = ONE_PROCESS,
    hooks: Sequence[Hook] = (),
) -> Record:
    """Train ``spec`` to the end, or read what is stored when it is finished; its record.

    ``report`` is told of progress in small dicts with an ``event`` key; of several ``processes``, the first one's is.
    ``hooks`` are called after the project's own. Raises UserError for a spec that would stay dense, an option that
    means nothing, a run that another process is at, or damaged state; Interrupted after SIGINT, SIGTERM or SIGUSR1 to
    any process.
    """
    folder = runs / spec.name
    stored = record.finished(folder, spec)
    if stored is not None:
        return stored
    plugin = plugins.require(spec.method, spec.method_sha256)
    network = networks_of_users.require(spec.model, spec.model_sha256)
    with plugins.explained(plugin, "be set up"):
        forecast = require_pruning(spec)
    require_applicable(spec)
    guarded = plugins.explained(network, "train"), plugins.explained(plugin, "train")
    with locked(folder) if processes.first else nullcontext(), guarded[0], guarded[1]:
        trained_meanwhile = processes.first and (folder / record.FILE).exists()  # while this one waited for the lock
        if processes.largest(int(trained_meanwhile))[0]:
            return record.read(folder)
        if processes.first:
            write(folder / "spec.json", json.dumps(spec.to_dict(), indent=1) + "\n")
        progress = Progress(report if processes.first else lambda event: None)
        training = Run(spec, folder, data_root, progress.note, processes)
        with stop_signals() as request, advice_to(progress.note):
            accuracy = Loop(training, (History(), KeptNetworks(), progress, *hooks), request).train()
            done = _record(training, forecast, provenance or {}, accuracy)
        if processes.first:
            record.write(done, folder)
            saved_state.remove(folder)
    return done


class Loop:
    """The loop over the steps of a run, with its hooks."""

    def __init__(self, run: Run, hooks: Sequence[Hook], request: StopRequest) -> None:
        self.run, self.hooks, self.request = run, hooks, request

    def train(self) -> Accuracy | None:
        """From where the run is to its end; the accuracy that it ends with, or None when it diverged."""
        run = self.run
        run.resume()
        self._call("on_start")
        if len(run.epochs) < run.step // run.per_epoch < run.spec.epochs and run.step % run.per_epoch == 0:
            self._close_epoch(run.finalized())  # it was stopped right after the last step of an epoch
        while run.step < run.total:
            if not self._train_epoch():
                return None
            if run.step < run.total:
                self._close_epoch(run.finalized())
            run.save()
        plain = run.finalized()
        accuracy = self._close_epoch(plain)
        if not _finite(accuracy, plain):
            return None
        self._call("on_finish", plain)
        if run.processes.first:
            weight_files.write_weights(plain.state_dict(), run.folder / networks.WEIGHTS)  # before the record
        return accuracy

    def _train_epoch(self) -> bool:
        """Train to the end of the current epoch; False when the loss is no longer a number."""
        run = self.run
        run.model.train()
        epoch, first = divmod(run.step, run.per_epoch)
        began, before = time.monotonic(), run.seconds
        for images, labels in run.train_loader.epoch(run.spec.seed, epoch, first):
            loss = run.take_step(images, labels)
            self._call("on_step")
            run.seconds = before + time.monotonic() - began
            # reading the loss makes a GPU wait, so there it is looked at only when a point of the history is due
            looked_at = run.record_due or run.device.type == "cpu"
            if looked_at and run.processes.largest(not math.isfinite(loss.item()))[0]:
                return False
            if run.record_due:
                self._call("on_record")
            # a signal may have reached one process alone, and all stop after the same step
            (signum,) = run.processes.largest(self.request.signum)
            if signum:
                run.save()
                raise Interrupted(signum)
        return True

    def _close_epoch(self, plain: nn.Module) -> Accuracy:
        """Measure the epoch that has just ended; its accuracy."""
        run = self.run
        accuracy = run.accuracy(plain)
        run.epochs.append(
            Epoch(epoch=run.step // run.per_epoch, val_top1_pct=accuracy.top1_pct, ranks=ranks(plain)),
        )
        self._call("on_epoch", plain)
        return accuracy

    def _call(self, moment: str, *arguments: nn.Module) -> None:
        for hook in self.hooks:
            getattr(hook, moment)(self.run, *arguments)


def _finite(accuracy: Accuracy, plain: nn.Module) -> bool:
    return math.isfinite(accuracy.val_loss) and all(torch.isfinite(weight).all() for weight in plain.parameters())


def _record(run: Run, forecast: Forecast | None, provenance: Mapping[str, Any], measured: Accuracy | None) -> Record:
    """The record of a run that ends now. One that diverged has no accuracy and no layers: they would mean nothing."""
    onset = next((point.epoch for point in run.history if point.sparsity_pct >= SPARSE_FROM_PCT), None)
    result: dict[str, Any] = {
        "status": "diverged" if measured is None else "finished",
        "top1_pct": measured and measured.top1_pct,
        "val_loss": measured and measured.val_loss,
        "train_loss": run.history[-1].train_loss if run.history else None,
        "forecast_onset_epoch": forecast and forecast.onset_epoch,
        "onset_epoch": forecast and onset,
        "epochs": run.spec.epochs,
        "dataset": run.spec.dataset,
        "dataset_sha256": run.fingerprint,
        "seconds": round(run.seconds, 2),
    }
    if run.train_loader.record:
        loaders = {"train": run.train_loader, "val": run.val_loader}
        result["images"] = {part: loader.record for part, loader in loaders.items()}
    layers: list[Layer] = []
    if measured is not None:
        size, layers = run.size(run.finalized())
        result |= as_written(size) | _remarks(run, layers)
        if (size.sparsity_pct or 0.0) < SPARSE_FROM_PCT and run.method.prunes:
            result["status"] = "not_sparse"
    whole = {"spec": run.spec, "result": result, "layers": layers, "history": run.history}
    if run.spec.epochs > 1:
        whole |= {"epochs": run.epochs}
    if run.spec.epochs > 1 or run.kept:
        whole |= {"kept": run.kept}
    return Record.model_validate(whole | {"provenance": {**provenance, **run.machine()}})


def _remarks(run: Run, layers: Sequence[Layer]) -> dict[str, Any]:
    """Layers of which nothing is left, and what the method claims of its sparsity, if it claims anything."""
    empty = [layer.layer for layer in layers if layer.sparsity_pct == 100.0]
    if empty:
        run.note(f"warning: no weight is left in {', '.join(empty)}: the network computes nothing there")
    claim = plugins.claimed_sparsity_pct(run.method, run.model)
    return {"empty_layers": empty, **({} if claim is None else {"claimed_sparsity_pct": claim})}
