"""Batches in memory: the order of an epoch, and the shares of several processes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from paper_repro.data.catalog import source
from paper_repro.data.loaders import ALONE, Share, TensorLoader
from paper_repro.errors import UserError
from tests.training.tiny import install

EXAMPLES = 23


def loader(share: Share = ALONE, batch_size: int = 6) -> TensorLoader:
    labels = torch.arange(EXAMPLES)
    return TensorLoader(labels[:, None].float(), labels, lambda inputs: 2.0 * inputs, batch_size, share)


@pytest.mark.parametrize("world", [1, 2, 3])
def test_processes_share_every_batch(world: int) -> None:
    whole = list(loader().epoch(seed=1, epoch=2))
    parts = [list(loader(Share(rank, world)).epoch(seed=1, epoch=2)) for rank in range(world)]
    assert len(whole) == len(loader()) == 4
    for index, (_, labels) in enumerate(whole):
        shares = [part[index][1] for part in parts]
        assert max(map(len, shares)) - min(map(len, shares)) <= 1
        assert sorted(torch.cat(shares).tolist()) == sorted(labels.tolist())
    assert sorted(torch.cat([labels for _, labels in whole]).tolist()) == list(range(EXAMPLES))


@pytest.mark.parametrize("world", [1, 2, 3, 5])
def test_every_example_is_evaluated_once_on_any_number_of_processes(world: int) -> None:
    seen = [batch for rank in range(world) for batch in loader(Share(rank, world)).in_order()]
    assert sorted(torch.cat([labels for _, labels in seen]).tolist()) == list(range(EXAMPLES))
    assert all(torch.equal(inputs[:, 0], 2.0 * labels) for inputs, labels in seen)


def test_an_epoch_goes_on_from_any_batch() -> None:
    whole = list(loader().epoch(seed=0, epoch=3))
    rest = list(loader().epoch(seed=0, epoch=3, first=2))
    assert [labels.tolist() for _, labels in rest] == [labels.tolist() for _, labels in whole[2:]]
    assert whole[0][1].tolist() != next(loader().epoch(seed=0, epoch=4))[1].tolist()


def test_a_batch_that_cannot_be_shared_is_refused() -> None:
    with pytest.raises(UserError, match="batch of 256 examples cannot be shared equally by 3 processes"):
        Share(0, 3).require_fair(1_281_167, 256)
    with pytest.raises(UserError, match="has 1 of 257 examples, fewer than there are processes"):
        Share(0, 2).require_fair(257, 256)
    Share(0, 4).require_fair(1_281_167, 256)
    Share(0, 4).require_fair(512, 256)


def test_it_is_refused_before_the_data_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    install(monkeypatch)
    with pytest.raises(UserError, match="cannot be shared equally by 3 processes"):
        source("fashion_mnist").open(Path(), 4, share=Share(0, 3))
    train, val, _ = source("fashion_mnist").open(Path(), 4, share=Share(0, 2))
    assert [len(next(batches)[1]) for batches in (train.epoch(0, 0), val.in_order())] == [2, 20]
