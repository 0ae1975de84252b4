"""What `data imagenet` does to a copy of ImageNet-1K: sort, read every file, check, write FFCV's files."""

from __future__ import annotations

import time
from pathlib import Path

from paper_repro.data.bar import bar
from paper_repro.data.imagenet.layout import COMMAND, PARTS, UNREADABLE, check, home, wnids
from paper_repro.data.imagenet.sort_val import sort_val as sort
from paper_repro.data.readers import ffcv
from paper_repro.data.readers.images import list_images, unreadable
from paper_repro.data.readers.optional import require_library
from paper_repro.data.sources import Say
from paper_repro.errors import UserError
from paper_repro.files import write

LISTED = 1000  # damaged files in a message, all of which are to be unpacked again


def prepare(
    root: Path,
    say: Say = print,
    sort_val: Path | None = None,
    decode: bool = False,
    skip_unreadable: bool = False,
    write_ffcv: bool = False,
) -> None:
    """The steps that are asked for, and always the check; UserError where one of them finds a fault."""
    folder = home(root)
    if skip_unreadable and not decode:
        raise UserError("--skip-unreadable goes with --decode, which finds the files that cannot be read")
    if write_ffcv:  # before the steps that take hours
        require_library("ffcv", "--write-ffcv")
    if sort_val is not None:
        say(f"{sort(folder, sort_val):,} validation images moved into the folders of their classes")
    if decode:
        check(folder, empty=False)
        _read_all(folder, say, skip_unreadable)
    began = time.monotonic()
    images = check(folder)
    counts = " + ".join(f"{len(images[part]):,}" for part in PARTS)
    how = f"by names, counts and sizes, in {time.monotonic() - began:.1f} s"
    say(f"ImageNet-1K in {folder}: {counts} images in {len(wnids()):,} classes, complete {how}")
    left_out = sum(part.left_out for part in images.values())
    if left_out:
        say(f"  {left_out:,} more are left out, as {folder / UNREADABLE} says")
    if not decode:
        say("  the files themselves were not read: --decode does that, in minutes to hours")
    if write_ffcv:
        for part in PARTS:
            ffcv.write(images[part], folder / f"{part}.beton", say)


def _read_all(folder: Path, say: Say, skip: bool) -> None:
    """Decode every image. Damaged ones are a UserError or, with ``skip``, written down, so that they are left out; the
    list is made anew then, without those that have been repaired.
    """
    damaged: list[str] = []
    for part in PARTS:
        images = list_images(folder / part, wnids())
        names = bar(unreadable(images), desc=f"reading {part}", total=len(images))
        damaged += [f"{part}/{name}" for name in names if name]
        say(f"{part}: {len(images):,} files read")
    if not damaged:
        if skip:
            (folder / UNREADABLE).unlink(missing_ok=True)
        return
    listed = "\n  ".join(damaged[:LISTED] + ([f"and {len(damaged) - LISTED:,} more"] if len(damaged) > LISTED else []))
    if not skip:
        raise UserError(
            f"{len(damaged):,} files in {folder} cannot be read as images:\n  {listed}\nUnpack them again; or leave "
            f"them out, with their number in every result: {COMMAND} --root '{folder}' --decode --skip-unreadable"
        )
    write(folder / UNREADABLE, "\n".join(damaged) + "\n")
    say(f"{len(damaged):,} files cannot be read, and are left out from now on ({folder / UNREADABLE}):\n  {listed}")
