"""The features of speech against one frame computed by hand, from the definition, without the library."""

from __future__ import annotations

import numpy as np
import pytest

from paper_repro.data import speech_features
from paper_repro.data.speech_features import HERTZ, log_mel, one_second
from paper_repro.errors import UserError


def tone() -> np.ndarray:
    """Two tones and noise on the scale of 16-bit integers."""
    time = np.arange(HERTZ) / HERTZ
    noise = np.random.default_rng(1).normal(size=HERTZ)
    return (8000 * np.sin(2 * np.pi * 440 * time) + 3000 * np.sin(2 * np.pi * 2500 * time) + 300 * noise).astype(
        np.int16
    )


def frame_by_hand(clip: np.ndarray, number: int) -> np.ndarray:
    signal = [float(clip[0])] + [float(clip[i]) - 0.97 * float(clip[i - 1]) for i in range(1, len(clip))]
    signal += [0.0] * 400  # the last frame reaches past the end
    window = [0.54 - 0.46 * np.cos(2 * np.pi * n / 399) for n in range(400)]
    frame = np.array([signal[number * 160 + n] * window[n] for n in range(400)])
    bins = np.arange(257)
    transform = np.exp(-2j * np.pi * np.outer(bins, np.arange(400)) / 512) @ frame
    power = np.abs(transform) ** 2 / 512
    top = 2595 * np.log10(1 + 8000 / 700)  # 8 kHz on HTK's mel scale
    corners = [int(513 * 700 * (10 ** (top * i / 33 / 2595) - 1) / 16_000) for i in range(34)]
    energies = []
    for left, middle, right in zip(corners, corners[1:], corners[2:], strict=False):
        rising = sum(power[k] * (k - left) / (middle - left) for k in range(left, middle))
        falling = sum(power[k] * (right - k) / (right - middle) for k in range(middle, right))
        energies.append(rising + falling)
    return np.log(np.array(energies) + 1e-10)


@pytest.mark.parametrize("number", [0, 41, 98])
def test_a_frame_is_what_it_is_by_hand(number: int) -> None:
    clip = tone()
    features = log_mel(clip)
    assert features.shape == (99, 32) and features.dtype == np.float32
    assert np.abs(features[number] - frame_by_hand(clip, number)).max() < 1e-4


def test_the_tones_are_in_their_filters() -> None:
    mean = log_mel(tone()).mean(0)
    centre = 700 * (10 ** (np.arange(1, 33) * np.log10(1 + 8000 / 700) / 33) - 1)  # Hz, of the filters
    for hertz in (440, 2500):
        near = int(np.abs(centre - hertz).argmin())
        assert mean[near] > mean[(near + 6) % 32] + 3 and mean[near] > mean[near - 4] + 3


def test_silence_is_the_logarithm_of_the_floor() -> None:
    assert np.allclose(log_mel(np.zeros(HERTZ, dtype=np.int16)), np.log(1e-10), atol=1e-4)


def test_short_clips_are_filled_up_at_the_front() -> None:
    padded = one_second(np.array([1, 2, 3], dtype=np.int16), "a.wav")
    assert len(padded) == HERTZ and padded[-3:].tolist() == [1, 2, 3] and not padded[:-3].any()
    for wrong in (np.zeros(HERTZ + 1), np.zeros(0), np.zeros((2, 8000))):
        with pytest.raises(UserError, match=r"b\.wav: audio of shape"):
            one_second(wrong, "b.wav")


def test_extract_keeps_the_order() -> None:
    clips = [tone() // scale for scale in (1, 2, 4)]
    features = speech_features.extract(iter(clips), 3, "test")
    assert all(np.array_equal(features[i], log_mel(clip)) for i, clip in enumerate(clips))
