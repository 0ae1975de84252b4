from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from paper_repro.errors import UserError
from paper_repro.reporting import evidence as ev
from paper_repro.reporting import figures, results
from paper_repro.reporting.evidence import Evidence
from tests.reporting.conftest import MakeRuns

CASES = {
    "one seed": {"seeds": (0,)},
    "three seeds": {"seeds": (0, 1, 2)},
    "missing rows": {"rows": ["dense", "str-90.23"]},
    "diverged": {"rows": ["gmp-80"], "status": "diverged"},
    "no runs": {"rows": []},
}


def load(make_runs: MakeRuns, tmp_path: Path, table: str = "resnet50", **given: object) -> Evidence:
    results.collect(table, "smoke", make_runs(table, **given), tmp_path / "results")
    return ev.load(table, "smoke", tmp_path / "results")


def texts(figure: Figure) -> str:
    found = [figure.get_suptitle(), *(text.get_text() for legend in figure.legends for text in legend.get_texts())]
    for axis in figure.axes:
        found += [axis.get_title(), axis.get_xlabel(), axis.get_ylabel()]
    return "\n".join(found)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", figures.FIGURES)
def test_figures_render_and_are_legible_on_their_own(make_runs: MakeRuns, tmp_path: Path, name: str, case: str) -> None:
    evidence = load(make_runs, tmp_path, **CASES[case])
    figure = figures.FIGURES[name](evidence)
    shown = texts(figure)
    assert "Table 1" in shown
    assert "tier smoke" in shown
    for axis in figure.axes:
        if axis.get_visible():
            assert axis.get_ylabel()
            assert axis.get_xlabel() or axis.get_shared_x_axes().get_siblings(axis)
    assert (evidence.setting in shown) == (case != "no runs")
    assert ("rows missing" in shown) == (case in ("missing rows", "diverged", "no runs"))


def test_same_results_give_the_same_bytes(make_runs: MakeRuns, tmp_path: Path) -> None:
    evidence = load(make_runs, tmp_path, seeds=(0, 1))
    first = figures.save(evidence, "accuracy_over_macs")
    before = first.read_bytes()
    assert figures.save(evidence, "accuracy_over_macs").read_bytes() == before
    assert first == tmp_path / "results" / "resnet50" / "figures" / "smoke_accuracy_over_macs.png"
    picture = Image.open(io.BytesIO(before))
    assert picture.width > 1000
    assert not set(picture.info) - {"dpi"}
    assert len(before) < 200_000


def test_nothing_is_invented(make_runs: MakeRuns, tmp_path: Path) -> None:
    """One solid line per method that ran, with one point per row that ran; no error bars for one seed."""
    figure = figures.accuracy_over_sparsity(load(make_runs, tmp_path, rows=["dense", "str-90.23", "str-98.05"]))
    axis = figure.axes[1]
    solid = [line for line in axis.lines if line.get_linestyle() == "-" and line.get_marker() not in ("None", "_", "")]
    assert sorted(len(line.get_xdata()) for line in solid) == [1, 2]
    bars = [path for collection in axis.collections for path in collection.get_paths()]
    assert all(np.isnan(path.vertices).any() for path in bars)
    assert "interval" not in texts(figure)


def test_reported_and_reproduced_differ_in_more_than_colour(make_runs: MakeRuns, tmp_path: Path) -> None:
    figure = figures.accuracy_over_macs(load(make_runs, tmp_path, rows=["gmp-80", "gmp-90"]))
    reported = next(line for line in figure.axes[0].lines if line.get_color() == figures.STYLE["gmp"][0])
    reproduced = next(line for line in figure.axes[1].lines if line.get_color() == figures.STYLE["gmp"][0])
    assert reported.get_linestyle() != reproduced.get_linestyle()
    assert reported.get_markerfacecolor() == "white"
    assert reproduced.get_markerfacecolor() != "white"


def test_a_users_matplotlibrc_changes_nothing(make_runs: MakeRuns, tmp_path: Path) -> None:
    import matplotlib

    evidence = load(make_runs, tmp_path, rows=["dense"])
    before = figures.save(evidence, "accuracy_over_macs").read_bytes()
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "black", "figure.facecolor": "red"}):
        assert figures.save(evidence, "accuracy_over_macs").read_bytes() == before


def test_figures_of_mobilenet(make_runs: MakeRuns, tmp_path: Path) -> None:
    """A table without curves in the paper: none behind, and no figure of training before there is a run."""
    assert "sparsity_over_epochs" not in figures.names(ev.load("mobilenetv1", "smoke", tmp_path))
    evidence = load(make_runs, tmp_path, "mobilenetv1", seeds=(0, 1))
    assert list(figures.names(evidence)) == list(figures.FIGURES)
    shown = texts(figures.sparsity_over_epochs(evidence))
    assert "median over layers" in shown
    assert "Reported" not in shown


def test_unknown_figure(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Did you mean 'layer_budgets'"):
        figures.save(ev.load("resnet50", "smoke", tmp_path), "layer_budget")
