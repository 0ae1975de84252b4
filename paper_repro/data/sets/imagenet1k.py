"""ImageNet-1K (ILSVRC 2012): 1,281,167 and 50,000 photographs in 1000 classes, in one folder per class, and the FFCV
files that can be made of them. It cannot be fetched without an account: a copy is found and checked.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from paper_repro.data import sources
from paper_repro.data.dataset import Device, Source
from paper_repro.data.imagenet import layout
from paper_repro.data.loaders import ALONE, Loader, Share
from paper_repro.data.readers import beton
from paper_repro.data.readers.optional import missing, require_library
from paper_repro.data.sources import Say

VAL_BATCH = 250  # of each process; one that divides 50,000

# The readers and ``imagenet.prepare`` are imported where they are used: torchvision takes a second or two, and most
# verbs ask for the facts alone.


@dataclass(frozen=True, kw_only=True)
class ImageNet(Source):
    """The folder of photographs, or the FFCV files made of it."""

    def present(self, root: Path) -> bool:
        """Whether anything of it is under ``root``; ``ensure`` says whether it is whole."""
        return layout.home(root).is_dir()

    def ensure(self, root: Path, say: Say = print, loader: str = "") -> Path:
        """Check what ``loader`` reads, by names and sizes alone; returns the folder with train and val. UserError, with
        everything that is wrong and how to mend it.
        """
        folder = layout.home(root)
        require_library(loader)
        if loader == "ffcv":
            for part in layout.PARTS:
                beton.recorded(folder / f"{part}.beton", layout.PARTS[part].examples)
            return folder
        layout.check(folder)
        if loader != "dali":
            how = "comes with `make ffcv`" if missing("ffcv") else "is installed"
            say(
                "ImageNet-1K is read from the folder with torchvision, at about half of FFCV's speed for each core "
                f"(FFCV {how}; then `{layout.COMMAND} --write-ffcv`, and LOADER=ffcv)"
            )
        return folder

    def open(
        self,
        root: Path,
        batch_size: int,
        device: Device = "cpu",
        share: Share = ALONE,
        loader: str = "",
        say: Say = print,
    ) -> tuple[Loader, Loader, str]:
        folder, batches = layout.home(root), (("train", batch_size), ("val", VAL_BATCH))
        require_library(loader)
        if loader == "ffcv":
            from paper_repro.data.readers.ffcv import FFCVLoader

            files = {
                part: beton.verified(folder / f"{part}.beton", layout.PARTS[part].examples, say)
                for part in layout.PARTS
            }
            share.require_fair(files["train"].examples, batch_size)
            fast = [FFCVLoader(files[part], batch, share) for part, batch in batches]
            return fast[0], fast[1], sources.fingerprint({part: file.sha256 for part, file in files.items()})
        if loader == "dali":
            from paper_repro.data.readers.dali import DALILoader as Reader
        else:
            from paper_repro.data.readers.folder import FolderLoader as Reader  # type: ignore[assignment]

        images = layout.check(folder)
        share.require_fair(len(images["train"]), batch_size)
        plain = [Reader(images[part], batch, share) for part, batch in batches]
        return plain[0], plain[1], sources.fingerprint({part: images[part].fingerprint for part in layout.PARTS})

    def make_ready(self, root: Path, say: Say, **steps: Any) -> None:
        """Sort, read every file, check, and write FFCV's files, as far as ``steps`` ask for it."""
        from paper_repro.data.imagenet.prepare import prepare

        prepare(root, say, **steps)
