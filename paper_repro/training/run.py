"""One run at a moment of its training: its network, data and optimizer, how far it is, and what it has recorded."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from paper_repro import methods
from paper_repro.data.catalog import dataset, source
from paper_repro.errors import UserError
from paper_repro.interchange.networks import untrained
from paper_repro.methods.base import Method
from paper_repro.record import Accuracy, Epoch, Kept, Layer, Point, Size, as_written, require_same
from paper_repro.spec import Spec
from paper_repro.training import measure, randomness, saved_state
from paper_repro.training.distributed import ONE_PROCESS, Processes
from paper_repro.training.optimizer import optimizer
from paper_repro.training.step import Step, memory_format

RECORDS = 100  # points of a run's history, at equal distances


class Run:
    """Each of several processes that train a run together has one, and the same weights after every step."""

    def __init__(
        self,
        spec: Spec,
        folder: Path,
        data_root: Path,
        note: Callable[[str], None] = lambda text: None,
        processes: Processes = ONE_PROCESS,
    ) -> None:
        """At the first step, with the initial weights of the seed. ``note`` is told what people should know."""
        self.spec, self.folder, self.note, self.processes = spec, folder, note, processes
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.train_loader, self.val_loader, self.fingerprint = source(spec.dataset).open(
            data_root, spec.batch_size, self.device, processes.share, spec.loader, note
        )
        self.per_epoch = len(self.train_loader)
        self.total = self.per_epoch * spec.epochs

        randomness.seed(spec.seed)
        self.model = untrained(spec).to(self.device)
        self.model.to(memory_format=memory_format(spec))
        self.method: Method = methods.get(spec.method, **spec.method_args)
        self.method.attach(self.model)
        groups = self.method.param_groups(self.model, weight_decay=spec.weight_decay)
        self.optimizer = optimizer(spec, groups)
        self.train_step = Step(spec, self.model, self.method, self.optimizer, processes)

        self.step = 0
        self.seconds = 0.0
        self.losses = torch.zeros(2, dtype=torch.float64, device=self.device)  # sum and count since the last point
        self.history: list[Point] = []
        self.epochs: list[Epoch] = []
        self.kept: dict[str, Kept] = {}  # milestone of the method -> the last network that was there
        self.passed: dict[str, dict[str, Any]] = {}  # milestone -> step and weights, where this epoch was last at it

    @property
    def epoch(self) -> float:
        """Passes over the training set so far."""
        return self.step / self.per_epoch

    @property
    def record_due(self) -> bool:
        """Whether the history has a point after this step."""
        return self.step % max(1, self.total // RECORDS) == 0 or self.step == self.total

    def take_step(self, images: Tensor, labels: Tensor) -> Tensor:
        """Train on this process's share of a batch; its part of the loss."""
        loss = self.train_step(images, labels, self.step, self.per_epoch)
        self.step += 1
        self.losses += torch.stack((loss.double(), torch.ones_like(loss, dtype=torch.float64)))
        return loss

    def weights(self) -> dict[str, Tensor]:
        """A copy of the state of the model, as it is now."""
        return {name: value.clone() for name, value in self.model.state_dict().items()}

    def finalized(self) -> nn.Module:
        """The plain network that the run would end with now."""
        return self.method.finalize(self.model)

    def accuracy(self, plain: nn.Module) -> Accuracy:
        """Of a finalized network on the validation set; all processes take part."""
        plain = self.processes.with_first_buffers(plain)
        batches = self.val_loader.in_order()
        spec = self.spec
        return measure.accuracy(plain, batches, spec.label_smoothing, self.device, self.processes, spec.autocast)

    def size(self, plain: nn.Module) -> tuple[Size, list[Layer]]:
        """Size and costs of a finalized network, as a whole and layer by layer."""
        input_size = dataset(self.spec.dataset).input_size
        thresholds, balances = self.method.thresholds(self.model), self.method.balances(self.model)
        return measure.size(plain, input_size, thresholds, balances)

    def machine(self) -> dict[str, Any]:
        """What trains here, for the provenance of the record."""
        name = torch.cuda.get_device_name() if self.device.type == "cuda" else "cpu"
        return {"device": name, "threads": torch.get_num_threads(), "processes": self.processes.count}

    def save(self) -> None:
        """Write down all that ``resume`` needs; every process waits until it is there."""
        own = {"random": randomness.state(), "losses": self.losses.tolist()}
        kept = {milestone: as_written(network) for milestone, network in self.kept.items()}
        state = {
            "spec": json.dumps(self.spec.to_dict()),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "history": json.dumps([as_written(point) for point in self.history]),
            "epochs": json.dumps([[as_written(epoch) for epoch in self.epochs], kept]),
            "passed": self.passed,
            "scaler": self.train_step.scaler.state_dict(),
            "seconds": self.seconds,
            "data": self.fingerprint,
            "processes": self.processes.gathered(own),
        }
        if self.processes.first:
            saved_state.save(self.folder, self.step, state)
        self.processes.largest(0)  # nobody goes on, or ends, before the file is there

    def resume(self) -> None:
        """Go on from what was saved last, if anything was; UserError when it is damaged or another run's."""
        state = saved_state.load(self.folder, say=self.note)
        if state is None:
            return
        require_same(self.spec, Spec.from_dict(json.loads(state["spec"])), self.folder)
        if state.get("data", self.fingerprint) != self.fingerprint:  # older states do not say it
            raise UserError(
                f"{self.folder} was begun on other data (sha256 {state['data'][:12]} there, {self.fingerprint[:12]} "
                f"here): {dataset(self.spec.dataset).title} has changed since; bring it back, or move the folder away "
                "to train this run from the beginning",
                exit_code=3,
            )
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.seconds = state["step"], state["seconds"]
        self.history = [Point(**point) for point in json.loads(state["history"])]
        epochs, kept = json.loads(state.get("epochs", "[[], {}]"))  # states that older versions saved have none
        self.epochs = [Epoch(**epoch) for epoch in epochs]
        self.kept = {milestone: Kept(**network) for milestone, network in kept.items()}
        self.passed = state.get("passed", {})
        self.train_step.scaler.load_state_dict(state.get("scaler", {}))
        # older ones are of one process, and have the state of torch's generator alone
        saved = state.get("processes") or [{"random": {"torch": state["torch_rng"]}, "losses": state["losses"]}]
        own = saved[self.processes.share.rank % len(saved)]
        randomness.restore(own["random"])
        self.losses.copy_(torch.as_tensor(own["losses"], dtype=torch.float64))
        self.note(f"resumed at step {self.step} of {self.total}")
        if len(saved) != self.processes.count:
            self.note(f"{len(saved)} processes saved it, {self.processes.count} go on: sums are taken in another order")
