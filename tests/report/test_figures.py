from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from paper_repro import tables
from paper_repro.errors import UserError
from paper_repro.evidence import evidence as ev
from paper_repro.evidence import results
from paper_repro.evidence.evidence import Evidence
from paper_repro.methods import METHODS
from paper_repro.report import figures
from paper_repro.report.looks import LOOKS, look
from paper_repro.report.method_figures import Point, front
from tests.made_up import MakeRuns

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
@pytest.mark.parametrize("name", tables.load("resnet50").figures)
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
    reported = next(line for line in figure.axes[0].lines if line.get_color() == LOOKS["gmp"].colour)
    reproduced = next(line for line in figure.axes[1].lines if line.get_color() == LOOKS["gmp"].colour)
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
    evidence = load(make_runs, tmp_path, "mobilenetv1", seeds=(0, 1), recorded=True)
    assert list(figures.names(evidence)) == list(tables.load("mobilenetv1").figures)
    shown = texts(figures.sparsity_over_epochs(evidence))
    assert "median over layers" in shown
    assert "Reported" not in shown


def test_every_method_has_a_look_and_none_two_of_a_kind_the_same() -> None:
    assert set(METHODS) <= set(LOOKS)
    drawn = [(look.kind, look.colour, look.marker) for name, look in LOOKS.items() if name in METHODS]
    assert len(set(drawn)) == len(drawn)
    assert look("dnw-str").name == "DNW, STR's budget"
    assert look("mine").name == "mine"
    assert len({look(f"dnw-{budget}").marker for budget in ("uniform", "erk", "str")}) == 3


def test_every_figure_belongs_to_a_table() -> None:
    assert {name for table in tables.names() for name in figures.of_table(tables.load(table))} == set(figures.FIGURES)


@pytest.mark.parametrize("name", ["methods_over_sparsity", "methods_over_macs"])
def test_methods_are_beside_str_in_every_panel(make_runs: MakeRuns, tmp_path: Path, name: str) -> None:
    evidence = load(make_runs, tmp_path, "family", seeds=(0, 1))
    figure = figures.FIGURES[name](evidence)
    assert "rows missing" not in texts(figure)
    panels = [axis for axis in figure.axes if axis.get_visible()]
    drawn = {evidence.table.row(id).method for id in evidence.trained_rows} - {"dense"}
    named = [{text.get_text() for text in axis.texts} for axis in panels]
    assert set().union(*named) == {LOOKS[method].name for method in drawn}
    for axis in panels:
        bold = [line for line in axis.lines if line.get_color() == LOOKS["str"].colour and line.get_linewidth() > 2]
        assert [len(line.get_xdata()) for line in bold] == [5]
        assert axis.get_xlabel()
        assert axis.get_ylabel()


def test_the_pareto_front_is_what_no_other_network_beats() -> None:
    points = [Point(80, 88, 0), Point(90, 86, 0), Point(90, 87, 0), Point(95, 87.5, 0), Point(99, 70, 0)]
    assert [(p.x, p.top1_pct) for p in front(points, best_is_right=True)] == [(80, 88), (95, 87.5), (99, 70)]
    assert [(p.x, p.top1_pct) for p in front(points, best_is_right=False)] == [(80, 88)]


def test_a_file_keeps_the_colours_of_methods(make_runs: MakeRuns, tmp_path: Path) -> None:
    """Those that readers know a method by; its palette of 256 merges what lies between them."""
    evidence = load(make_runs, tmp_path)
    data = figures.png(figures.FIGURES["accuracy_over_sparsity"](evidence))
    pixels = np.unique(np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).reshape(-1, 3), axis=0).astype(int)
    for method in {row.method for row in evidence.table.rows}:
        colour = [int(LOOKS[method].colour[at : at + 2], 16) for at in (1, 3, 5)]
        assert np.abs(pixels - colour).max(axis=1).min() <= 4, method


def test_a_collapsed_network_is_said_at_the_edge(make_runs: MakeRuns, tmp_path: Path) -> None:
    evidence = load(make_runs, tmp_path, "family")
    evidence.runs.loc[evidence.runs["row"] == "set-99", "top1_pct"] = 10.0
    figure = figures.FIGURES["methods_over_sparsity"](evidence)
    assert "SET: 10 %" in {text.get_text() for axis in figure.axes for text in axis.texts}
    assert figure.axes[0].get_ylim()[0] > 50


def test_budgets_stand_beside_each_other_with_what_they_cost(make_runs: MakeRuns, tmp_path: Path) -> None:
    evidence = load(make_runs, tmp_path, "transfer", seeds=(0, 1))
    reported, reproduced = figures.FIGURES["accuracy_by_budget"](evidence).axes
    assert "94.80 %, 182 M" in {text.get_text() for text in reported.texts}
    assert len(reported.texts) == len(reproduced.texts) == 10
    assert any(text.get_text().startswith("92.37 %") for text in reproduced.texts)  # on the narrow network
    (alone,) = figures.FIGURES["accuracy_by_budget"](ev.load("transfer", "smoke", tmp_path / "none")).axes
    assert len(alone.texts) == 10


def test_an_accuracy_on_other_data_is_not_drawn(tmp_path: Path) -> None:
    """Appendix A.5.3 prints one of ResNet18 on CIFAR-10."""
    figure = figures.accuracy_over_sparsity(ev.load("extensions", "smoke", tmp_path))
    colour = LOOKS["str-weight"].colour
    assert not [line for line in figure.axes[0].lines if line.get_color() == colour]


def test_unknown_figure(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Did you mean 'layer_budgets'"):
        figures.save(ev.load("resnet50", "smoke", tmp_path), "layer_budget")
