"""Where along the depth of a network a budget prunes more, and where less, than uniform sparsity would."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from paper_repro.accounting import Account, LayerAccount


@dataclass(frozen=True)
class BudgetShape:
    """Sparsity minus overall sparsity, in points (above 0: sparser than uniform), weighted by parameters."""

    first_layer: float
    last_layer: float
    first_half: float
    last_half: float
    stages: dict[str, float]


def budget_shape(sparse: Account) -> BudgetShape:
    """The shape of the budget of ``sparse``, an ``Account`` with a budget (``with_budget``) or of a finalized network.

    "Half" is by number of layers in the order of definition; a stage is what shares the first part of its name
    (``layer3``), or a block of MobileNetV1 (``model.3``).

    What the published budgets say of the claim "the first layers end sparser, the last ones denser than uniform":
    it depends on what "first" and "last" mean. For all 16 STR budgets of Table 6 the first half of the 54 layers is
    sparser (by 0.4 to 3.9 points) and the last half denser (by 0.04 to 0.4), and so it is for MobileNetV1 (5.0 and
    0.3, Table 8). The classifier is denser in all of them, by 6 to 29 points. But the very first layer is denser too,
    by 21 to 31 points (20 for MobileNetV1), the first stage of ResNet50 (``layer1``) is denser than uniform in 13 of
    the 16, and its last stage (``layer4``) sparser in all 16: what is sparser than uniform is the middle, ``layer2``
    to ``layer4``. The claim holds without reserve against the other non-uniform budgets of Table 7 (ERK, SNFS, VD,
    GS): at 90 % they all leave ``conv1`` and ``layer1`` denser than STR does.
    """
    overall = sparse.sparsity_pct

    def difference(layers: Iterable[LayerAccount]) -> float:
        return Account(tuple(layers)).sparsity_pct - overall

    stages: dict[str, list[LayerAccount]] = {}
    for layer in sparse.layers:
        stages.setdefault(_stage(layer.name), []).append(layer)
    half = len(sparse.layers) // 2
    return BudgetShape(
        first_layer=difference(sparse.layers[:1]),
        last_layer=difference(sparse.layers[-1:]),
        first_half=difference(sparse.layers[:half]),
        last_half=difference(sparse.layers[half:]),
        stages={name: difference(layers) for name, layers in stages.items()},
    )


def _stage(name: str) -> str:
    parts = name.split(".")
    return ".".join(parts[:2]) if parts[0] == "model" else parts[0]
