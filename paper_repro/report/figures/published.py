"""What others publish, over sparsity and over multiply-adds: a panel for each length of training and one for N:M
sparsity, STR in each.
"""

from __future__ import annotations

from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from paper_repro.evidence.evidence import Evidence
from paper_repro.report.figures import points as pt
from paper_repro.report.figures import style as st
from paper_repro.report.figures.accuracy import LABEL_Y, LABELS, WHAT
from paper_repro.report.figures.registry import figure

PANELS = {
    "100 epochs": "From scratch, 100 epochs at most",
    "longer": "From scratch, longer",
    "pretrained": "Pretrained start",
    "not stated": "Source does not say (start or length)",
    st.N_OF_M: st.N_OF_M,
}
SECOND_HAND = st.POINTS | {"markerfacecolor": "white", "markersize": 4.5}


@figure("published_over_sparsity")
def published_over_sparsity(evidence: Evidence) -> Figure:
    """Published top-1 accuracy over overall sparsity, by length of training: 100 epochs from scratch, longer, from
    pretrained weights, and not stated; N:M sparsity is apart. Open markers were read second-hand.
    """
    return _published_over("sparsity_pct", evidence)


@figure("published_over_macs")
def published_over_macs(evidence: Evidence) -> Figure:
    """Published top-1 accuracy over multiply-adds per image, where they are printed or follow from a stated rule, by
    length of training; N:M sparsity is apart. Open markers were read second-hand.
    """
    return _published_over("macs_m", evidence)


def published(evidence: Evidence) -> pd.DataFrame:
    """The sparse networks, with ``second_hand`` and ``schedule``, which is ``N_OF_M`` for N:M sparsity. A sparsity or
    MACs that a source does not print are the audit's where they follow from its rule.
    """
    frame = pt.points(evidence)
    frame = frame[frame["method"] != "dense"].set_index("row")
    follows = evidence.audit[evidence.audit["printed"].eq("")].set_index("row")
    for quantity in ("sparsity_pct", "macs_m"):
        recomputed = follows.loc[follows["quantity"] == quantity, "recomputed"]
        frame[quantity] = frame[quantity].fillna(recomputed.reindex(frame.index))
    rows = [evidence.table.row(id) for id in frame.index]
    return frame.assign(
        schedule=[st.N_OF_M if st.look(row.series).kind == st.N_OF_M else str(row.schedule) for row in rows],
        second_hand=[row.is_second_hand for row in rows],
    ).reset_index()


def _published_over(x: str, evidence: Evidence) -> Figure:
    frame = published(evidence).dropna(subset=[x]).sort_values(x, kind="stable")
    reference = frame[frame["series"] == "str"]
    panels = {
        title: others
        for schedule, title in PANELS.items()
        if len(others := frame[(frame["schedule"] == schedule) & (frame["series"] != "str")])
    }
    fig, axes = st.grid(len(panels), 2, 3.0, sharex=True, sharey=True)
    for axis, (title, others) in zip(axes, panels.items(), strict=True):
        for _, line in [*others.groupby("series", sort=False), ("str", reference)]:
            _draw(axis, line, x)
        axis.set_title(title)
        (st.sparsity_axis if x == "sparsity_pct" else st.macs_axis)(axis)
    st.label_axes(fig, axes, LABELS[x], LABEL_Y)
    read = [
        st.handle("Read where its authors print it", "#333333", "o", st.POINTS),
        st.handle("Read second-hand", "#333333", "o", SECOND_HAND),
    ]
    return st.finish(fig, evidence, WHAT[x], read)


def _draw(axis: Axes, line: pd.DataFrame, x: str) -> None:
    """One series: what its authors print joined by a line, what was read second-hand as open markers alone."""
    looks, bold = st.look(line["series"].iloc[0]), line["series"].iloc[0] == "str"
    shared: dict[str, Any] = {"color": looks.colour, "marker": looks.marker, "zorder": 4 if bold else 3}
    own, others = line[~line["second_hand"]], line[line["second_hand"]]
    # lengths of training at one sparsity are no line
    joined = st.REPRODUCED if own[x].is_unique else st.REPRODUCED | st.POINTS
    axis.plot(own[x], own["top1_pct"], **shared, **joined | ({"linewidth": 1.6} if bold else {}))
    axis.plot(others[x], others["top1_pct"], **shared, **SECOND_HAND)
    end = line.iloc[-1 if x == "sparsity_pct" else 0]
    st.label_end(axis, looks.name, end[x], end["top1_pct"], looks.colour)
