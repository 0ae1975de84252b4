"""One training run from spec to result, by the paper's protocol: the optimizer, schedule and label smoothing of the
spec, weight decay as the method says. Any method; none is known by name.

A run lives in ``runs/<spec.name>``. It can be stopped after any step and goes on bit by bit as if it had not been; a
finished run is never trained again. What it leaves is ``result.json`` and the finalized network, as
``model.safetensors`` (6 MB for ResNet50 at tier smoke): checkpoints of the training are deleted at its end, and
without the weights a finished run could not be exported. Networks that the method asks to keep on the way lie beside
it, in ``kept``. Where several processes train it together, each does what stands here on its share of every batch, and
the first of them writes the files.
"""

from __future__ import annotations

import json
import math
import os
import signal
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from torch import nn

from paper_repro import methods
from paper_repro.accounting import nonzero_sparsity_pct, ranks
from paper_repro.data.catalog import dataset
from paper_repro.errors import Advice, UserError
from paper_repro.files import write
from paper_repro.interchange import networks
from paper_repro.machine import STOP_SIGNALS
from paper_repro.methods import Method, plugins
from paper_repro.spec import Spec
from paper_repro.training import checkpoint, randomness
from paper_repro.training.distributed import ONE_PROCESS, Processes
from paper_repro.training.evaluate import evaluate
from paper_repro.training.forecast import Forecast, require_pruning
from paper_repro.training.measure import measure
from paper_repro.training.network import untrained
from paper_repro.training.optimizer import optimizer
from paper_repro.training.options import require_applicable
from paper_repro.training.step import Step, memory_format

RECORDS = 100  # points of a run's history, at equal distances
SPARSE_FROM_PCT = 1.0  # overall sparsity from which a network counts as sparse
Report = Callable[[dict[str, Any]], None]


class Interrupted(BaseException):  # like KeyboardInterrupt: no handler of errors may take it for one
    """The run was asked to stop and has saved its state; ``signum`` says how."""

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.signum = signum


def run(
    spec: Spec,
    runs: Path,
    data_root: Path,
    provenance: dict[str, Any] | None = None,
    report: Report = lambda event: None,
    processes: Processes = ONE_PROCESS,
) -> dict[str, Any]:
    """Train ``spec`` to the end, or return what is stored when it is finished; the content of its ``result.json``.

    ``report`` is told of progress in small dicts with an ``event`` key; of several ``processes``, the first one's is.
    Raises UserError for a spec that would stay dense, an option that means nothing, a run that another process is at,
    or damaged state; Interrupted after SIGINT, SIGTERM or SIGUSR1 to any process.
    """
    folder = runs / spec.name
    finished = stored_result(folder, spec)
    if finished is not None:
        return finished
    plugin = plugins.require(spec.method, spec.method_sha256)
    with plugins.explained(plugin, "be set up"):
        forecast = require_pruning(spec)
    require_applicable(spec)
    with _locked(folder) if processes.first else nullcontext(), plugins.explained(plugin, "train"):
        if processes.first:
            write(folder / "spec.json", json.dumps(spec.to_dict(), indent=1) + "\n")
        run_ = Run(spec, folder, data_root, forecast, report, processes)
        with _stop_signals(run_), _advice(run_):
            result = run_.train()
        result = {"schema": 1, "spec": spec.to_dict(), **result, "provenance": {**(provenance or {}), **run_.machine()}}
        if processes.first:
            write(folder / "result.json", json.dumps(result, indent=1) + "\n")
            checkpoint.remove(folder)
    return result


def stored_result(folder: Path, spec: Spec) -> dict[str, Any] | None:
    """The result in ``folder`` if it is finished; UserError when it is not readable or belongs to another spec."""
    path = folder / "result.json"
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        theirs = Spec.from_dict(content["spec"])
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is damaged or no result; move it away to train the run again", exit_code=3) from error
    _require_same(spec, theirs, path)
    return content


def _require_same(spec: Spec, stored: Spec, where: Path) -> None:
    differences = spec.differences(stored)
    if differences:
        listed = "; ".join(f"{key}: {theirs!r} there, {mine!r} here" for key, (mine, theirs) in differences.items())
        raise UserError(f"{where} belongs to another run ({listed}); move it away to train this one", exit_code=3)


