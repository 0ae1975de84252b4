"""STR: soft threshold weight reparameterization (Kusupati et al., ICML 2020).

The forward pass of every layer uses S_g(W, s) = sign(W) * relu(|W| - g(s)). The scalar s of each layer is trained by
the same SGD, at the same learning rate and weight decay, as the weights. It starts so low that g(s) = 0; weight decay
lifts it towards 0 until g(s) exceeds some weights, and from then on loss and decay together find each layer's sparsity.

The balance: where the weights of a layer and its s have come to rest, its threshold g(u) stands at

    |u| = slope^2 g'(u) L1,      u = slope * s,      L1 = sum of |w| over the kept raw weights of the layer.

Decay pulls s towards 0 and lifts the threshold; the loss pulls it down, through the kept weights. A layer that holds
little weight gets a high threshold and ends sparse, one that holds much gets a low one and ends dense. A narrower
network holds less in every layer: with slope 1, the paper's, its thresholds would balance above its weights, where
nothing survives. ``slope`` makes up for that. It is one number for a network and a length of training; within these,
weight decay steers sparsity, as in the paper. ``balance.py`` derives the law and measures it.

The extensions of the paper that keep the operator and change what shares an s are the same method with another
``granularity``: "global" is STR-GS (Table 9), "filter" one s per output filter, "weight" mask learning (A.5.3).
"""

from __future__ import annotations

import math
import warnings
from typing import Any

from torch import Tensor, nn
from torch.nn.utils import parametrize
from torch.optim.swa_utils import AveragedModel

from paper_repro.accounting import CountedLayer, counted_layers, nonzero_sparsity_pct
from paper_repro.errors import Advice, UserError, require_known
from paper_repro.methods.balance import Balance, balances
from paper_repro.methods.base import Method, attached, decay_groups, percent
from paper_repro.methods.granularity import GRANULARITIES, thresholds_for
from paper_repro.methods.soft_threshold import G, SoftThreshold
from paper_repro.methods.str_target import TARGETS, Operand

ONSET_U = {"sigmoid": -10.0, "exp": -math.log(1.0 + math.exp(10.0))}  # g(u) = 4.5e-5 for both, where pruning begins


