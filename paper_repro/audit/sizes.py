"""How large a recurrent network is, at full rank or with low-rank matrices: counted on the real module."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from paper_repro import models
from paper_repro.accounting import account, counted_layers
from paper_repro.data.catalog import dataset

BYTES = 4  # of a parameter in single precision
KB = 1024  # the unit in which the FastGRNN paper prints its full-rank sizes: 57 and 29 KB fit no other


@dataclass(frozen=True)
class Size:
    """``params``: everything that is learnt, biases and single numbers included; ``matrix_params``: the recurrent
    matrices alone; ``macs``: multiply-adds for one sequence.
    """

    params: int
    matrix_params: int
    macs: int

    @property
    def kb(self) -> float:
        """Size in single precision, in units of 1024 bytes."""
        return self.params * BYTES / KB


@lru_cache
def size_of(model_name: str, data_set: str, hidden: int, ranks: str) -> Size:
    """The size of the network with so many hidden units that classifies ``data_set``. ``ranks``: "9/8", the inner
    dimensions of the products that W and U are; empty for full matrices.
    """
    facts = dataset(data_set)
    inner = dict(zip(("rank_w", "rank_u"), map(int, ranks.split("/")), strict=True)) if ranks else {}
    network = models.get(model_name, **facts.fitting, hidden=hidden, **inner)
    *matrices, _classifier = counted_layers(network).values()
    return Size(
        params=sum(parameter.numel() for parameter in network.parameters()),
        matrix_params=sum(layer.weight.numel() for layer in matrices),
        macs=account(network, facts.input_size).macs,
    )
