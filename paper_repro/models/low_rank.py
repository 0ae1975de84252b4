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


def keep_ranks(down: nn.Linear, up: nn.Linear, kept: Tensor | slice) -> None:
    """Cut a product, in place, to the ranks that ``kept`` selects: rows of ``down``, and the same columns of ``up``.
    It may select none; the product is then zero.
    """
    down.weight = nn.Parameter(down.weight[kept].detach().clone())
    up.weight = nn.Parameter(up.weight[:, kept].detach().clone())
    down.out_features = up.in_features = len(down.weight)
