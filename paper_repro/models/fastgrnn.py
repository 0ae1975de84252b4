"""FastGRNN (Kusupati et al., NeurIPS 2018): a recurrent network for long sequences and small devices, whose gate and
candidate share their matrices.

One step, with input x and state h, as row vectors:

    p  = x W + h U
    z  = gate(p + b_z)                                           gate: sigmoid or tanh
    c  = tanh(p + b_h)
    h' = z * h + (sigmoid(zeta) * (1 - z) + sigmoid(nu)) * c     zeta, nu: one learned number each

The state after the last step is classified. W and U are full matrices, or products of two thin ones (``rank_w``,
``rank_u``); initial values are those of the authors' library EdgeML: 0.1 times normal numbers for matrices, ones for
the biases b_z and b_h, zeta = 1, nu = -4. EdgeML draws the classifier with standard deviation 1 (``classifier_std``);
here it is 0.1 by default, as for the other matrices. EdgeML's PyTorch trainer makes the classifier after the optimizer,
which never trains it (``classifier_trained`` = False); its TensorFlow trainer does.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from paper_repro.models.fastgrnn_scan import GATES, scan
from paper_repro.models.low_rank import LowRank


class FastGRNN(nn.Module):
    """Logits (batch, ``num_classes``) for sequences (batch, steps, ``in_channels``).

    ``gate`` is "sigmoid" or "tanh". A rank of None is a full matrix. The default size is that of Table 3 on HAR-2.
    """

    def __init__(
        self,
        num_classes: int = 2,
        in_channels: int = 9,
        hidden: int = 80,
        rank_w: int | None = None,
        rank_u: int | None = None,
        gate: str = "sigmoid",
        classifier_std: float = 0.1,
        classifier_trained: bool = True,
    ) -> None:
        super().__init__()
        if gate not in GATES:
            raise ValueError(f"gate must be one of {', '.join(GATES)}, not {gate!r}")
        self.hidden, self.gate = hidden, gate
        self.w = _matrix(in_channels, hidden, rank_w)
        self.u = _matrix(hidden, hidden, rank_u)
        self.bias_gate = nn.Parameter(torch.ones(hidden))
        self.bias_update = nn.Parameter(torch.ones(hidden))
        self.zeta = nn.Parameter(torch.tensor(1.0))
        self.nu = nn.Parameter(torch.tensor(-4.0))
        self.classifier = nn.Linear(hidden, num_classes)
        # nothing is left to fuse, and a compiler would unroll the steps; not a decorator, whose import takes 4 s
        self.scan = torch.compiler.disable(scan)
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.normal_(layer.weight, std=classifier_std if layer is self.classifier else 0.1)
        nn.init.normal_(self.classifier.bias, std=classifier_std)
        self.classifier.requires_grad_(classifier_trained)

    def forward(self, inputs: Tensor) -> Tensor:
        recurrence = self.fused if torch.is_grad_enabled() and not torch.compiler.is_exporting() else self.unrolled
        with _full_precision(inputs.device):  # what a state is rounded to is multiplied by U at every later step
            state = recurrence(inputs.transpose(0, 1).to(self.bias_gate.dtype).contiguous())
        logits: Tensor = self.classifier(state)
        return logits

    def unrolled(self, inputs: Tensor) -> Tensor:
        """The last state (batch, hidden) for ``inputs`` (steps, batch, in_channels), as the equations say.

        Runs where no gradients are taken, and in ``torch.export``, which needs torch's own operations.
        """
        gate, zeta, nu = GATES[self.gate], torch.sigmoid(self.zeta), torch.sigmoid(self.nu)
        state = inputs.new_zeros(inputs.shape[1], self.hidden)
        for x_w in self.w(inputs):
            pre = x_w + self.u(state)
            z = gate(pre + self.bias_gate)
            c = torch.tanh(pre + self.bias_update)
            state = z * state + (zeta * (1 - z) + nu) * c
        return state

    def fused(self, inputs: Tensor) -> Tensor:
        """The same with a backward pass of its own, for training.

        The transforms of ``torch.func`` refuse it; for them, set ``model.fused = model.unrolled``.
        """
        u = self.u
        factors: tuple[Tensor, ...] = ()
        if isinstance(u, LowRank) and 4 * u.down.out_features <= self.hidden:
            factors = (u.down.weight, u.up.weight)
        rest = (self.bias_gate, self.bias_update, self.zeta, self.nu)
        state: Tensor = self.scan(inputs, self.w.weight, u.weight, *rest, self.gate, factors)
        return state


def _full_precision(device: torch.device) -> AbstractContextManager[Any]:
    """Autocast off, on a device that has it: "meta" does not."""
    available = torch.amp.is_autocast_available(device.type)
    return torch.autocast(device.type, enabled=False) if available else nullcontext()


def _matrix(in_features: int, out_features: int, rank: int | None) -> nn.Linear | LowRank:
    if rank is None:
        return nn.Linear(in_features, out_features, bias=False)
    return LowRank(in_features, out_features, rank)


fastgrnn = FastGRNN
