"""Standardising, and the fingerprint of arrays."""

from __future__ import annotations

import numpy as np
import pytest

from paper_repro.data import arrays


def test_each_column_is_standardised_by_the_training_part_and_a_constant_one_only_centred() -> None:
    train = np.array([[[1.0, 5.0]], [[3.0, 5.0]]], dtype=np.float32)
    test = np.array([[[4.0, 7.0]]], dtype=np.float32)
    scaled, scaled_test = arrays.standardised(train, test)
    assert scaled.tolist() == [[[-1.0, 0.0]], [[1.0, 0.0]]] and scaled_test.tolist() == [[[2.0, 2.0]]]


@pytest.mark.parametrize(
    "other",
    [
        {"a": np.arange(6), "c": np.ones(2)},
        {"a": np.arange(6).reshape(2, 3), "b": np.ones(2)},
        {"a": np.arange(6).astype(np.float64), "b": np.ones(2)},
        {"a": np.arange(6)[::-1], "b": np.ones(2)},
    ],
)
def test_the_fingerprint_is_of_names_types_shapes_and_values(other: dict[str, np.ndarray]) -> None:
    one = {"a": np.arange(6), "b": np.ones(2)}
    assert arrays.fingerprint(one) == arrays.fingerprint(dict(reversed(one.items())))
    assert arrays.fingerprint(other) != arrays.fingerprint(one)
