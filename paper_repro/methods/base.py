"""The protocol of a method: one way to make a network sparse, in one file.

A method attaches to a plain model by *parametrizing* the weights of its convolutions and fully connected layers
(``torch.nn.utils.parametrize``): the forward pass uses a sparse function of each weight, and training sees an
ordinary module. It knows nothing of training loops, tables or data.

To write one, subclass ``Method``, return a parametrization per layer, and, if it has a schedule, override
``before_step``, ``after_backward`` where it looks at gradients, or ``before_update`` where it needs the optimizer.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, cast

import torch
from torch import Tensor, distributed, nn
from torch.nn.utils import parametrize

from paper_repro.accounting import CountedLayer, counted_layers, unwrapped
from paper_repro.errors import Advice, UserError

if TYPE_CHECKING:
    from paper_repro.methods.balance import Balance


class Method:
    """A dense network: the base of all methods, and itself the simplest one."""

    prunes = True  # whether a network that stays dense means that something is wrong
    looks_at_gradients = False  # whether ``before_update`` does; ``after_backward`` is there for nothing else
    # argument, weight_decay or lr -> where `regress --tune` searches it, in the words of methods/ranges.toml
    ranges: ClassVar[Mapping[str, Mapping[str, Any]]] = {}

    def parametrization(self, name: str, layer: CountedLayer) -> nn.Module | None:
        """The module that maps the raw weight of ``layer`` to the sparse one of that shape; None leaves it dense."""
        return None

    def attach(self, model: nn.Module) -> nn.Module:
        """Parametrize the weights of ``model`` in place, and return it; UserError when something else makes them."""
        _require_plain(model)
        for name, layer in counted_layers(model).items():
            parametrization = self.parametrization(name, layer)
            if parametrization is not None:
                parametrize.register_parametrization(layer, "weight", parametrization.to(layer.weight.device))
        return model

    def param_groups(self, model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
        """Groups for the optimizer. As in the paper, everything decays alike, batch norm and thresholds included."""
        return [{"params": list(model.parameters()), "weight_decay": weight_decay}]

    def before_step(self, model: nn.Module, step: int, total_steps: int) -> None:
        """Called before every training step, with ``step`` counted from 0. Must depend on nothing but its arguments,
        so that a resumed run goes on as if it had never stopped.
        """

    def after_backward(self, model: nn.Module, step: int, total_steps: int) -> None:
        """Called in every training step between the backward pass and the optimizer's step, when the raw weights have
        their gradients (averaged over processes). May change both.
        """

    def before_update(self, model: nn.Module, optimizer: torch.optim.Optimizer, step: int, total_steps: int) -> None:
        """Called in every training step right before the optimizer's. May change its state (``momentum_of``), and the
        learning rates of its groups for this step: the training loop sets them anew before every step.
        """

    def finalize(self, model: nn.Module) -> nn.Module:
        """A plain copy of ``model`` in which the sparse weights, with their exact zeros, are the weights. Parameters
        have the order and the ``requires_grad`` that they had; those that were one are one where their values agree.
        """
        plain = copy.deepcopy(unwrapped(model))
        made: dict[int, nn.Parameter] = {}  # of each raw weight
        for module in plain.modules():
            if parametrize.is_parametrized(module):
                held = cast(nn.ModuleDict, module.parametrizations)
                values = {name: getattr(module, name).detach().clone() for name in held}
                raws = {name: list(held[name].parameters(recurse=False)) for name in held}
                # not remove_parametrizations: a copy shares its class with the original, and that would break both
                module.__class__ = cast(type[nn.Module], type(module).__base__)
                del module.parametrizations
                others = dict(module._parameters)  # behind weights, as torch's layers define them
                module._parameters.clear()
                for name, value in values.items():
                    trained = any(raw.requires_grad for raw in raws[name])
                    parameter = nn.Parameter(value, requires_grad=trained)
                    shared = made.setdefault(id(raws[name][0]), parameter) if raws[name] else parameter
                    module.register_parameter(name, shared if torch.equal(shared, parameter) else parameter)
                for name in others:
                    module.register_parameter(name, others[name])
        return plain

    def milestone(self, model: nn.Module) -> str | None:
        """A name for the present state, where it is one to keep: asked after every step. The last state of each
        name is measured and kept beside the final one.
        """
        return None

    def thresholds(self, model: nn.Module) -> dict[str, float]:
        """Layer name -> current threshold on |weight|, for methods that have one; recorded with the run."""
        return {}

    def balances(self, model: nn.Module) -> dict[str, Balance]:
        """Layer name -> L1 norm of what its threshold keeps, and how far the threshold is from balance; for methods
        that learn their thresholds. Recorded with the run.
        """
        return {}


def _require_plain(model: nn.Module) -> None:
    """UserError that names what makes a weight or bias of ``model``: a method, a norm, or torch's own pruning."""
    for name, module in unwrapped(model).named_modules():
        makers = [
            maker
            for held in getattr(module, "parametrizations", {}).values()
            for maker in held
            if parametrize.is_parametrized(module)
        ]
        foreign = [type(maker).__name__ for maker in makers if type(maker).__module__.startswith("torch.")]
        if makers and not foreign:
            raise UserError("a method is attached to this model already; finalize it, or attach to a fresh one")
        hooks = [type(hook) for hook in module._forward_pre_hooks.values()]
        foreign += [
            kind.__name__ for kind in hooks if any("torch.nn.utils." in base.__module__ for base in kind.__mro__)
        ]
        if isinstance(module, CountedLayer) and "weight" not in module._parameters and not foreign:
            foreign = ["something else"]
        if foreign:
            layer, what = name or type(module).__name__, ", ".join(foreign).replace("_", "")
            raise UserError(
                f"layer {layer}: its weight or bias is made by {what} already. "
                "Remove that first (torch.nn.utils.parametrize.remove_parametrizations, remove_weight_norm, "
                "remove_spectral_norm, prune.remove), or attach to a fresh model"
            )


