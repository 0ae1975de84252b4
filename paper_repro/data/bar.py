"""A progress bar for downloads and long preparations; nothing where standard error is not a terminal."""

from __future__ import annotations

from functools import partial

from tqdm import tqdm

bar = partial(tqdm, leave=False, disable=None)
bytes_bar = partial(bar, unit="B", unit_scale=True)
