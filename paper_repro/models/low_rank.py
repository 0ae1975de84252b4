"""A matrix as the product of two thin ones."""

from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn


class LowRank(nn.Sequential):
    """A fully connected layer without bias whose matrix has at most rank ``rank``: ``down`` maps to ``rank`` features,
    ``up`` to ``out_features``, with nothing between them.
    """

    down: nn.Linear
    up: nn.Linear

    def __init__(self, in_features: int, out_features: int, rank: int) -> None:
        if rank < 1:
            raise ValueError(f"a rank must be at least 1, not {rank}")
        super().__init__(
            OrderedDict(
                down=nn.Linear(in_features, rank, bias=False),
                up=nn.Linear(rank, out_features, bias=False),
            )
        )

    @property
    def weight(self) -> Tensor:
        """The product, of shape (out_features, in_features), as ``nn.Linear`` has it."""
        return self.up.weight @ self.down.weight
