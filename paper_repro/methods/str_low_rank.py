"""Low rank by STR (STR paper, section 4.2): the rank of a matrix product is learned as a sparsity is.

A product of two thin matrices gets one importance per rank, W = (W1 * 1 m^T) W2, and what is soft-thresholded is m. A
rank whose importance is within the threshold is gone: with it go a column of W1 and a row of W2, and ``finalize``
leaves them out. The network starts at full inner dimension, and passes through smaller and smaller ranks in one
training; ``keep`` names the combinations at which it is worth keeping, as the paper did for Table 3.

Table 12 gives lambda "on m_W and m_U"; what of the rest decays, the paper leaves open. Here everything decays alike, as
with the CNNs, or with ``decay_rest`` false m and s alone. The m and s of a product that ``rank_decay`` names have the
decay that it gives them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import nn

from paper_repro.accounting import CountedLayer, counted_layers, low_rank_products, ranks
from paper_repro.errors import UserError, require_known
from paper_repro.methods.base import attached, decay_groups
from paper_repro.methods.precision import wide
from paper_repro.methods.str import STR
from paper_repro.methods.str_filter_pruning import FilterImportance
from paper_repro.methods.str_target import Operand
from paper_repro.models.low_rank import keep_ranks


class STRLowRank(STR):
    """STR on the ranks of every low-rank product of a network; ``keep``: ranks, in the order of the products;
    ``rank_decay``: name of a product -> weight decay of its m and s; ``decay_rest``: whether all else decays too.
    """

    prunes = False  # what it drops leaves no zeros behind, so that a network without any is as it should be
    starts_at = 1.0
    decay_name = "rank_decay"

    def __init__(
        self,
        s_init: float = -10.0,
        g: str = "exp",
        keep: Iterable[Iterable[int]] = (),
        rank_decay: Mapping[str, float] = MappingProxyType({}),
        slope: float = 1.0,
        decay_rest: bool = True,
    ) -> None:
        super().__init__(s_init, g, slope=slope)
        self.decay_rest = decay_rest
        self.keep = [tuple(wanted) for wanted in keep]
        self.rank_decay = dict(rank_decay)

    def attach(self, model: nn.Module) -> nn.Module:
        products = low_rank_products(model)
        first = {id(down) for down, _ in products.values()}
        if not first:
            raise UserError(
                "str-rank needs a network with low-rank products (two fully connected layers in a row, without bias), "
                "such as fastgrnn with rank_w and rank_u"
            )
        require_known("low-rank product in rank_decay", self.rank_decay, products)
        for wanted in self.keep:
            _require_possible(wanted, {name: down.out_features for name, (down, _) in products.items()})
        self.first = {name for name, layer in counted_layers(model).items() if id(layer) in first}
        return super().attach(model)

    def parametrization(self, name: str, layer: CountedLayer) -> nn.Module | None:
        if name not in self.first:
            return None
        ones = torch.ones(len(layer.weight), 1, dtype=wide(layer.weight), device=layer.weight.device)
        return FilterImportance(nn.Parameter(ones), self.soft_threshold(ones), normed=False)

    def operand(self, layer: nn.Module) -> Operand:
        held, weight = attached(layer)
        return Operand(held.soft, held.importance, weight[0].numel())

    def param_groups(self, model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
        return decay_groups(
            model,
            weight_decay if self.decay_rest else 0.0,
            (
                ([operand.values, operand.soft.s], self.rank_decay.get(name.rpartition(".")[0], weight_decay))
                for name, operand in self.operands(model).items()
            ),
        )

    @property
    def must_prune(self) -> bool:
        """Only where ranks are to be kept: without any, that none falls is a result."""
        return bool(self.keep)

    def decay_of_s(self, weight_decay: float) -> float:
        """That of the product whose rank begins to fall first. Only with ``keep`` is it known whether ``rank_decay``
        names all of them.
        """
        all_named = bool(self.keep) and len(self.rank_decay) == len(self.keep[0])
        return max([*self.rank_decay.values(), *([] if all_named else [weight_decay])])

    def milestone(self, model: nn.Module) -> str | None:
        if not self.keep:  # which spares a GPU the wait for its ranks
            return None
        now = tuple(ranks(model).values())
        return "/".join(map(str, now)) if now in self.keep else None

    def finalize(self, model: nn.Module) -> nn.Module:
        """A plain copy in which the products have the ranks that are left."""
        plain = super().finalize(model)
        for down, up in low_rank_products(plain).values():
            keep_ranks(down, up, down.weight.ne(0).any(dim=1))
        return plain


def _require_possible(wanted: tuple[int, ...], full: Mapping[str, int]) -> None:
    """UserError where a network whose products have the inner dimensions ``full`` cannot come to have these ranks."""
    if len(wanted) != len(full) or any(not 0 <= rank <= most for rank, most in zip(wanted, full.values(), strict=True)):
        names = ", ".join(f"{name} (0 to {most})" for name, most in full.items())
        raise UserError(f"keep has {list(wanted)}: ranks to keep are one number for each of {names}")
