"""One step of training: forward, backward and the optimizer, in the precision and memory format of the spec.

Under autocast the network computes in bf16 or fp16 where PyTorch holds that to be safe. Weights and thresholds, the
soft threshold between them, gradients and weight decay stay in float32: what is cast is the sparse weight.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from paper_repro.methods.base import Method
from paper_repro.spec import Spec
from paper_repro.training.distributed import Processes
from paper_repro.training.schedule import learning_rate, scaled

DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def memory_format(spec: Spec) -> torch.memory_format:
    """Of the network's weights and its images; ``preserve_format`` leaves both as they come."""
    return torch.channels_last if spec.channels_last else torch.preserve_format


def precision(autocast: str, device: torch.device) -> AbstractContextManager[Any]:
    """What a forward pass is computed under: "bf16", "fp16", or "" for the network as it is."""
    return torch.autocast(device.type, DTYPES[autocast]) if autocast else nullcontext()


class Step:
    """Takes the steps of one run; ``model`` has its method attached, and ``optimizer`` its parameters."""

    def __init__(
        self, spec: Spec, model: nn.Module, method: Method, optimizer: torch.optim.Optimizer, processes: Processes
    ) -> None:
        self.spec, self.model, self.method, self.optimizer = spec, model, method, optimizer
        self.processes = processes
        self.rates = [group["lr"] for group in optimizer.param_groups]  # the method may have given a group its own
        self.device = next(model.parameters()).device
        self.format = memory_format(spec)
        network = processes.parallel(model)
        self.network: Any = torch.compile(network) if spec.compile else network
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=spec.autocast == "fp16")

    def __call__(self, images: Tensor, labels: Tensor, step: int, per_epoch: int) -> Tensor:
        """Train on this process's share of a batch; its part of the batch's mean loss, of which the batch's is the mean
        over processes.
        """
        total = per_epoch * self.spec.epochs
        rate = learning_rate(self.spec, step, per_epoch)
        for group, own in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = scaled(rate, own, self.spec.lr)
        self.method.before_step(self.model, step, total)
        images, labels = images.to(self.device, memory_format=self.format), labels.to(self.device)
        with precision(self.spec.autocast, self.device):
            loss = cross_entropy(self.network(images), labels, label_smoothing=self.spec.label_smoothing)
        if self.processes.count > 1:  # shares of an epoch's last, smaller batch differ in size
            loss = loss * (self.processes.count * len(labels) / self.processes.total(len(labels))[0])
        self.optimizer.zero_grad()
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimizer)
        self.method.after_backward(self.model, step, total)
        if self.spec.grad_clip_norm:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.spec.grad_clip_norm)
        self.method.before_update(self.model, self.optimizer, step, total)
        self.scaler.step(self.optimizer)  # as the optimizer does it, unless fp16 has overflowed
        self.scaler.update()
        return loss.detach()
