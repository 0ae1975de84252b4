"""The operator as the paper writes it; autograd differentiates it."""

from __future__ import annotations

import torch
from torch import Tensor


def soft_threshold(weight: Tensor, threshold: Tensor) -> Tensor:
    """sign(W) * relu(|W| - t): STR paper, eq. 2."""
    return torch.sign(weight) * torch.relu(torch.abs(weight) - threshold)