def percent(value: float, name: str = "sparsity_pct") -> float:
    """``value`` itself; UserError outside 0 to 100, Advice where it looks like a share."""
    if not 0.0 <= value <= 100.0:
        raise UserError(f"{name} is {value}; it lies between 0 and 100")
    if 0.0 < value < 1.0:
        text = f"{name} = {value:g} is less than one percent; for a share of {value:g}, ask for {100.0 * value:g}"
        warnings.warn(text, Advice, stacklevel=3)
    return value


def decay_groups(
    model: nn.Module, weight_decay: float, own: Iterable[tuple[Sequence[Tensor], float]]
) -> list[dict[str, Any]]:
    """Groups for the optimizer where some parameters have a weight decay of their own: first all the others. One that
    several layers share is in its group once.
    """
    by_id = [({id(parameter): parameter for parameter in parameters}, decay) for parameters, decay in own]
    rest = [parameter for parameter in model.parameters() if not any(id(parameter) in group for group, _ in by_id)]
    groups = [{"params": list(group.values()), "weight_decay": decay} for group, decay in by_id]
    return [{"params": rest, "weight_decay": weight_decay}, *groups]


def attached(layer: nn.Module) -> tuple[Any, Tensor]:
    """The parametrization of a layer's weight, and the raw weight that it maps."""
    held = cast(Any, layer.parametrizations).weight
    return held[0], held.original


def attached_layers(model: nn.Module) -> dict[str, tuple[Any, Tensor]]:
    """Layer name -> ``attached``, for the layers that a method has parametrized; in the order of definition."""
    return {
        name: attached(layer)
        for name, layer in counted_layers(model).items()
        if parametrize.is_parametrized(layer, "weight")
    }


def momentum_of(optimizer: torch.optim.Optimizer, parameter: Tensor) -> Tensor | None:
    """The momentum of SGD, or the running mean of Adam, that a parameter has; None where it has none (yet)."""
    state = optimizer.state.get(parameter, {})
    return cast(Tensor | None, state.get("momentum_buffer", state.get("exp_avg")))


def mean_over_processes(tensor: Tensor) -> Tensor:
    """The mean of a tensor over the processes that train together; itself where there is one process."""
    if distributed.is_available() and distributed.is_initialized():
        tensor = tensor.clone()
        distributed.all_reduce(tensor)
        tensor /= distributed.get_world_size()
    return tensor


def from_first_process(tensor: Tensor) -> Tensor:
    """What the first process has, in all that train together: for whatever was drawn at random."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.broadcast(tensor, src=0)
    return tensor
