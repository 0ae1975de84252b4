"""Small copies of ImageNet for tests: made up here, or of the real photographs where they are."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from paper_repro.data.imagenet import layout
from paper_repro.data.imagenet.layout import Part


def jpeg(seed: int, width: int = 60, height: int = 50, mode: str = "RGB") -> bytes:
    """An image of soft shapes, as a photograph has, so that decoders and scalers agree about it."""
    coarse = np.random.default_rng(seed).integers(0, 256, size=(4, 5, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC).convert(mode)
    packed = io.BytesIO()
    image.save(packed, "JPEG", quality=95)
    return packed.getvalue()


def scaled_down(monkeypatch: pytest.MonkeyPatch, train: int, val: int, least: int = 0, most: int = 1000) -> None:
    """Let ImageNet have these numbers of images; the number of its classes stays."""
    parts = {"train": Part(train, least, most), "val": Part(val, least, most)}
    monkeypatch.setattr(layout, "PARTS", parts)


def made_up(root: Path, train: int = 1, val: int = 1, kinds: int = 4) -> Path:
    """All 1000 classes with ``train`` and ``val`` images each: links to a few files, so that it takes no second."""
    root.mkdir(parents=True, exist_ok=True)
    contents = [root / f"{kind}.jpg" for kind in range(kinds)]
    for kind, path in enumerate(contents):
        path.write_bytes(jpeg(kind, 60 + 10 * kind, 50 + 5 * kind))
    for part, count in (("train", train), ("val", val)):
        for label, wnid in enumerate(layout.wnids()):
            folder = root / part / wnid
            folder.mkdir(parents=True)
            for number in range(count):
                name = (
                    f"{wnid}_{number}.JPEG"
                    if part == "train"
                    else f"ILSVRC2012_val_{label * count + number + 1:08d}.JPEG"
                )
                os.link(contents[(label + number) % kinds], folder / name)
    return root


def replace(path: Path, content: bytes) -> Path:
    """Another content for one file alone, which may be a link to a shared one."""
    path.unlink()
    path.write_bytes(content)
    return path


def photographs() -> Path:
    """The folder of the real photographs, val/WNID/NAME.JPEG; skips the test where they are not."""
    for variable in ("STR_TEST_DATA", "DATA_ROOT"):
        path = Path(os.environ.get(variable, ""), "imagenet1k-mini").absolute()
        if variable in os.environ and (path / "val").is_dir():
            return path
    pytest.skip("needs imagenet1k-mini (1,000 photographs with ImageNet's labels) in $STR_TEST_DATA or $DATA_ROOT")


def copy_of_photographs(root: Path) -> tuple[Path, int]:
    """A copy, by links, with the photographs both as train and as val, in all 1000 class folders; and their number."""
    source, count = photographs(), 0
    for wnid in layout.wnids():
        for part in ("train", "val"):
            (root / part / wnid).mkdir(parents=True)
        for path in sorted((source / "val" / wnid).glob("*")):
            (root / "train" / wnid / f"{wnid}_{path.name}").symlink_to(path)
            (root / "val" / wnid / path.name).symlink_to(path)
            count += 1
    return root, count