class STR(Method):
    """STR; ``g`` is "sigmoid" for CNNs and "exp" for RNNs (paper, appendix A.1), ``granularity`` says which weights
    share one s, and the threshold is g(``slope`` * s).

    With ``target_sparsity_pct`` it ends at that overall sparsity, in percent, in the way that ``target`` names
    (``str_target.py``); ``start`` and ``end`` are the shares of training between which sparsity rises to it. Under
    the default, "controller", s has no weight decay, and ``s_init`` decides nothing as long as g(s_init) is about 0.
    """

    # What the forecast of the onset goes by, beside ``decay_of_s``:
    starts_at: float | None = None  # the magnitude at which all that is thresholded starts; None: weights have no one
    decay_name = "weight_decay"  # the setting that decides how fast s decays
    operator = SoftThreshold

    def __init__(
        self,
        s_init: float = -3200.0,
        g: str = "sigmoid",
        granularity: str = "layer",
        target_sparsity_pct: float | None = None,
        target: str = "controller",
        start: float = 0.2,
        end: float = 0.6,
        slope: float = 1.0,
    ) -> None:
        require_known("threshold function g", g, G)
        require_known("granularity", granularity, GRANULARITIES)
        require_known("target", target, TARGETS)
        if not 0.0 < slope < math.inf:
            raise UserError(f"slope = {slope:g}: g(slope * s) rises with s only where it is above 0; 1 is the paper's")
        if target_sparsity_pct is not None and not 0.0 < percent(target_sparsity_pct, "target_sparsity_pct") < 100.0:
            raise UserError(f"target_sparsity_pct = {target_sparsity_pct:g} is not between 0 and 100")
        if target == "freeze" and granularity != "layer":
            raise UserError(
                "target = 'freeze' holds every layer by its own s, so it needs granularity = 'layer'; take 'controller'"
            )
        way = TARGETS[target](start, end)
        self.s_init, self.g, self.slope = float(s_init), g, float(slope)
        self.granularity = granularity
        self.target_sparsity_pct = target_sparsity_pct
        self.target = None if target_sparsity_pct is None else way

    def attach(self, model: nn.Module) -> nn.Module:
        self.threshold_for = thresholds_for(self.granularity, self.s_init)  # anew for each network
        super().attach(model)
        if self.target_sparsity_pct is not None:
            self.share = self._share_to_prune(model, self.target_sparsity_pct)
        return model

    def soft_threshold(self, values: Tensor) -> SoftThreshold:
        """A new operator for ``values``, while a network is being attached."""
        soft = self.operator(self.threshold_for(values), self.g, self.slope)
        if self.target is not None:
            self.target.prepare(soft)
        return soft

    def parametrization(self, name: str, layer: CountedLayer) -> nn.Module | None:
        return self.soft_threshold(layer.weight)

    def operand(self, layer: nn.Module) -> Operand:
        """What is thresholded in a sparse layer."""
        return Operand(*attached(layer), weights_each=1)

    def operands(self, model: nn.Module) -> dict[str, Operand]:
        """Name of every sparse layer -> what is thresholded there."""
        return {
            name: self.operand(layer)
            for name, layer in counted_layers(model).items()
            if parametrize.is_parametrized(layer, "weight")
        }

    def param_groups(self, model: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
        """As in the paper, everything decays alike; only a controller takes the place of the decay of s."""
        if self.target is None or self.target.decays_s:
            return super().param_groups(model, weight_decay)
        return decay_groups(model, weight_decay, [([operand.soft.s for operand in self.operands(model).values()], 0.0)])

    @property
    def must_prune(self) -> bool:
        """Whether a training that prunes nothing is of no use."""
        return True

    def decay_of_s(self, weight_decay: float) -> float:
        """The weight decay of s, from that of the network: what the forecast of the onset goes by."""
        return weight_decay

    def before_step(self, model: nn.Module, step: int, total_steps: int) -> None:
        if self.target is None:
            if step == total_steps // 2 > 0:
                self._warn_where_nothing_will_be_pruned(model)
        elif self.target.due(step, total_steps) is not None:
            self.target.apply(list(self.operands(model).values()), self.share, step, total_steps)

    def _warn_where_nothing_will_be_pruned(self, model: nn.Module) -> None:
        """Half way: where decay goes on as it began, and learning rates only fall, s ends at s^2 / s_init or lower."""
        now = [operand.soft.s.detach().max().item() for operand in self.operands(model).values()]
        if not self.must_prune or self.starts_at is not None or not now or self.s_init >= 0.0:
            return
        highest, needed = max(now), ONSET_U[self.g] / self.slope
        if -(highest**2) / abs(self.s_init) < needed:
            warnings.warn(
                f"s has come from {self.s_init:g} to {highest:.4g} in half of the training, and will not reach "
                f"{needed:.3g}, where pruning begins: the network stays dense. Only weight decay moves s before that, "
                "by a factor exp(-weight_decay * sum(lr) / (1 - momentum)); take a higher s_init or weight decay",
                Advice,
                stacklevel=3,
            )

    def thresholds(self, model: nn.Module) -> dict[str, float]:
        """One number per sparse layer: g(s), or its mean where a layer has more than one s."""
        return {name: operand.soft.threshold().mean().item() for name, operand in self.operands(model).items()}

    def balances(self, model: nn.Module) -> dict[str, Balance]:
        operands = self.operands(model)
        measured = balances((operand.soft, operand.values) for operand in operands.values())
        return dict(zip(operands, measured, strict=True))

    def finalize(self, model: nn.Module) -> nn.Module:
        plain = super().finalize(model)
        if isinstance(model, AveragedModel) and self.must_prune and nonzero_sparsity_pct(plain) < 1.0:
            raise UserError(
                "this average of networks is dense: its thresholds were averaged with those from before pruning began. "
                "Call copy_thresholds(model, average), which takes them from the network in training, and finalize then"
            )
        return plain

    def copy_thresholds(self, model: nn.Module, average: nn.Module) -> None:
        """Give an average of networks, such as an AveragedModel, the thresholds of ``model``: averaged weights are near
        the last ones, and an averaged s, which comes from far away, is not.
        """
        mine, averaged = self.operands(model), self.operands(average)
        for name, operand in averaged.items():
            operand.soft.s.data.copy_(mine[name].soft.s.data)

    def _share_to_prune(self, model: nn.Module, sparsity_pct: float) -> float:
        """The share of the sparse layers' weights to prune so that all layers together end at ``sparsity_pct``."""
        sparse = sum(operand.weights for operand in self.operands(model).values())
        everything = sum(layer.weight.numel() for layer in counted_layers(model).values())
        if not everything:
            raise UserError(
                "a target needs weights to prune, and the model has no convolution or fully connected layer"
            )
        share = sparsity_pct / 100.0 * everything / sparse if sparse else math.inf
        if share >= 1.0:
            raise UserError(
                f"target_sparsity_pct = {sparsity_pct:g} is out of reach: layers that stay dense hold "
                f"{100.0 * (1.0 - sparse / everything):.2f} % of the weights; ask for less"
            )
        return share


class STROfFilters(STR):
    """STR on one value for each filter, by one s per layer: thresholds apply to these values, not to weights."""

    starts_at = 1.0  # importances, and the scales of batch norm

    def __init__(
        self,
        s_init: float = -3200.0,
        g: str = "sigmoid",
        target_sparsity_pct: float | None = None,
        start: float = 0.2,
        end: float = 0.6,
        slope: float = 1.0,
    ) -> None:
        super().__init__(s_init, g, target_sparsity_pct=target_sparsity_pct, start=start, end=end, slope=slope)
