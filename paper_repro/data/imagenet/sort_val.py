"""Sort ImageNet's flat validation archive into one folder per class, by the authors' ground truth or a text that names
image and class.
"""

from __future__ import annotations

import re
import tarfile
from collections import Counter
from pathlib import Path

import scipy

from paper_repro.data.imagenet import layout
from paper_repro.data.readers.images import is_image
from paper_repro.errors import UserError

GROUND_TRUTH = "ILSVRC2012_validation_ground_truth.txt"  # one number per line, of the image of that line
# a line of valprep.sh, of Kaggle's LOC_val_solution.csv, or of anything else that names an image and then a class
LINE = re.compile(r"(ILSVRC2012_val_\d{8})\S*?[\s,;:=]+(?:\S*/)?(n\d{8})")


def sort_val(folder: Path, truth: Path) -> int:
    """Move the images that lie in ``folder/val`` into the folders of their classes, as ``truth`` says; returns how many
    were moved. Nothing is moved unless the class of each is known; a call that was interrupted is finished by the next.
    """
    val = folder / "val"
    flat = sorted(item for item in (val.iterdir() if val.is_dir() else ()) if is_image(item.name))
    if not flat:
        raise UserError(f"no images lie in {val} itself, so there is nothing to sort")
    classes = read_truth(truth)
    most = layout.PARTS["val"].most
    crowded = [f"{count:,} of {wnid}" for wnid, count in Counter(classes.values()).most_common(1) if count > most]
    if crowded:
        raise UserError(f"{truth} names {crowded[0]}, and every class has {most} validation images; nothing was moved")
    unknown = [item.name for item in flat if item.stem not in classes]
    if unknown:
        raise UserError(
            f"{truth} does not say the class of {len(unknown):,} of {len(flat):,} images in {val}, such as "
            f"{unknown[0]}; nothing was moved"
        )
    try:
        for wnid in layout.wnids():
            (val / wnid).mkdir(exist_ok=True)
        for item in flat:
            item.rename(val / classes[item.stem] / item.name)
    except OSError as error:
        raise UserError(f"cannot sort {val}: {error.strerror} ({error.filename})") from error
    return len(flat)


def read_truth(path: Path) -> dict[str, str]:
    """Name of a validation image, without suffix -> WordNet id. UserError when ``path`` says neither."""
    try:
        classes = _from_devkit(path) if tarfile.is_tarfile(path) else _from_text(path)
    except (OSError, KeyError, ValueError, tarfile.TarError, EOFError) as error:
        if isinstance(error, OSError) and error.strerror:
            raise UserError(f"{path} cannot be read: {error.strerror.lower()}") from error
        raise UserError(f"{path} cannot be read as the classes of the validation images: {error}") from error
    foreign = set(classes.values()) - set(layout.wnids())
    if foreign or not classes:
        what = f"names classes that ImageNet-1K has not, such as {min(foreign)}" if foreign else "names no classes"
        raise UserError(f"{path} {what}; {layout.COMMAND} --help says which files are read")
    return classes


def _from_text(path: Path) -> dict[str, str]:
    return dict(LINE.findall(path.read_text(encoding="utf-8-sig")))


def _from_devkit(path: Path) -> dict[str, str]:
    """The authors number the classes in an order of their own, which meta.mat gives."""
    with tarfile.open(path) as archive:
        members = {Path(member.name).name: member for member in archive.getmembers() if member.isfile()}
        meta, truth = (archive.extractfile(members[name]) for name in ("meta.mat", GROUND_TRUTH))
        assert meta is not None and truth is not None  # both are files
        synsets = scipy.io.loadmat(meta, squeeze_me=True)["synsets"]
        wnid_of = {int(synset[0]): str(synset[1]) for synset in synsets}  # ILSVRC2012_ID, WNID, words, ...
        numbers = [int(line) for line in truth.read().split()]
    return {f"ILSVRC2012_val_{position:08d}": wnid_of[number] for position, number in enumerate(numbers, start=1)}
