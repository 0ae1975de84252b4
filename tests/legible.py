"""Whether a figure can be read at the width of a page."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.text import Text

from paper_repro.report.figures.style import CONTEXT_GREY, WIDTH

MOST_SERIES = 8  # a panel


def written(figure: Figure) -> Iterator[Text]:
    """Every text that is seen."""
    candidates = [*figure.texts, *(text for legend in figure.legends for text in legend.get_texts())]
    for axis in figure.axes:
        if axis.get_visible():
            candidates += [axis.title, axis._right_title, axis.xaxis.label, axis.yaxis.label, *axis.texts]
            for one in (axis.xaxis, axis.yaxis):
                low, high = sorted(one.get_view_interval())
                ticks = [tick for tick in one.get_major_ticks() if low <= tick.get_loc() <= high]
                candidates += [tick.label1 for tick in ticks if tick.label1.get_visible()]
    candidates += [text for text in (figure._suptitle, figure._supxlabel, figure._supylabel) if text]
    yield from {text for text in candidates if text.get_text().strip()}


def is_legible(figure: Figure) -> None:
    """No type below seven points, nothing beyond the paper, no two texts on each other, no more lines than one can tell
    apart.
    """
    figure.draw_without_rendering()
    is_legible_as_drawn(figure)
    has_few_series(figure)


def has_few_series(figure: Figure) -> None:
    assert all(len(series_in(axis)) <= MOST_SERIES for axis in figure.axes)


def is_legible_as_drawn(figure: Figure) -> None:
    """The texts alone, of a figure that has been drawn at its resolution."""
    assert figure.get_figwidth() == WIDTH
    boxes = {text: Text.get_window_extent(text).padded(-1.0) for text in written(figure)}
    for text, box in boxes.items():
        assert text.get_fontsize() >= 6.9, text
        assert figure.bbox.x0 <= box.x0 and box.x1 <= figure.bbox.x1, text
        assert figure.bbox.y0 <= box.y0 and box.y1 <= figure.bbox.y1, text
    for (one, first), (other, second) in combinations(boxes.items(), 2):
        assert not first.overlaps(second), (one, other)


def series_in(axis: Axes) -> set[str]:
    """The colours of the lines in a panel that are not there to compare with."""
    lines = [line for line in axis.lines if len(line.get_xdata()) and line.get_color() != CONTEXT_GREY]
    return {to_hex(line.get_color()) for line in lines}
