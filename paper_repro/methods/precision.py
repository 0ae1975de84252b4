"""In which precision methods compute where a network is in a lower one."""

from __future__ import annotations

import torch
from torch import Tensor


def wide(weight: Tensor) -> torch.dtype:
    """The dtype to compute in: float32, or wider where ``weight`` is. In bf16 or fp16 small steps are rounded away, and
    sums overflow.
    """
    return torch.promote_types(weight.dtype, torch.float32)
