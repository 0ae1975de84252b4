"""How an overall sparsity is spread over the layers: each function returns a budget, layer name -> sparsity in
percent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from torch import nn

from paper_repro.errors import UserError, unknown


def _is_depthwise(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Conv2d) and layer.groups == layer.in_channels > 1


KINDS: dict[str, Callable[[int, int, nn.Module], bool]] = {
    "first": lambda index, count, layer: index == 0,
    "last": lambda index, count, layer: index == count - 1,
    "depthwise": lambda index, count, layer: _is_depthwise(layer),
}


def uniform(layers: Mapping[str, nn.Module], sparsity_pct: float, keep_dense: Iterable[str] = ()) -> dict[str, float]:
    """The same sparsity in every layer, except 0 in the kinds of layer named in ``keep_dense`` ("first", "last",
    "depthwise").
    """
    if not 0.0 <= sparsity_pct <= 100.0:
        raise UserError(f"sparsity_pct is {sparsity_pct}; it lies between 0 and 100")
    for kind in keep_dense:
        if kind not in KINDS:
            raise unknown("kind of layer in keep_dense", kind, KINDS)
    count = len(layers)
    return {
        name: 0.0 if any(KINDS[kind](index, count, layer) for kind in keep_dense) else sparsity_pct
        for index, (name, layer) in enumerate(layers.items())
    }