class Run:
    """The state of one run and the loop over its steps."""

    def __init__(
        self,
        spec: Spec,
        folder: Path,
        data_root: Path,
        forecast: Forecast | None,
        report: Report,
        processes: Processes,
    ) -> None:
        self.spec, self.folder, self.forecast, self.processes = spec, folder, forecast, processes
        self.report: Report = report if processes.first else lambda event: None
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.train_loader, self.val_loader, self.fingerprint = dataset(spec.dataset).open(
            data_root, spec.batch_size, self.device, processes.share, spec.loader, self._note
        )
        self.per_epoch = len(self.train_loader)
        self.total = self.per_epoch * spec.epochs
        self.every = max(1, self.total // RECORDS)

        randomness.seed(spec.seed)
        self.model = untrained(spec).to(self.device)
        self.model.to(memory_format=memory_format(spec))
        self.method: Method = methods.get(spec.method, **spec.method_args)
        self.method.attach(self.model)
        groups = self.method.param_groups(self.model, weight_decay=spec.weight_decay)
        self.optimizer = optimizer(spec, groups)
        self.train_step = Step(spec, self.model, self.method, self.optimizer, processes)

        self.step = 0
        self.history: list[dict[str, Any]] = []
        self.epochs: list[dict[str, Any]] = []  # one entry per epoch: accuracy on the validation set, ranks
        self.kept: dict[str, dict[str, Any]] = {}  # milestone of the method -> the last network that was there
        self.passed: dict[str, dict[str, Any]] = {}  # milestone -> step and state, where this epoch was last at it
        self.losses = torch.zeros(2, dtype=torch.float64, device=self.device)  # sum and count since the last record
        self.seconds = 0.0
        self.stop_signal: int | None = None

    def _note(self, text: str) -> None:
        self.report({"event": "note", "text": text})

    def machine(self) -> dict[str, Any]:
        name = torch.cuda.get_device_name() if self.device.type == "cuda" else "cpu"
        return {"device": name, "threads": torch.get_num_threads(), "processes": self.processes.count}

    def train(self) -> dict[str, Any]:
        self._resume()
        self._close_epoch()  # where it was stopped right after the last step of one
        self._tell("start")
        while self.step < self.total:
            if not self._epoch():
                return self._result(status="diverged")
            self._close_epoch()
            self._save()
            self._tell("epoch")
        return self._finish()

    def _epoch(self) -> bool:
        """Train to the end of the current epoch; False when the loss is no longer a number."""
        self.model.train()
        epoch, first = divmod(self.step, self.per_epoch)
        began, before = time.monotonic(), self.seconds
        for images, labels in self.train_loader.epoch(self.spec.seed, epoch, first):
            loss = self._train_step(images, labels)
            self.seconds = before + time.monotonic() - began
            # reading the loss makes a GPU wait, so there it is looked at only when a record is due
            record_due = self.step % self.every == 0 or self.step == self.total
            looked_at = record_due or self.device.type == "cpu"
            if looked_at and self.processes.largest(not math.isfinite(loss.item()))[0]:
                return False
            if record_due:
                self._record()
                self._tell("progress")
            # a signal may have reached one process alone, and all stop after the same step
            (stop,) = self.processes.largest(self.stop_signal or 0)
            if stop:
                self._save()
                raise Interrupted(stop)
        return True

    def _train_step(self, images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        loss = self.train_step(images, labels, self.step, self.per_epoch)
        self.step += 1
        self._pass_milestone()
        self.losses += torch.stack((loss.double(), torch.ones_like(loss, dtype=torch.float64)))
        return loss

    def _pass_milestone(self) -> None:
        milestone = self.method.milestone(self.model)
        if milestone is not None:
            self.passed[milestone] = {"step": self.step, "model": self._copied_state()}

    def _copied_state(self) -> dict[str, torch.Tensor]:
        return {name: value.clone() for name, value in self.model.state_dict().items()}

    def _record(self) -> None:
        loss_sum, count = self.processes.total(*self.losses.tolist())
        self.losses.zero_()
        self.history.append(
            {
                "epoch": self.step / self.per_epoch,
                "lr": self.optimizer.param_groups[0]["lr"],
                "train_loss": loss_sum / count,
                "sparsity_pct": nonzero_sparsity_pct(self.model),
                "thresholds": self.method.thresholds(self.model),
                **self._balance(),
            }
        )

    def _balance(self) -> dict[str, Any]:
        """What the thresholds are held by, for methods that learn them: layer -> [L1 norm, ratio]."""
        balances = self.method.balances(self.model)
        return {"balance": {layer: list(balance) for layer, balance in balances.items()}} if balances else {}

    def _tell(self, event: str) -> None:
        last = self.history[-1] if self.history else {}
        self.report(
            {
                "event": event,
                "step": self.step,
                "total_steps": self.total,
                "epoch": self.step / self.per_epoch,
                "epochs": self.spec.epochs,
                "batch_size": self.spec.batch_size,
                "processes": self.processes.count,
                "seconds": self.seconds,
                "train_loss": last.get("train_loss"),
                "sparsity_pct": last.get("sparsity_pct"),
            }
        )

    def _close_epoch(self) -> None:
        """Measure the epoch that has just ended, once. The last one is measured by ``_finish``."""
        done, rest = divmod(self.step, self.per_epoch)
        if not rest and len(self.epochs) < done < self.spec.epochs:
            self._end_of_epoch(self.method.finalize(self.model))

    def _end_of_epoch(self, plain: nn.Module) -> tuple[float, float]:
        """Measure the network as it is now, and keep what the epoch was to keep; returns accuracy and loss now."""
        top1_pct, val_loss = self._evaluate(plain)
        self.epochs.append({"epoch": self.step // self.per_epoch, "val_top1_pct": top1_pct, "ranks": ranks(plain)})
        now = self._copied_state()
        for milestone, then in self.passed.items():
            self.model.load_state_dict(then["model"])
            self._keep(milestone, then["step"], self.method.finalize(self.model))
        self.model.load_state_dict(now)
        self.passed = {}
        return top1_pct, val_loss

    def _keep(self, milestone: str, step: int, plain: nn.Module) -> None:
        top1_pct, val_loss = self._evaluate(plain)
        values, layers = self._measure(plain)
        self.kept[milestone] = {
            "epoch": step / self.per_epoch,
            "result": {"top1_pct": top1_pct, "val_loss": val_loss, **values},
            "layers": layers,
        }
        if self.processes.first:
            networks.write_weights(plain.state_dict(), networks.kept_weights(self.folder, milestone))

    def _evaluate(self, plain: nn.Module) -> tuple[float, float]:
        plain = self.processes.with_first_buffers(plain)
        return evaluate(plain, self.val_loader.in_order(), self.spec.label_smoothing, self.device, self.processes)

    def _finish(self) -> dict[str, Any]:
        plain = self.method.finalize(self.model)
        top1_pct, val_loss = self._end_of_epoch(plain)
        if not math.isfinite(val_loss) or not all(torch.isfinite(weight).all() for weight in plain.parameters()):
            return self._result(status="diverged")
        if self.processes.first:
            networks.write_weights(plain.state_dict(), self.folder / networks.WEIGHTS)  # before result.json
        result = self._result(status="finished", top1_pct=top1_pct, val_loss=val_loss, plain=plain)
        empty = result["result"]["empty_layers"]
        if empty:
            self._note(f"warning: no weight is left in {', '.join(empty)}: the network computes nothing there")
        sparse = result["result"]["sparsity_pct"] >= SPARSE_FROM_PCT
        if not sparse and self.method.prunes:
            result["result"]["status"] = "not_sparse"
        return result

    def _result(self, status: str, plain: nn.Module | None = None, **measured: float) -> dict[str, Any]:
        """What ``result.json`` says; a diverged run has no accuracy and no layers, because they would mean nothing."""
        values: dict[str, Any] = {
            "status": status,
            "top1_pct": None,
            "val_loss": None,
            **measured,
            "train_loss": self.history[-1]["train_loss"] if self.history else None,
            "forecast_onset_epoch": self.forecast.onset_epoch if self.forecast else None,
            "onset_epoch": self._onset_epoch() if self.forecast else None,
            "epochs": self.spec.epochs,
            "dataset": self.spec.dataset,
            "dataset_sha256": self.fingerprint,
            "seconds": round(self.seconds, 2),
        }
        if self.train_loader.record:
            values["images"] = {
                part: dict(loader.record) for part, loader in (("train", self.train_loader), ("val", self.val_loader))
            }
        layers: list[dict[str, Any]] = []
        if plain is not None:
            measures, layers = self._measure(plain)
            values |= measures
            values["empty_layers"] = [layer["layer"] for layer in layers if layer["sparsity_pct"] == 100.0]
            claim = plugins.claimed_sparsity_pct(self.method, self.model)
            if claim is not None:
                values["claimed_sparsity_pct"] = claim  # on record, and without influence
        whole = {"result": values, "layers": layers, "history": self.history}
        return whole | ({"epochs": self.epochs, "kept": self.kept} if self.spec.epochs > 1 else {})

    def _measure(self, plain: nn.Module) -> tuple[dict[str, float], list[dict[str, Any]]]:
        """Size and cost of a finalized network, as a whole and layer by layer."""
        return measure(
            plain,
            dataset(self.spec.dataset).input_size,
            self.method.thresholds(self.model),
            self.method.balances(self.model),
        )

    def _onset_epoch(self) -> float | None:
        """The first recorded epoch at which the network is sparse."""
        return next((item["epoch"] for item in self.history if item["sparsity_pct"] >= SPARSE_FROM_PCT), None)

    def _save(self) -> None:
        own = {"random": randomness.state(), "losses": self.losses.tolist()}
        state = {
            "spec": json.dumps(self.spec.to_dict()),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "history": json.dumps(self.history),
            "epochs": json.dumps([self.epochs, self.kept]),
            "passed": self.passed,
            "scaler": self.train_step.scaler.state_dict(),
            "seconds": self.seconds,
            "processes": self.processes.gathered(own),
        }
        if self.processes.first:
            checkpoint.save(self.folder, self.step, state)
        self.processes.largest(0)  # nobody goes on, or ends, before the file is there

    def _resume(self) -> None:
        state = checkpoint.load(self.folder, say=self._note)
        if state is None:
            return
        _require_same(self.spec, Spec.from_dict(json.loads(state["spec"])), self.folder)
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.seconds = state["step"], state["seconds"]
        self.history = json.loads(state["history"])
        self.epochs, self.kept = json.loads(state.get("epochs", "[[], {}]"))  # older checkpoints have none
        self.passed = state.get("passed", {})
        self.train_step.scaler.load_state_dict(state.get("scaler", {}))
        # older checkpoints are of one process, and have the state of torch's generator alone
        saved = state.get("processes") or [{"random": {"torch": state["torch_rng"]}, "losses": state["losses"]}]
        own = saved[self.processes.share.rank % len(saved)]
        randomness.restore(own["random"])
        self.losses.copy_(torch.as_tensor(own["losses"], dtype=torch.float64))
        self._note(f"resumed at step {self.step} of {self.total}")
        if len(saved) != self.processes.count:
            self._note(
                f"{len(saved)} processes saved it, {self.processes.count} go on: sums are taken in another order"
            )


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the run's folder, or say who does. The operating system frees the lock of a process that died."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / "lock")
        lock.acquire(timeout=0)
    except Timeout:
        try:
            owner = (folder / "owner").read_text(encoding="utf-8").strip()
        except FileNotFoundError:
            owner = "another process"
        raise UserError(f"{folder} is already running ({owner})", exit_code=3) from None
    except OSError as error:
        raise UserError(f"cannot write to {folder}: {error.strerror}") from error
    try:
        (folder / "owner").write_text(f"pid {os.getpid()} on {os.uname().nodename}\n", encoding="utf-8")
        yield
    finally:
        lock.release()


@contextmanager
def _advice(run_: Run) -> Iterator[None]:
    """Make a note of what a method advises, which would be lost among the warnings of libraries."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", Advice)
        show = warnings.showwarning

        def note(message: Warning | str, category: type[Warning], *where: Any, **more: Any) -> None:
            if issubclass(category, Advice):
                run_._note(f"warning: {message}")
            else:
                show(message, category, *where, **more)

        warnings.showwarning = note
        yield


@contextmanager
def _stop_signals(run_: Run) -> Iterator[None]:
    """Let Ctrl-C and the cluster's signals end the run after the current step, with its state saved."""

    def stop(signum: int, _frame: object) -> None:
        run_.stop_signal = signum

    previous = {number: signal.signal(number, stop) for number in STOP_SIGNALS}
    try:
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
