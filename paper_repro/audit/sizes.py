"""How large a recurrent network is, at full rank or with low-rank matrices: counted on the real module."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

from paper_repro import models
from paper_repro.accounting import account
from paper_repro.data.catalog import dataset

BYTES = 4  # of a parameter in single precision
KB = 1024  # the unit in which the FastGRNN paper prints its full-rank sizes: 57 and 29 KB fit no other


class Size(NamedTuple):
    """``params``: all that is learnt, biases and single numbers included; ``kb``: their size in single precision,
    in units of 1024 bytes; ``macs``: multiply-adds for one sequence.
    """

    params: int
    kb: float
    macs: int


@lru_cache
def size_of(model_name: str, data_set: str, hidden: int, ranks: str) -> Size:
    """The size of the network with so many hidden units that classifies ``data_set``. ``ranks``: "9/8", the inner
    dimensions of the products that W and U are; empty for full matrices.
    """
    facts = dataset(data_set)
    inner = dict(zip(("rank_w", "rank_u"), map(int, ranks.split("/")), strict=True)) if ranks else {}
    network = models.get(model_name, **facts.fitting, hidden=hidden, **inner)
    params = sum(parameter.numel() for parameter in network.parameters())
    return Size(params, params * BYTES / KB, account(network, facts.input_size).macs)
