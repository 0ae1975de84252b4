"""The protocol of a method: one way to make a network sparse, in one file.

A method attaches to a plain model by *parametrizing* the weights of its convolutions and fully connected layers
(``torch.nn.utils.parametrize``): the forward pass uses a sparse function of each weight, and training sees an
ordinary module. It knows nothing of training loops, tables or data.

To write one, subclass ``Method``, return a parametrization per layer, and, if it has a schedule, override
``before_step``, or ``after_backward`` where it looks at gradients.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, cast

from torch import Tensor, distributed, nn
from torch.nn.utils import parametrize

from paper_repro.accounting import CountedLayer, counted_layers
from paper_repro.errors import UserError

if TYPE_CHECKING:
    from paper_repro.methods.balance import Balance


class Method:
    """A dense network: the base of all methods, and itself the simplest one."""

    prunes = True  # whether a network that stays dense means that something is wrong

    def parametrization(self, name: str, layer: CountedLayer) -> nn.Module | None:
        """The module that maps the raw weight of ``layer`` to the sparse one of that shape; None leaves it dense."""
        return None

    def attach(self, model: nn.Module) -> nn.Module:
        """Parametrize the weights of ``model`` in place, and return it; UserError when a method is attached already."""
        if any(parametrize.is_parametrized(module) for module in model.modules()):
            raise UserError("a method is attached to this model already; finalize it, or attach to a fresh one")
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

    def finalize(self, model: nn.Module) -> nn.Module:
        """A plain copy of ``model`` in which the sparse weights, with their exact zeros, are the weights."""
        plain = copy.deepcopy(model)
        for module in plain.modules():
            if parametrize.is_parametrized(module):
                names = cast(nn.ModuleDict, module.parametrizations).keys()
                values = {name: getattr(module, name).detach().clone() for name in names}
                # not remove_parametrizations: a copy shares its class with the original, and that would break both
                module.__class__ = cast(type[nn.Module], type(module).__base__)
                del module.parametrizations
                for name, value in values.items():
                    module.register_parameter(name, nn.Parameter(value))
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


def decay_groups(
    model: nn.Module, weight_decay: float, own: Iterable[tuple[Sequence[Tensor], float]]
) -> list[dict[str, Any]]:
    """Groups for the optimizer where some parameters have a weight decay of their own: first all the others."""
    own = list(own)
    ids = {id(parameter) for parameters, _ in own for parameter in parameters}
    rest = [parameter for parameter in model.parameters() if id(parameter) not in ids]
    groups = [{"params": list(parameters), "weight_decay": decay} for parameters, decay in own]
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
