"""Random changes of training examples that do not change what they show.

Which change an example gets in an epoch is one random number, drawn with the order of the epoch and looked up by the
example's index. It is therefore a function of (seed, epoch, example), whatever came before, and the same on every
device; a batch is changed at once, where its data is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import pad

PADDING = 4  # pixels on every side
SHIFTS = 2 * PADDING + 1


@dataclass(frozen=True)
class Augmentation:
    """``ways`` equally likely changes; ``apply`` takes inputs (N, ...) and the number of each one's change (N,)."""

    ways: int
    apply: Callable[[Tensor, Tensor], Tensor]


def crop_and_flip(images: Tensor, way: Tensor) -> Tensor:
    """Images (N, C, H, W), each padded with 4 black pixels on every side, cropped to its size at one of 9 x 9 places,
    and mirrored or not, as ``way`` (N,) in 0..161 says. The result is in channels_last.
    """
    height, width = images.shape[2:]
    place, mirrored = way // 2, (way % 2).bool()
    rows = (place // SHIFTS)[:, None] + torch.arange(height, device=images.device)
    columns = torch.arange(width, device=images.device).expand(len(images), width)
    columns = (place % SHIFTS)[:, None] + torch.where(mirrored[:, None], columns.flip(1), columns)
    padded = pad(images, [PADDING] * 4)
    example = torch.arange(len(images), device=images.device)[:, None, None]
    return padded[example, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


CROP_AND_FLIP = Augmentation(2 * SHIFTS**2, crop_and_flip)
