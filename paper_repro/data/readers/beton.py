"""FFCV's files and what is known of them. FFCV notices neither a truncated file nor a foreign one, so beside each
``X.beton`` lies ``X.beton.json`` with its length, its sha256 and how it was encoded; without that it is not opened.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from paper_repro.data.bar import bytes_bar
from paper_repro.data.sources import Say
from paper_repro.errors import UserError
from paper_repro.files import write

WRITE = "python -m paper_repro data imagenet --write-ffcv (with --root DIR)"
CHUNK = 1 << 24  # bytes read at once


@dataclass(frozen=True)
class Encoding:
    """How images are stored: scaled down to at most ``max_resolution`` px on the longer side, this share of them as
    JPEG of ``jpeg_quality``, the others as they are. Less JPEG is faster to read and larger.
    """

    max_resolution: int
    jpeg_quality: int
    jpeg_proportion: float


# FFCV's own choice for its ImageNet results with ResNet50 (github.com/libffcv/ffcv-imagenet: 500_0.50_90)
ENCODING = Encoding(max_resolution=500, jpeg_quality=90, jpeg_proportion=0.5)


@dataclass(frozen=True)
class Beton:
    """A file and what its record says; ``source`` is the fingerprint of the images that it was made from."""

    path: Path
    examples: int
    skipped: int
    source: str
    encoding: Encoding
    ffcv: str
    length: int
    sha256: str


def record_path(path: Path) -> Path:
    """The file that says what ``path`` is."""
    return path.with_name(f"{path.name}.json")


def save_record(beton: Beton) -> None:
    """Write the record beside its file."""
    values = {key: value for key, value in asdict(beton).items() if key != "path"}
    write(record_path(beton.path), json.dumps(values, indent=1) + "\n")


def recorded(path: Path, examples: int) -> Beton:
    """The file at ``path`` by its record and its length; UserError, with what to do, where it is absent, cut short,
    without a record, in another encoding than ``ENCODING``, or of another number of examples.
    """
    if not path.is_file():
        raise UserError(f"{path} is not there; {WRITE} makes it from the folder of images")
    beton = _read_record(path)
    length = path.stat().st_size
    faults = {
        f"it has {length:,} bytes instead of {beton.length:,}": length != beton.length,
        f"it was written as {beton.encoding}, and this version reads {ENCODING}": beton.encoding != ENCODING,
        f"it has {beton.examples:,} images (and {beton.skipped:,} left out) instead of {examples:,}": (
            beton.examples + beton.skipped != examples
        ),
    }
    for fault, holds in faults.items():
        if holds:
            raise UserError(f"{path} is not used: {fault}. {WRITE} makes it anew.")
    return beton


def _read_record(path: Path) -> Beton:
    try:
        values: dict[str, Any] = json.loads(record_path(path).read_text(encoding="utf-8"))
        return Beton(path=path, **{**values, "encoding": Encoding(**values["encoding"])})
    except FileNotFoundError:
        raise UserError(
            f"{path} is not used: {record_path(path).name}, which says what it is, is not beside it: another program "
            f"wrote it, or its writing was interrupted. {WRITE} makes it anew."
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{record_path(path)} is damaged ({error}). {WRITE} makes both files anew.") from error


def verified(path: Path, examples: int, say: Say = print) -> Beton:
    """As ``recorded``, and the content is what was written: every byte is read."""
    beton = recorded(path, examples)
    if beton.length > 1 << 30:
        say(f"verifying {path.name} ({beton.length / 1e9:.0f} GB; once in a run)")
    digest = sha256(path)
    if digest != beton.sha256:
        raise UserError(f"{path} is damaged: its sha256 is not that of its record. {WRITE} makes it anew.")
    return beton


def sha256(path: Path) -> str:
    """SHA-256 of a large file, with a bar."""
    digest = hashlib.sha256()
    with path.open("rb") as file, bytes_bar(desc=f"verifying {path.name}", total=path.stat().st_size) as read:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            read.update(len(chunk))
    return digest.hexdigest()
