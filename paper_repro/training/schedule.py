"""The learning rates of the paper. CNNs: linear warm-up, then a cosine to zero, set once per epoch, or, for short runs,
at every step. RNNs: constant, and a tenth of it in the last third of the epochs. GraNet's ResNet50 on CIFAR: constant,
a tenth of it after half of the epochs, and a tenth of that after three quarters.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import repeat

from paper_repro.spec import Spec


def scaled(rate: float, own: float, base: float) -> float:
    """The learning rate of a parameter group that began with ``own``, where the schedule has taken ``base`` to
    ``rate``; a group without one of its own has ``rate`` to the last bit.
    """
    return rate * (own / base)


def learning_rate(spec: Spec, step: int, steps_per_epoch: int) -> float:
    """Learning rate of training step ``step``, counted from 0.

    Epoch e of E with W epochs of warm-up runs at lr * (e + 1) / W while e < W, then at lr / 2 * (1 + cos(pi * (e - W)
    / (E - W))). With ``spec.schedule == "step"`` the same curve is followed continuously. With "drop" the cosine's
    place is taken by lr, and lr / 10 from epoch 2 E / 3 on; with "drops" by lr, lr / 10 from epoch E / 2 on, and
    lr / 100 from epoch 3 E / 4 on, both rounded down.
    """
    now: float
    next_: float
    if spec.schedule != "step":
        now, next_ = step // steps_per_epoch, step // steps_per_epoch + 1
    else:
        now, next_ = step / steps_per_epoch, (step + 1) / steps_per_epoch
    if now < spec.warmup_epochs:
        return spec.lr * min(next_ / spec.warmup_epochs, 1.0)
    if spec.schedule == "drop":
        return spec.lr if 3 * now < 2 * spec.epochs else 0.1 * spec.lr
    if spec.schedule == "drops":
        return spec.lr * 0.1 ** sum(now >= epoch for epoch in (spec.epochs // 2, 3 * spec.epochs // 4))
    return spec.lr * 0.5 * (1.0 + math.cos(math.pi * (now - spec.warmup_epochs) / (spec.epochs - spec.warmup_epochs)))


def learning_rates(spec: Spec, steps_per_epoch: int) -> Iterator[float]:
    """Those of all steps of the training, in order."""
    alike = 1 if spec.schedule == "step" else steps_per_epoch
    for first in range(0, steps_per_epoch * spec.epochs, alike):
        yield from repeat(learning_rate(spec, first, steps_per_epoch), alike)
