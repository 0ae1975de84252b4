"""What the terminal shows is what was said: brackets, colons and tags of other people's texts are text."""

from __future__ import annotations

import io
import re
from pathlib import Path

from rich.progress import TextColumn
from rich.table import Table

import paper_repro
from paper_repro.report.console import print_whole
from paper_repro.runs.progress import TrainingProgress
from paper_repro.terminal import Console
from paper_repro.workflows.train import list_failures

FOREIGN = "[bold]x[/bold] [/some/where] :smile: [red]"


def test_advice_is_given_once() -> None:
    out = io.StringIO()
    console = Console(file=out, width=20)
    for text in ("Take float32, which is faster here.", FOREIGN, "Take float32, which is faster here."):
        console.print_once(text)
    assert out.getvalue() == f"Take float32, which is faster here.\n{FOREIGN}\n"


def test_foreign_text_is_printed_as_it_is() -> None:
    out = io.StringIO()
    console = Console(file=out)
    console.print(FOREIGN)
    grid = Table(FOREIGN)
    grid.add_row(FOREIGN)
    console.print(grid)
    print_whole(grid, console)
    list_failures({FOREIGN: FOREIGN}, console)
    with TrainingProgress(console, 1) as progress:
        progress(FOREIGN, {"event": "note", "text": FOREIGN})
        columns = [column for column in progress.bars.columns if isinstance(column, TextColumn)]
    assert out.getvalue().count(FOREIGN) == 9
    assert columns and not any(column.markup for column in columns)


def test_no_module_has_a_console_of_another_kind() -> None:
    """Nor asks for markup: a text column of a progress bar would by default."""
    folder = Path(paper_repro.__file__).parent
    for path in folder.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert path.name == "terminal.py" or not re.search(r"rich\.console import.*Console|from rich import", text), (
            path
        )
        assert all("markup=False" in call for call in re.findall(r"TextColumn\([^)]*\)", text)), path
