"""The learning rate of the paper: linear warm-up, then a cosine to zero; set once per epoch, or, for short runs, at
every step.
"""

from __future__ import annotations

import math

from paper_repro.spec import Spec


def learning_rate(spec: Spec, step: int, steps_per_epoch: int) -> float:
    """Learning rate of training step ``step``, counted from 0.

    Epoch e of E with W epochs of warm-up runs at lr * (e + 1) / W while e < W, then at lr / 2 * (1 + cos(pi * (e - W)
    / (E - W))). With ``spec.schedule == "step"`` the same curve is followed continuously.
    """
    now: float
    next_: float
    if spec.schedule == "epoch":
        now, next_ = step // steps_per_epoch, step // steps_per_epoch + 1
    else:
        now, next_ = step / steps_per_epoch, (step + 1) / steps_per_epoch
    if now < spec.warmup_epochs:
        return spec.lr * min(next_ / spec.warmup_epochs, 1.0)
    return spec.lr * 0.5 * (1.0 + math.cos(math.pi * (now - spec.warmup_epochs) / (spec.epochs - spec.warmup_epochs)))
