"""Several processes, started by torchrun, that train on the tiny data; each says what it ended with. ``RUNS`` in the
environment is where they train.
"""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from paper_repro import models
from paper_repro.data.catalog import source
from paper_repro.record import as_written
from paper_repro.training import distributed
from paper_repro.training.distributed import Processes
from paper_repro.training.hooks import Hook
from paper_repro.training.loop import run
from paper_repro.training.measure import accuracy
from paper_repro.training.run import Run
from tests.training.tiny import RANKS, SPEC, install, install_sequences

# no batch norm; 64 windows, so that the last batch of an epoch has 4: shares of 2, 1 and 1 for three processes
STR = replace(
    RANKS, method="str", method_args={"s_init": -6.0, "g": "exp"}, model_args={"hidden": 12}, epochs=2, batch_size=6
)
NETWORKS = (
    STR,
    replace(STR, grad_clip_norm=0.05, seed=1),
    replace(STR, optimizer="adam", lr=0.01, weight_decay=0.01, seed=2),
)


class Weights(Hook):
    """The raw weights that a run ends with, and the state of its method."""

    def on_finish(self, run: Run, plain: nn.Module) -> None:
        self.final = {name: value.tolist() for name, value in run.model.state_dict().items()}


def measure(processes: Processes, runs: Path) -> dict[str, Any]:
    """Accuracy and loss of an untrained network; gradients of the first step and of one with a smaller batch, final
    weights and records of whole runs.
    """
    with pytest.MonkeyPatch.context() as patch:  # the one process to compare with is that of the tests
        install(patch)
        install_sequences(patch)
        return _measure(processes, runs)


def _measure(processes: Processes, runs: Path) -> dict[str, Any]:
    found: dict[str, Any] = {}

    _, val, _ = source(SPEC.dataset).open(Path(), 12, share=processes.share)
    torch.manual_seed(processes.share.rank)  # the processes draw different networks, with different statistics
    network = processes.with_first_buffers(models.get("resnet18", width=4, in_channels=1, num_classes=10))
    if processes.count > 1:
        for parameter in network.parameters():
            torch.distributed.broadcast(parameter.data, src=0)
    measured = accuracy(network, val.in_order(), 0.1, torch.device("cpu"), processes)
    found["evaluated"] = (measured.top1_pct, measured.val_loss)
    found["served"] = sum(processes.gathered(sum(len(labels) for _, labels in val.in_order())))

    found["largest"] = processes.largest(processes.share.rank, -processes.share.rank)
    found["total"] = processes.total(processes.share.rank)

    gradients: dict[int, list[Any]] = {}
    clip, weights = torch.nn.utils.clip_grad_norm_, Weights()

    def keep_gradients(parameters: Any, norm: float) -> Tensor:
        parameters = list(parameters)
        gradients[len(gradients)] = [parameter.grad.tolist() for parameter in parameters]
        return clip(parameters, norm)

    torch.nn.utils.clip_grad_norm_ = keep_gradients
    try:
        for spec in NETWORKS:
            done = as_written(run(spec, runs, Path(), processes=processes, hooks=[weights]))
            found[spec.name] = done | {"weights": weights.final}
    finally:
        torch.nn.utils.clip_grad_norm_ = clip
    return found | {"gradients": [gradients[0], gradients[10]]}


if __name__ == "__main__":
    torch.set_num_threads(1)
    with distributed.joined() as group:
        runs = Path(os.environ["RUNS"])
        said = measure(group, runs)
        (runs / f"said-{group.share.rank}.json").write_text(json.dumps(said))
