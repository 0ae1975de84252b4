"""Top-1 accuracy and loss of a plain module on a validation set; every image counts exactly once."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from paper_repro.training.distributed import ONE_PROCESS, Processes


@torch.no_grad()
def evaluate(
    model: nn.Module,
    batches: Iterable[tuple[Tensor, Tensor]],
    label_smoothing: float,
    device: torch.device,
    processes: Processes = ONE_PROCESS,
) -> tuple[float, float]:
    """(top-1 accuracy in percent, mean loss with the same label smoothing as in training, as the authors report it),
    both over the ``batches`` of all processes; always in float32.
    """
    model.eval()
    correct, loss, count = 0, 0.0, 0
    for images, labels in batches:
        logits, labels = model(images.to(device)), labels.to(device)
        correct += int((logits.argmax(1) == labels).sum())
        loss += float(cross_entropy(logits, labels, label_smoothing=label_smoothing, reduction="sum"))
        count += len(labels)
    correct_in_all, loss_in_all, count_in_all = processes.total(correct, loss, count)
    return 100.0 * correct_in_all / count_in_all, loss_in_all / count_in_all
