"""The register of figures: each is one function from evidence to a figure, under the name that tables choose it by."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image

from paper_repro import tables
from paper_repro.errors import require_known
from paper_repro.evidence.evidence import Evidence
from paper_repro.files import write
from paper_repro.report.figures.style import DPI, style

Draw = Callable[[Evidence], Figure]


@dataclass(frozen=True)
class Entry:
    """A registered figure. ``has_content``: whether there is something to show; if not, ``otherwise`` says why."""

    draw: Draw
    has_content: Callable[[Evidence], bool]
    otherwise: str


FIGURES: dict[str, Entry] = {}
NO_NUMBERS, NO_RUNS = "neither the paper nor a run has these numbers", "nothing was run"


def was_run(evidence: Evidence) -> bool:
    """Whether a run has an accuracy."""
    return bool(evidence.runs["top1_pct"].notna().any())


def figure(
    name: str, needs: Callable[[Evidence], bool] = lambda evidence: True, otherwise: str = NO_NUMBERS
) -> Callable[[Draw], Draw]:
    """Register the function below as the figure ``name``. A table chooses it by that name in its TOML file."""

    def register(draw: Draw) -> Draw:
        FIGURES[name] = Entry(draw, needs, otherwise)
        return draw

    return register


def of_table(table: tables.Table) -> tuple[str, ...]:
    """The figures of a table's notebook; one that does not exist is an error that names the nearest."""
    require_known(f"figure of table {table.name}", table.figures, FIGURES)
    return table.figures


def names(evidence: Evidence) -> list[str]:
    """The table's figures that have something to show."""
    return [name for name in of_table(evidence.table) if FIGURES[name].has_content(evidence)]


def nothing_to_draw(evidence: Evidence, name: str) -> str:
    """Why there is nothing to draw; empty where there is something."""
    entry = _entry(name)
    return "" if entry.has_content(evidence) else entry.otherwise


def draw(evidence: Evidence, name: str) -> Figure:
    """One figure by name, in the style of all."""
    with style():
        return _entry(name).draw(evidence)


def _entry(name: str) -> Entry:
    require_known("figure", name, FIGURES)
    return FIGURES[name]


def png(figure: Figure) -> bytes:
    """The figure as PNG. The same figure gives the same bytes: no dates, no versions inside."""
    buffer = io.BytesIO()
    with style():
        figure.savefig(buffer, format="png", dpi=DPI, metadata={"Software": None})
    # A palette makes a third of the bytes, and these files are kept under version control. The octree keeps the colours
    # of lines as they are and merges those of their soft edges; the default would merge two methods' colours.
    small = io.BytesIO()
    picture = Image.open(buffer).convert("RGB").quantize(256, method=Image.Quantize.FASTOCTREE)
    picture.save(small, format="png", optimize=True)
    return small.getvalue()


def path(evidence: Evidence, name: str) -> Path:
    """Where a figure lies: results/<table>/figures/<tier>_<name>.png."""
    return evidence.results_dir / evidence.table.name / "figures" / f"{evidence.tier}_{name}.png"


def save(evidence: Evidence, name: str) -> Path:
    """Draw one figure by name and write it in its place, atomically."""
    return write(path(evidence, name), png(draw(evidence, name)))
