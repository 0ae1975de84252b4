"""Parameters and multiply-adds of a network: the only definition of each in this project.

Convolutions, transposed ones too, and fully connected layers count, batch norm, pooling and biases do not. One
multiply-add is one MAC (the paper calls it a FLOP, footnote 1). A layer of sparsity p costs (1 - p) times its dense
MACs. Other matrices (of attention, embeddings) are not counted, nor pruned by any method here, and are named.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.modules.module import register_module_forward_hook
from torch.nn.parallel import DistributedDataParallel
from torch.nn.utils import parametrize
from torch.optim.swa_utils import AveragedModel

from paper_repro.errors import Advice, UserError

Transposed = nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d  # weights (in, out / groups, ...)
CountedLayer = nn.Conv1d | nn.Conv2d | nn.Conv3d | Transposed | nn.Linear


@dataclass(frozen=True)
class LayerAccount:
    """One counted layer. ``nonzero_params`` is a whole number when measured, a fraction of one under a budget."""

    name: str
    params: int
    nonzero_params: float
    macs: int
    tied_to: str = ""  # an earlier layer that has the same weight, which counts there

    @property
    def density(self) -> float:
        return self.nonzero_params / self.params if self.params else 0.0  # nothing is left of a product of rank 0

    @property
    def sparsity_pct(self) -> float:
        return 100.0 * (1.0 - self.density)

    @property
    def sparse_macs(self) -> float:
        return self.density * self.macs


@dataclass(frozen=True)
class Account:
    """The layers of a network, in the order of definition, and their totals. ``not_counted``: names of other matrices
    and their sizes; ``never_ran``: layers that no forward pass calls as such, so that they show no MACs.
    """

    layers: tuple[LayerAccount, ...]
    not_counted: Mapping[str, int] = field(default_factory=dict)
    never_ran: tuple[str, ...] = ()

    @property
    def params(self) -> int:
        return sum(layer.params for layer in self.layers if not layer.tied_to)

    @property
    def nonzero_params(self) -> float:
        return sum(layer.nonzero_params for layer in self.layers if not layer.tied_to)

    @property
    def macs(self) -> int:
        return sum(layer.macs for layer in self.layers)

    @property
    def sparse_macs(self) -> float:
        return sum(layer.sparse_macs for layer in self.layers)

    @property
    def sparsity_pct(self) -> float:
        return 100.0 * (1.0 - self.nonzero_params / self.params) if self.params else 0.0

    def backbone(self) -> Account:
        """Everything except the classifier, which is the last layer (the paper's "Backbone" rows)."""
        return replace(self, layers=self.layers[:-1])

    def with_budget(self, sparsity_pct: Mapping[str, float]) -> Account:
        """The same layers under a budget: layer name -> sparsity in percent.

        Raises UserError when the budget does not name exactly these layers, or leaves 0 to 100 %.
        """
        require_fit(sparsity_pct, [layer.name for layer in self.layers])
        outside = {name: value for name, value in sparsity_pct.items() if not 0.0 <= value <= 100.0}
        if outside:
            raise UserError(f"budget outside 0 to 100 %: {outside}")
        return replace(
            self,
            layers=tuple(
                replace(layer, nonzero_params=layer.params * (1.0 - sparsity_pct[layer.name] / 100.0))
                for layer in self.layers
            ),
        )


def require_fit(budget: Iterable[str], layers: Iterable[str]) -> None:
    """UserError when a budget does not name exactly these layers."""
    budget, layers = list(budget), list(layers)
    missing = [name for name in layers if name not in budget]
    extra = [name for name in budget if name not in layers]
    if missing or extra:
        raise UserError(f"budget does not fit the network: missing {missing or 'none'}, unknown {extra or 'none'}")


def unwrapped(model: nn.Module) -> nn.Module:
    """The model inside DistributedDataParallel, DataParallel, ``torch.compile`` or an AveragedModel, however many."""
    while True:
        if isinstance(model, DistributedDataParallel | nn.DataParallel | AveragedModel):
            model = model.module
        elif isinstance(inner := getattr(model, "_orig_mod", None), nn.Module):  # what torch.compile returns
            model = inner
        else:
            return model


def counted_layers(model: nn.Module) -> dict[str, CountedLayer]:
    """Name -> module of every layer that counts, in the order of definition; the same layers get pruned. Names are
    those of the model itself, whatever wraps it.
    """
    return {name: module for name, module in unwrapped(model).named_modules() if isinstance(module, CountedLayer)}


def low_rank_products(model: nn.Module) -> dict[str, tuple[nn.Linear, nn.Linear]]:
    """Name -> the two factors, in the order of use, of every matrix that is held as a product: two fully connected
    layers in a row without anything between them, of which the first has no bias.
    """
    products: dict[str, tuple[nn.Linear, nn.Linear]] = {}
    for name, module in unwrapped(model).named_modules():
        layers = list(module.children()) if isinstance(module, nn.Sequential) else []
        if len(layers) != 2 or not all(isinstance(layer, nn.Linear) for layer in layers):
            continue
        if "bias" not in dict(layers[0].named_parameters()):
            products[name] = cast(tuple[nn.Linear, nn.Linear], tuple(layers))
    return products


def ranks(model: nn.Module) -> dict[str, int]:
    """The inner dimension that each low-rank product would use now; works on parametrized modules too."""
    with torch.no_grad():
        products = low_rank_products(model)
        return {name: int(down.weight.ne(0).any(dim=1).sum()) for name, (down, _) in products.items()}


def fullest_groups(model: nn.Module, m: int) -> dict[str, int]:
    """Layer -> the most weights in any ``m`` consecutive inputs that a forward pass would use now; layers whose inputs
    ``m`` does not divide are left out, and transposed convolutions. A layer is n:m sparse where this is at most n, and
    costs n / m of its dense MACs where each group has n.
    """
    layers = {name: layer for name, layer in counted_layers(model).items() if not isinstance(layer, Transposed)}
    with torch.no_grad():
        used = {name: layer.weight.movedim(1, -1) for name, layer in layers.items()}
        return {
            name: int(weight.ne(0).unflatten(-1, (-1, m)).sum(-1).max())
            for name, weight in used.items()
            if weight.shape[-1] % m == 0
        }


def nonzero_sparsity_pct(model: nn.Module) -> float:
    """Overall sparsity of the weights a forward pass would use now, in percent; works on parametrized modules too. A
    weight that layers share counts once, and where they prune it in different ways, each of these.
    """
    first: dict[int, Tensor] = {}  # raw weight -> the one that the first layer that has it uses
    used: list[Tensor] = []
    with torch.no_grad():
        for layer in counted_layers(model).values():
            held = parametrize.is_parametrized(layer, "weight")
            owner = cast(Any, layer.parametrizations).weight if held else layer
            raw = owner._parameters.get("original", owner._parameters.get("weight"))
            key, weight = id(layer if raw is None else raw), layer.weight
            if key not in first or not torch.equal(first[key], weight):
                used.append(weight)
            first.setdefault(key, weight)
        nonzero: int = sum(int(torch.count_nonzero(weight)) for weight in used)
    total = sum(weight.numel() for weight in used)
    return 100.0 * (1.0 - nonzero / total) if total else 0.0


def account(model: nn.Module, input_size: tuple[int, ...]) -> Account:
    """Measure ``model`` on one input of ``input_size`` (without the batch dimension).

    The module must be plain (``method.finalize`` it first): measuring what training happens to hold would let a
    method claim its sparsity. Warns (Advice) of matrices that are not counted, and of layers that never ran.
    """
    model = unwrapped(model)
    if any(parametrize.is_parametrized(module) for module in model.modules()):
        raise UserError("account() measures plain modules: call method.finalize(model) first")
    layers = counted_layers(model)
    if not layers:
        raise UserError("account() found no convolution or fully connected layer in the module")
    macs: Counter[nn.Module] = Counter()

    def count(module: nn.Module, inputs: Any, output: Any) -> None:
        if isinstance(module, CountedLayer):
            # each output element costs one multiply-add per weight that feeds it, of a transposed convolution each
            # input element one per weight that it feeds; the batch is one example
            elements = inputs[0] if isinstance(module, Transposed) else output
            macs[module] += elements.numel() * module.weight.shape[1:].numel()

    weight = next(iter(layers.values())).weight
    modes = {module: module.training for module in model.modules()}
    try:
        model.eval()
        with torch.no_grad(), register_module_forward_hook(count):
            model(torch.zeros(1, *input_size, device=weight.device, dtype=weight.dtype))
    finally:
        for module, training in modes.items():
            module.training = training
    first: dict[int, str] = {}  # weight -> the first layer that has it
    counted = []
    for name, layer in layers.items():
        owner = first.setdefault(id(layer.weight), name)
        nonzero = int(torch.count_nonzero(layer.weight))
        counted.append(LayerAccount(name, layer.weight.numel(), nonzero, macs[layer], "" if owner == name else owner))
    others = {
        name: parameter.numel()
        for name, parameter in model.named_parameters()
        if sum(size > 1 for size in parameter.shape) > 1 and id(parameter) not in first
    }
    silent = tuple(name for name, layer in layers.items() if layer not in macs)
    if others:
        listed = ", ".join(f"{name} ({size:,})" for name, size in others.items())
        warnings.warn(f"not counted, nor pruned: {listed} of {type(model).__name__}", Advice, stacklevel=2)
    if silent:
        text = f"never called in the forward pass, so that their multiply-adds are not known: {', '.join(silent)}"
        warnings.warn(text, Advice, stacklevel=2)
    return Account(tuple(counted), others, silent)
