"""N:M sparsity: of every M consecutive weights along a layer's inputs at most N are not zero, as in the 2:4 that
sparse tensor cores take.

The groups of a convolution run along its input channels, at one output channel and one place of the kernel. A layer
whose input channels (per group of the convolution) M does not divide stays dense: the first one of an image network,
and depthwise ones. So does a transposed convolution, whose weight has its outputs where the others have their inputs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from paper_repro.accounting import Transposed
from paper_repro.errors import UserError


@dataclass(frozen=True)
class Pattern:
    """At most ``n`` weights that are not zero in every group of ``m``."""

    n: int
    m: int

    @property
    def sparsity_pct(self) -> float:
        """Of a layer that has the pattern and no other zeros."""
        return 100.0 * (1.0 - self.n / self.m)

    def fits(self, layer: nn.Module) -> bool:
        """Whether the weights of this layer fall into groups of m."""
        return not isinstance(layer, Transposed) and layer.get_parameter("weight").shape[1] % self.m == 0

    def mask(self, weight: Tensor) -> Tensor:
        """Ones at the n largest magnitudes of every group, zeros elsewhere; like ``weight``."""
        groups = weight.detach().abs().movedim(1, -1).unflatten(-1, (-1, self.m))
        kept = groups.topk(self.n, dim=-1, sorted=False).indices
        mask = torch.zeros_like(groups).scatter_(-1, kept, 1.0)
        return mask.flatten(-2).movedim(-1, 1)


def is_pattern(text: str) -> bool:
    """Whether ``text`` names an N:M pattern, right or wrong."""
    return ":" in text


def pattern(text: str) -> Pattern:
    """The pattern that ``text`` names, such as "2:4"; UserError for one that is none."""
    parts = re.fullmatch(r"(\d+):(\d+)", text)
    if parts is None or not 0 < int(parts[1]) < int(parts[2]):
        raise UserError(f"{text!r} is no N:M pattern; write it like 2:4, with N below M")
    return Pattern(int(parts[1]), int(parts[2]))
