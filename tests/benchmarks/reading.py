"""Images to read, and what reads them, for the benchmarks."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from paper_repro.data.loaders import Loader
from paper_repro.data.readers.folder import FolderLoader
from paper_repro.data.readers.images import Images, list_images

WNIDS = ("n01440764", "n01443537", "n01484850")


def reader(loader: str, images: Images, batch_size: int, workers: int | None = None) -> Loader:
    """What ``loader`` names, over these images; FFCV's file is written beside them."""
    if loader == "ffcv":
        from paper_repro.data.readers import ffcv

        path = images.folder.with_name("train.beton")
        return ffcv.FFCVLoader(ffcv.write(images, path, say=lambda _text: None), batch_size, workers=workers)
    if loader == "dali":
        from paper_repro.data.readers.dali import DALILoader

        return DALILoader(images, batch_size, workers=workers)
    return FolderLoader(images, batch_size, workers=workers)


def written(folder: Path, count: int) -> Images:
    """``count`` images of 500 x 375 px with about the bytes of a photograph (100 kB): soft shapes under noise."""
    random = np.random.default_rng(0)
    contents = []
    for _ in range(min(count, 32)):
        soft = Image.fromarray(random.integers(0, 256, (4, 5, 3), dtype=np.uint8)).resize((500, 375))
        noisy = np.asarray(soft, dtype=np.float32) + random.normal(0.0, 12.0, (375, 500, 3))
        packed = io.BytesIO()
        Image.fromarray(noisy.clip(0, 255).astype(np.uint8)).save(packed, "JPEG", quality=90)
        contents.append(packed.getvalue())
    for number in range(count):
        path = folder / "images" / WNIDS[number % len(WNIDS)] / f"{number}.JPEG"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(contents[number % len(contents)])
    return list_images(folder / "images", WNIDS)
