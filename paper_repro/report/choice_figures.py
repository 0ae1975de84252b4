"""The figure of open choices: what each change to a recipe does to accuracy, beside the recipe that the table has."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from paper_repro.data.catalog import dataset
from paper_repro.evidence import statistics
from paper_repro.evidence.contrast import paired
from paper_repro.evidence.evidence import Evidence
from paper_repro.report.drawing import ROW_COLOURS, beside, finish, new_figure, seed_count, style
from paper_repro.tables import Row

LAST, BEST = ROW_COLOURS[0], ROW_COLOURS[1]


def accuracy_by_choice(evidence: Evidence) -> Figure:
    """One line per row: the last network and the best epoch of every seed, their means, and on the right the difference
    to the row that it is to be compared with, paired by seed.
    """
    rows = [row for row in evidence.table.rows if evidence.by_seed(row.id, "top1_pct")]
    with style():
        figure = new_figure(9.0, 1.6 + 0.5 * len(rows))
        axis = figure.subplots()
        for place, row in enumerate(rows):
            last, best = evidence.by_seed(row.id, "top1_pct"), evidence.best_over_epochs(row.id)
            for values, colour, up, face in ((last, LAST, -0.12, LAST), (best, BEST, 0.12, "white")):
                points = list(values.values())
                axis.plot(points, [place + up] * len(points), "o", color=colour, markerfacecolor=face, markersize=5)
                mean = [statistics.summarise(points).mean] if points else []  # some have no epoch with their ranks
                axis.plot(mean, [place + up] * len(mean), "|", color=colour, markersize=14, markeredgewidth=2)
            beside(axis, place, _difference(evidence, _reference(evidence, rows, row), row), points=6, fontsize=8.5)
        axis.set_yticks(range(len(rows)), [row.label for row in rows])
        axis.set_ylim(len(rows) - 0.5, -0.5)
        axis.set_xlabel(f"Top-1 accuracy on the {' or '.join(_evaluated_on(evidence, rows))} (%)")
        axis.set_title("last network: difference to the first row of its kind", loc="right", fontsize=8.5)
        handles = [
            Line2D([], [], color=LAST, marker="o", linestyle="none", label="last network, one seed"),
            Line2D(
                [], [], color=BEST, marker="o", markerfacecolor="white", linestyle="none",
                label="best epoch by this very accuracy",
            ),
            Line2D([], [], color="black", marker="|", markersize=12, linestyle="none", label="mean"),
        ]  # fmt: skip
        finish(figure, evidence, f"accuracy by choice ({seed_count(evidence)})", handles, columns=3)
    return figure


def _evaluated_on(evidence: Evidence, rows: Sequence[Row]) -> list[str]:
    """What the accuracies of these rows are of, in their order."""
    data = (name for row in rows for name in evidence.row_runs(row.id)["dataset"])
    return list(dict.fromkeys(dataset(name).evaluated_on for name in data))


def _reference(evidence: Evidence, rows: Sequence[Row], row: Row) -> Row:
    """The first row of the same method on the table's own data set or, for a control on other data, on others: such
    rows are about the difference between two data sets.
    """

    def kind(row: Row) -> tuple[str, bool]:
        return row.method, row.dataset == evidence.table.dataset

    return next(other for other in rows if kind(other) == kind(row))


def _difference(evidence: Evidence, first: Row, row: Row) -> str:
    """Paired by seed, with its 95 % interval; nothing for the row itself. Runs on other data are not compared where the
    rows do not say so: official data may have taken the place of a stand-in.
    """
    if row is first:
        return ""
    if row.dataset == first.dataset:
        difference = paired(evidence, row.id, first.id)
    else:
        difference = statistics.paired_difference(
            evidence.by_seed(row.id, "top1_pct"), evidence.by_seed(first.id, "top1_pct")
        )
    return "other data" if difference is None else difference.signed()
