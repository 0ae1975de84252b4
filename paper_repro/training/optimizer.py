"""The optimizers that a spec can name. Each group of parameters that a method makes has a weight decay of its own.

With the gradient g of the loss, a parameter w and its group's weight decay lambda, a step is

    sgd     g + lambda w, through momentum: the paper's CNNs
    adam    the same, through Adam: its decay is coupled to the gradient, and normalised with it
    adamw   g, through Adam, and beside it w <- (1 - lr lambda) w: its decay is decoupled

``Spec.momentum`` is Adam's beta1. Its beta2 and eps are those that PyTorch and TensorFlow have by default.
"""

from __future__ import annotations

from typing import Any

import torch

from paper_repro.spec import Spec

BETA2, EPS = 0.999, 1e-8


def optimizer(spec: Spec, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    """The optimizer of a run over the groups of its method."""
    # torch's fused step, where fp16 leaves the first one out, would go on with momentum that nobody has initialised
    fused = spec.autocast != "fp16"
    if spec.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=spec.lr, momentum=spec.momentum, nesterov=spec.nesterov, fused=fused)
    kind = torch.optim.AdamW if spec.optimizer == "adamw" else torch.optim.Adam
    return kind(groups, lr=spec.lr, betas=(spec.momentum, BETA2), eps=EPS, weight_decay=0.0, fused=fused)


def values_each(spec: Spec) -> int:
    """What a checkpoint holds of a parameter: its value and SGD's momentum, or Adam's two running means."""
    return 2 if spec.optimizer == "sgd" else 3
