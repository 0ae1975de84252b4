"""What is measured of a finalized network: accuracy, size and costs. Nothing that a method claims counts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from paper_repro.accounting import account
from paper_repro.methods.balance import Balance
from paper_repro.record import Accuracy, Layer, Size
from paper_repro.training.distributed import ONE_PROCESS, Processes
from paper_repro.training.step import precision


@torch.no_grad()
def accuracy(
    plain: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    label_smoothing: float,
    device: torch.device,
    processes: Processes = ONE_PROCESS,
    autocast: str = "",
) -> Accuracy:
    """Top-1 accuracy and mean loss, with the label smoothing of training as the authors report it, over the ``batches``
    of all processes: every example counts exactly once. The network computes under ``autocast``, as in training.

    Batch norm has statistics of what training computed. Where a channel is constant, as behind pruned filters, its
    variance is 0, and the rounding of its mean to bf16 is divided by sqrt(1e-5): one such channel took a network from
    56 to 18 % in float32.
    """
    plain.eval()
    correct, loss, count = 0, 0.0, 0
    for images, labels in batches:
        labels = labels.to(device)
        with precision(autocast, device):
            logits = plain(images.to(device))
        logits = logits.float() if autocast else logits
        correct += int((logits.argmax(1) == labels).sum())
        loss += float(cross_entropy(logits, labels, label_smoothing=label_smoothing, reduction="sum"))
        count += labels.numel()  # a label an example, or one a pixel
    correct_in_all, loss_in_all, count_in_all = processes.total(correct, loss, count)
    return Accuracy(top1_pct=100.0 * correct_in_all / count_in_all, val_loss=loss_in_all / count_in_all)


def size(
    plain: nn.Module,
    input_size: tuple[int, ...],
    thresholds: Mapping[str, float],
    balances: Mapping[str, Balance] = MappingProxyType({}),
) -> tuple[Size, list[Layer]]:
    """Of the network as a whole and of its layers. ``thresholds``: layer -> g(s), for those that have one;
    ``balances``: what holds a threshold that is learned.
    """
    counted = account(plain, input_size)
    whole = Size(
        sparsity_pct=counted.sparsity_pct,
        backbone_sparsity_pct=counted.backbone().sparsity_pct,
        params_m=counted.params / 1e6,
        nonzero_params_m=counted.nonzero_params / 1e6,
        macs_m=counted.macs / 1e6,
        sparse_macs_m=counted.sparse_macs / 1e6,
    )
    layers = [
        Layer(
            layer=layer.name,
            params=layer.params,
            macs=layer.macs,
            sparsity_pct=layer.sparsity_pct,
            threshold=thresholds.get(layer.name),
            **_balance(balances.get(layer.name)),
        )
        for layer in counted.layers
    ]
    return whole, layers


def _balance(balance: Balance | None) -> dict[str, float]:
    return {} if balance is None else {"kept_l1": balance.l1, "balance": balance.ratio}
