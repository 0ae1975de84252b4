"""CIFAR-100 from the author's archive, on a few images made here, under made-up hashes."""

from __future__ import annotations

import hashlib
import io
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from paper_repro.data import catalog
from paper_repro.errors import UserError

FACTS = catalog.source("cifar100")
ARCHIVE = "cifar-100-binary.tar.gz"
RECORDS = {
    name: np.random.default_rng(at).integers(0, 20, (4, 3074), dtype=np.uint8) for at, name in enumerate(FACTS.files)
}


def silent(text: str) -> None:
    pass


def archive(root: Path) -> Path:
    with tarfile.open(root / ARCHIVE, "w:gz") as packed:
        for name, records in RECORDS.items():
            member = tarfile.TarInfo(f"cifar-100-binary/{name}")
            member.size = records.nbytes
            packed.addfile(member, io.BytesIO(records.tobytes()))
    return root / ARCHIVE


def test_the_fine_labels_are_learnt(tmp_path: Path) -> None:
    digests = {name: hashlib.sha256(records.tobytes()).hexdigest() for name, records in RECORDS.items()}
    data = replace(FACTS, files=digests)
    assert not data.present(tmp_path)
    archive(tmp_path)
    assert data.present(tmp_path)
    (images, labels), (_, test_labels) = data.load(data.ensure(tmp_path, silent))
    train, test = RECORDS.values()
    assert labels.tolist() == train[:, 1].tolist() and test_labels.tolist() == test[:, 1].tolist()
    assert images.shape == (4, 3, 32, 32) and images[2, 1, 0, 5] == train[2, 2 + 1024 + 5]


def test_content_that_is_not_the_authors_is_refused(tmp_path: Path) -> None:
    archive(tmp_path)
    with pytest.raises(UserError, match=r"(?s)CIFAR-100 is not under .*train.bin is another"):
        replace(FACTS, addresses={}).ensure(tmp_path, silent)
