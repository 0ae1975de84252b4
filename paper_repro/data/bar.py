"""A progress bar for downloads and long preparations; nothing where standard error is not a terminal."""

from __future__ import annotations

from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from paper_repro.terminal import Console


class Bar:
    """Use it as a context manager. ``total``, ``update``, ``reset`` and ``close`` are what pooch asks of a bar."""

    def __init__(self, title: str, total: int = 0, in_bytes: bool = False) -> None:
        console = Console(stderr=True)
        count: ProgressColumn = DownloadColumn() if in_bytes else MofNCompleteColumn()
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), count, TimeRemainingColumn())
        self._bars = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
        self._task = self._bars.add_task(title, total=None)
        self.total = total

    @property
    def total(self) -> int:
        """Steps, or bytes, in all; 0 when not known."""
        return int(self._bars.tasks[0].total or 0)

    @total.setter
    def total(self, value: int) -> None:
        self._bars.update(self._task, total=value or None)

    @property
    def done(self) -> int:
        """Steps, or bytes, so far."""
        return int(self._bars.tasks[0].completed)

    def update(self, steps: int) -> None:
        """``steps`` more are done."""
        self._bars.update(self._task, advance=steps)

    def reset(self) -> None:
        """Back to none done."""
        self._bars.update(self._task, completed=0)

    def close(self) -> None:
        """Take the bar away."""
        self._bars.stop()

    def __enter__(self) -> Bar:
        self._bars.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()
