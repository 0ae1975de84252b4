"""What is measured of a finalized network."""

from __future__ import annotations

import torch
from torch import nn

from paper_repro.training.measure import accuracy
from paper_repro.training.step import precision

CPU = torch.device("cpu")


def test_a_network_is_evaluated_in_the_precision_it_was_trained_in() -> None:
    """Its batch norm knows a channel that is constant, as behind pruned filters: the mean is rounded to bf16, and the
    variance is 0. In float32 the rounding, divided by sqrt(eps), outweighs everything else.
    """
    images, labels = torch.ones(8, 1, 1, 1), torch.zeros(8, dtype=torch.long)
    network = nn.Sequential(
        nn.Conv2d(1, 1, 1, bias=False), nn.BatchNorm2d(1, momentum=1.0), nn.Flatten(), nn.Linear(1, 2)
    )
    with torch.no_grad():
        network[0].weight.fill_(4.8505)
        network[3].weight.copy_(torch.tensor([[-1.0], [1.0]]))
        network[3].bias.copy_(torch.tensor([0.5, 0.0]))  # class 0, unless the channel says something
        with precision("bf16", CPU):
            network(images)
    assert network[1].running_var.item() == 0.0 and network[1].running_mean.item() != network[0].weight.item()
    assert [accuracy(network, [(images, labels)], 0.0, CPU, autocast=way).top1_pct for way in ("bf16", "")] == [
        100.0,
        0.0,
    ]
