"""FastGRNN as the FastGRNN paper writes it (section 3.2): a cell, called once per step; autograd differentiates it."""

from __future__ import annotations

import torch
from torch import Tensor

from paper_repro.models.fastgrnn import FastGRNN
from paper_repro.models.fastgrnn_scan import GATES


def cell(model: FastGRNN, x: Tensor, h: Tensor) -> Tensor:
    """The next state, from one step's input (batch, features) and the state (batch, hidden)."""
    shared = model.w(x) + model.u(h)
    z = GATES[model.gate](shared + model.bias_gate)
    candidate = torch.tanh(shared + model.bias_update)
    return (torch.sigmoid(model.zeta) * (1.0 - z) + torch.sigmoid(model.nu)) * candidate + z * h


def logits(model: FastGRNN, inputs: Tensor) -> Tensor:
    """Logits for sequences (batch, steps, features)."""
    h = inputs.new_zeros(len(inputs), model.hidden)
    for t in range(inputs.shape[1]):
        h = cell(model, inputs[:, t], h)
    out: Tensor = model.classifier(h)
    return out
