"""Figures: what a reader must be able to see in each, at the width of a page."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import same_color, to_hex
from matplotlib.figure import Figure
from PIL import Image

from paper_repro import tables
from paper_repro.errors import UserError
from paper_repro.evidence import evidence as ev
from paper_repro.evidence import results
from paper_repro.evidence.decay import alone_since
from paper_repro.evidence.evidence import Evidence
from paper_repro.evidence.layers import against_uniform, published_over_uniform, trained
from paper_repro.methods import METHODS
from paper_repro.report import figures
from paper_repro.report.figures.accuracy import front
from paper_repro.report.figures.points import COLUMNS, points
from paper_repro.report.figures.style import LOOKS, WIDTH, end_labels, look, trained_epochs
from paper_repro.report.figures.training import few_rows
from paper_repro.training.forecast import decay_factors, steps_per_epoch
from tests.legible import is_legible
from tests.made_up import MakeRuns, load

CASES = {
    "three seeds": {"seeds": (0, 1, 2)},
    "missing rows": {"rows": ["dense", "str-90.23"]},
    "diverged": {"rows": ["gmp-80"], "status": "diverged"},
    "the dense network alone": {"rows": ["dense"]},
    "no runs": {"rows": []},
}


def texts(figure: Figure) -> str:
    """Everything that is written around the panels."""
    found = [figure.get_suptitle(), figure.get_supxlabel(), figure.get_supylabel()]
    found += [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    for axis in figure.axes:
        found += [axis.get_title(), axis.get_title("right"), axis.get_xlabel(), axis.get_ylabel()]
    return "\n".join(found)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", tables.load("resnet50").figures)
def test_figures_render_and_are_legible_on_their_own(tmp_path: Path, name: str, case: str) -> None:
    evidence = load(tmp_path, **CASES[case])
    figure = figures.draw(evidence, name)
    is_legible(figure)
    shown = texts(figure)
    assert "Table 1" in shown
    assert "tier smoke" in shown
    assert (evidence.setting in shown) == (case != "no runs")
    assert ("rows missing" in shown) == (case in ("missing rows", "diverged", "the dense network alone", "no runs"))
    panels = [axis for axis in figure.axes if axis.get_visible()]
    assert any(axis.get_xlabel() for axis in panels)
    assert figure.get_supylabel() or all(axis.get_ylabel() for axis in panels)


def budget_panels(evidence: Evidence) -> dict[str, Axes]:
    return {axis.get_title().split(":")[0]: axis for axis in figures.draw(evidence, "layer_budgets").axes}


def of_the_paper(axis: Axes) -> bool:
    return any(line.get_marker() == "s" and len(line.get_xdata()) > 0 for line in axis.lines)


def test_layer_budgets_show_patterns_without_a_budget_of_the_paper(tmp_path: Path) -> None:
    """A uniform pattern, whose layers all have one density, has no panel; only the title counts it."""
    evidence = load(tmp_path, "n_of_m", rows=["sr-ste-2of4", "str-2of4-90", "str-90.23"])
    learnt = evidence.budgets["row"].eq("str-2of4-90") & evidence.budgets["layer"].eq("fc")
    evidence.budgets.loc[learnt, "sparsity_pct"] = 50.0
    panels = budget_panels(evidence)
    assert {row: of_the_paper(axis) for row, axis in panels.items()} == {"str-2of4-90": False, "str-90.23": True}
    title = " ".join(figures.draw(evidence, "layer_budgets").get_suptitle().split())
    assert "(1 row with one density in all pruned layers left out)" in title
    alone = load(tmp_path / "alone", "n_of_m", rows=["sr-ste-2of4"])
    assert set(budget_panels(alone)) == {"sr-ste-2of4"}


def test_a_layer_that_is_empty_in_a_seed_has_a_mark_at_the_edge(tmp_path: Path) -> None:
    """The mean over seeds does not show it."""
    evidence = load(tmp_path, rows=["str-90.23", "str-95.03"], seeds=(0, 1))
    assert "No weight left" not in texts(figures.draw(evidence, "layer_budgets"))
    names = list(dict.fromkeys(evidence.budgets["layer"]))
    emptied = evidence.budgets["row"].eq("str-95.03") & evidence.budgets["layer"].isin([names[3], names[5]])
    evidence.budgets.loc[emptied & evidence.budgets["seed"].eq(1), "sparsity_pct"] = 100.0
    marked = {
        row: [list(line.get_xdata()) for line in axis.lines if line.get_gid() == "empty"]
        for row, axis in budget_panels(evidence).items()
    }
    assert marked == {"str-90.23": [], "str-95.03": [[4, 6]]}
    figure = figures.draw(evidence, "layer_budgets")
    assert "No weight left (in at least one seed)" in texts(figure)
    is_legible(figure)


def test_a_budget_of_another_regime_is_not_drawn(tmp_path: Path) -> None:
    """MobileNetV1 has one, of 89.01 %: its density is 2.2 times too small for the row of 75 %."""
    evidence = load(tmp_path, "mobilenetv1", rows=["str-75.28", "str-85.80", "str-89.01"])
    panels = budget_panels(evidence)
    assert {row: of_the_paper(axis) for row, axis in panels.items()} == {
        "str-75.28": False, "str-85.80": True, "str-89.01": True,
    }  # fmt: skip
    assert [axis.get_title().partition("; ")[2] for axis in panels.values()] == ["", *["reported: str-89.01"] * 2]
    titles = [axis.get_title() for axis in figures.draw(evidence, "densities_against_paper").axes]
    assert [title.partition(":")[0] for title in titles] == ["str-85.80", "str-89.01"]
    sparse = load(tmp_path / "sparse", "mobilenetv1", rows=["str-75.28"])
    assert "near a budget" in figures.FIGURES["densities_against_paper"].otherwise
    assert "densities_against_paper" not in figures.names(sparse)


def test_densities_say_which_layers_are_empty_and_which_the_correlation_leaves_out(tmp_path: Path) -> None:
    """Counted by seed, as in docs/trained.md; left out is what is empty in every seed."""
    evidence = load(tmp_path, rows=["str-95.03"], seeds=(0, 1))
    names = list(dict.fromkeys(evidence.budgets["layer"]))
    (axis,) = figures.draw(evidence, "densities_against_paper").axes
    assert "empty" not in axis.get_title()
    for seed, gone in ((0, names[3:4]), (1, names[3:6])):
        emptied = evidence.budgets["seed"].eq(seed) & evidence.budgets["layer"].isin(gone)
        evidence.budgets.loc[emptied, "sparsity_pct"] = 100.0
    figure = figures.draw(evidence, "densities_against_paper")
    (axis,) = figure.axes
    assert axis.get_title().endswith("empty layers, by seed: 1/3")
    assert [len(line.get_xdata()) for line in axis.lines if line.get_gid() == "empty"] == [1]
    assert "Empty in every seed: left out of r" in texts(figure)
    is_legible(figure)


def test_points_are_one_tidy_frame(tmp_path: Path) -> None:
    evidence = load(tmp_path, "transfer", rows=["dnw-uniform-90", "dnw-str-94.80"], seeds=(0, 1))
    frame = points(evidence)
    assert tuple(frame.columns) == COLUMNS
    assert list(frame["origin"]).count("reported") == 10
    run = frame[frame["origin"] == "reproduced"].set_index("row")
    assert list(run["series"]) == ["dnw-uniform", "dnw-str"] and set(run["method"]) == {"dnw"}
    accuracy = evidence.summary("dnw-str-94.80", "top1_pct")
    assert accuracy is not None and accuracy.high is not None
    line = run.loc["dnw-str-94.80"]
    assert (line["top1_pct"], line["n"]) == (accuracy.mean, 2)
    assert line["half"] == pytest.approx(accuracy.high - accuracy.mean)
    assert frame.loc[frame["origin"] == "reported", "half"].isna().all()


def test_same_results_give_the_same_bytes(tmp_path: Path) -> None:
    evidence = load(tmp_path, seeds=(0, 1))
    first = figures.save(evidence, "accuracy_over_macs")
    before = first.read_bytes()
    assert figures.save(evidence, "accuracy_over_macs").read_bytes() == before
    assert first == tmp_path / "resnet50" / "figures" / "smoke_accuracy_over_macs.png"
    picture = Image.open(io.BytesIO(before))
    assert picture.width == 200 * WIDTH
    assert not set(picture.info) - {"dpi"}
    assert len(before) < 200_000


def test_nothing_is_invented(tmp_path: Path) -> None:
    """One solid line per method that ran, with one point per row that ran; no interval for one seed."""
    evidence = load(tmp_path, rows=["dense", "str-90.23", "str-98.05"])
    figure = figures.draw(evidence, "accuracy_over_sparsity")
    panels = reproduced(figure)
    assert panels
    for axis in panels:
        drawn = [line for line in axis.lines if line.get_marker() not in ("None", "")]
        assert [len(line.get_xdata()) for line in drawn] == [2]
        assert drawn[0].get_linestyle() == "-" and same_color(drawn[0].get_color(), LOOKS["str"].colour)
        assert not intervals(axis)
        assert {text.get_text() for text in axis.texts} == {"STR", "Dense"}
    assert "interval" not in texts(figure)


def reproduced(figure: Figure) -> list[Axes]:
    return [axis for axis in figure.axes if axis.get_subplotspec().colspan.start == 1]


def intervals(axis: Axes) -> int:
    """How many bands and bars are in a panel."""
    edges = [path.vertices for collection in axis.collections for path in collection.get_paths()]
    return sum(bool(np.isfinite(part).all()) and len(part) > 0 for part in edges)


@pytest.mark.parametrize("name", ["accuracy_over_sparsity", "accuracy_over_macs"])
def test_two_seeds_are_shown_themselves_and_three_by_their_interval(tmp_path: Path, name: str) -> None:
    """The interval of two would run off the axes."""
    for seeds in ((0, 1), (0, 1, 2)):
        rows = ["gmp-80", "gmp-90", "str-79.55", "dense"]
        evidence = load(tmp_path / str(len(seeds)), rows=rows, seeds=seeds)
        figure = figures.draw(evidence, name)
        (axis,) = reproduced(figure)
        points = [line.get_ydata() for line in axis.lines if line.get_gid() == "seeds"]
        one, interval = (said in texts(figure) for said in ("One seed, where there are fewer than 3", "95 % interval"))
        assert (one, interval, intervals(axis) > 0) == (len(seeds) < 3, len(seeds) > 2, len(seeds) > 2)
        measured = [evidence.by_seed(row, "top1_pct") for row in ("gmp-80", "gmp-90", "str-79.55")]
        expected = sorted(value for row in measured for value in row.values()) if len(seeds) < 3 else []
        assert sorted(value for line in points for value in line) == pytest.approx(expected)
        low, high = axis.get_ylim()
        assert all(low < value < high for line in points for value in line)
        is_legible(figure)


def test_a_row_with_a_seed_at_chance_has_no_interval_that_covers_the_panel(tmp_path: Path) -> None:
    evidence = load(tmp_path, rows=["gmp-80", "gmp-90", "str-79.55", "dense"], seeds=(0, 1, 2))
    runs = evidence.runs
    runs.loc[runs["row"].eq("gmp-90") & runs["seed"].eq(2), "top1_pct"] = 10.0
    figure = figures.draw(evidence, "accuracy_over_sparsity")
    (axis,) = reproduced(figure)
    points = [value for line in axis.lines if line.get_gid() == "seeds" for value in line.get_ydata()]
    assert points == pytest.approx(list(evidence.by_seed("gmp-90", "top1_pct").values())) and 10.0 in points
    assert "One seed, where they lie far apart" in texts(figure)
    assert "fewer than" not in texts(figure) and "95 % interval" in texts(figure)


def test_kinds_of_methods_that_were_not_run_have_no_panels(tmp_path: Path) -> None:
    """Beside runs; without any, all that is reported is shown. A kind that nobody reports has no panel for that."""
    ran = load(tmp_path, rows=["dense", "str-90.23", "gmp-90"])
    titles = [axis.get_title() for axis in figures.draw(ran, "accuracy_over_sparsity").axes]
    assert [title.splitlines()[-1] for title in titles] == ["Pruned on a schedule"] * 2
    assert [title.partition(":")[0] for title in titles] == ["Reported", "Reproduced"]
    without = figures.draw(ev.load("resnet50", "smoke", tmp_path / "none"), "accuracy_over_sparsity")
    assert len(without.axes) == 3
    patterns = load(tmp_path / "patterns", "n_of_m")
    figure = figures.draw(patterns, "accuracy_over_sparsity")
    assert [axis.get_title().partition(":")[0] for axis in figure.axes] == ["Reproduced"]
    assert "Reported" not in texts(figure)


def test_reported_and_reproduced_differ_in_more_than_colour(tmp_path: Path) -> None:
    figure = figures.draw(load(tmp_path, rows=["gmp-80", "gmp-90"]), "accuracy_over_macs")
    left, right = figure.axes[:2]
    reported = next(line for line in left.lines if line.get_color() == LOOKS["gmp"].colour)
    reproduced = next(line for line in right.lines if line.get_color() == LOOKS["gmp"].colour)
    assert reported.get_linestyle() != reproduced.get_linestyle()
    assert reported.get_markerfacecolor() == "white"
    assert reproduced.get_markerfacecolor() != "white"
    assert {"Reported", "Reproduced"} <= set(texts(figure).splitlines())


def test_a_method_has_one_colour_and_marker_in_every_figure(tmp_path: Path) -> None:
    """And its name stands beside its line in that colour."""
    shown: dict[str, set[tuple[str, str]]] = {}
    for table in ("resnet50", "family"):
        evidence = load(tmp_path / table, table)
        for name in (name for name in figures.names(evidence) if "_over_" in name and "epochs" not in name):
            for axis in figures.draw(evidence, name).axes:
                markers = {to_hex(line.get_color()): str(line.get_marker()) for line in axis.lines[::-1]}
                for label in end_labels(axis):
                    colour = to_hex(label.get_color())
                    shown.setdefault(label.get_text(), set()).add((colour, markers[colour]))
    assert len(shown) > 15
    names = {one.name: one for one in LOOKS.values()}
    for name, looks in shown.items():
        if name != "Dense":  # a line from edge to edge
            assert looks == {(names[name].colour.lower(), names[name].marker)}, name


def test_a_users_matplotlibrc_changes_nothing(tmp_path: Path) -> None:
    import matplotlib

    evidence = load(tmp_path, rows=["dense"])
    before = figures.save(evidence, "accuracy_over_macs").read_bytes()
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "black", "figure.facecolor": "red"}):
        assert figures.save(evidence, "accuracy_over_macs").read_bytes() == before


def test_figures_of_mobilenet(tmp_path: Path) -> None:
    """A table without curves in the paper: none behind, and no figure of training before there is a run."""
    assert "sparsity_over_epochs" not in figures.names(ev.load("mobilenetv1", "smoke", tmp_path))
    evidence = load(tmp_path, "mobilenetv1", seeds=(0, 1), recorded=True)
    assert list(figures.names(evidence)) == list(tables.load("mobilenetv1").figures)
    for name in ("sparsity_over_epochs", "balance_l1", "balance_over_training"):
        figure = figures.draw(evidence, name)
        is_legible(figure)
        assert "Reported" not in texts(figure)
    assert "median over layers" in texts(figures.draw(evidence, "sparsity_over_epochs"))


def test_rows_of_training_are_named_where_their_lines_end(tmp_path: Path) -> None:
    """All are STR's: shades of its colour, told apart by marker and name."""
    evidence = load(tmp_path, seeds=(0, 1), recorded=True)
    top, bottom = figures.draw(evidence, "sparsity_over_epochs").axes
    rows = [row.id for row in evidence.table.rows if row.method == "str" and row.id in evidence.trained_rows]
    for axis in (top, bottom):
        labels = end_labels(axis)
        assert [label.get_text() for label in labels] == [f"{row} (n = 2)" for row in rows]
        assert len({to_hex(label.get_color()) for label in labels}) == len(rows)
        lines = [line for line in axis.lines if line.get_marker() not in ("None", 6) and len(line.get_xdata())]
        assert len({line.get_marker() for line in lines}) >= min(len(rows), 8)


def decay_from(evidence: Evidence, row: str, seed: int, since: float) -> None:
    """Let the layer of Figure 1 end empty in a run, and weight decay alone move its threshold from an epoch on."""
    assert evidence.plan is not None
    spec, layer = evidence.plan.rows[row].spec, evidence.budgets["layer"].eq(evidence.table.figure_layer)
    factors, history = np.array(decay_factors(spec, spec.weight_decay)), evidence.history
    run = history["row"].eq(row) & history["seed"].eq(seed)
    epochs = history.loc[run, "epoch"].to_numpy()
    u = -4.0 * factors[(epochs * steps_per_epoch(spec)).round().astype(int)] / factors[-1]
    u *= 1.0 + 0.2 * np.maximum(0.0, since - epochs)  # before, something else moved it too
    history.loc[run, "threshold_figure_layer"] = 1.0 / (1.0 + np.exp(-u))
    of_run = evidence.budgets["row"].eq(row) & evidence.budgets["seed"].eq(seed)
    evidence.budgets.loc[of_run & layer, "sparsity_pct"] = 100.0


def test_of_many_rows_that_with_the_most_seeds_stands_for_its_regime(tmp_path: Path) -> None:
    """All 16 rows of STR: five have runs at tier smoke. The regime without any shows its first."""
    evidence = load(tmp_path, seeds=(0, 1))
    rows = [row.id for row in tables.load("resnet50").rows if row.method == "str"]
    assert few_rows(evidence, rows[:7]) == rows[:7]
    assert few_rows(evidence, rows) == ["str-79.55", "str-90.23", "str-95.03", "str-96.11", "str-98.05", "str-98.98"]


def test_what_weight_decay_alone_makes_of_a_threshold_is_dotted(tmp_path: Path) -> None:
    """From where the layer has lost its weights, in the runs in which it has."""
    evidence = load(tmp_path, rows=["str-90.23", "str-95.03"], seeds=(0, 1), recorded=True)
    assert "ends empty" not in texts(figures.draw(evidence, "sparsity_over_epochs"))
    decay_from(evidence, "str-90.23", 1, since=0.5)
    found = {(row, seed): alone_since(evidence, row, seed) for row in ("str-90.23", "str-95.03") for seed in (0, 1)}
    assert found.pop(("str-90.23", 1)) == pytest.approx(0.5)
    assert set(found.values()) == {np.inf}
    figure = figures.draw(evidence, "sparsity_over_epochs")
    dotted = [line for line in figure.axes[1].lines if line.get_gid() == "not learned" and len(line.get_xdata())]
    assert [min(line.get_xdata()) for line in dotted] == [pytest.approx(50.0)]
    said = texts(figure)
    assert "Layer ends empty: weight decay alone moves s" in said
    assert "Range over the layers of str-90.23, empty ones included" in said
    is_legible(figure)


def test_the_axis_of_thresholds_names_the_slope_of_the_runs(tmp_path: Path) -> None:
    """4 at tier smoke, 1 in the paper."""
    bottom = figures.draw(load(tmp_path, rows=["str-90.23"]), "sparsity_over_epochs").axes[1]
    assert bottom.get_ylabel().startswith("Threshold g(4 s), layer1.2.conv2")
    assert bottom.get_ylabel().endswith("g(s) in the paper)")
    alone = figures.draw(ev.load("resnet50", "smoke", tmp_path / "none"), "sparsity_over_epochs").axes[1]
    assert alone.get_ylabel() == "Threshold g(s), layer1.2.conv2\n(log scale)"


def test_every_method_has_a_look_and_none_two_of_a_kind_the_same() -> None:
    assert set(METHODS) <= set(LOOKS)
    drawn = [(look.kind, look.colour, look.marker) for name, look in LOOKS.items() if name in METHODS]
    assert len(set(drawn)) == len(drawn)
    assert look("dnw-str").name == "DNW, STR's budget"
    assert look("mine").name == "mine"
    assert len({look(f"dnw-{budget}").marker for budget in ("uniform", "erk", "str")}) == 3


def test_every_line_of_a_table_has_a_look() -> None:
    assert {row.series for table in tables.names() for row in tables.load(table).rows} <= set(LOOKS)


def test_every_figure_belongs_to_a_table() -> None:
    assert {name for table in tables.names() for name in figures.of_table(tables.load(table))} == set(figures.FIGURES)


@pytest.mark.parametrize("name", ["methods_over_sparsity", "methods_over_macs"])
def test_methods_are_beside_str_in_every_panel(tmp_path: Path, name: str) -> None:
    evidence = load(tmp_path, "family", seeds=(0, 1, 2))
    figure = figures.draw(evidence, name)
    assert "rows missing" not in texts(figure)
    drawn = {evidence.table.row(id).method for id in evidence.trained_rows}
    named = [{text.get_text() for text in end_labels(axis)} for axis in figure.axes]
    assert set().union(*named) == {LOOKS[method].name for method in drawn}
    for axis, names in zip(figure.axes, named, strict=True):
        assert {"STR", "Dense"} <= names
        own = [line for line in axis.lines if line.get_color() == LOOKS["str"].colour]
        assert [len(line.get_xdata()) for line in own] == [5]
        others = [line.get_linewidth() for line in axis.lines if line not in own and line.get_gid() != "front"]
        assert own[0].get_linewidth() > max(others)
        assert [line for line in axis.lines if line.get_gid() == "front"]


def test_the_pareto_front_is_what_no_other_network_beats() -> None:
    frame = pd.DataFrame(
        [(80, 88), (90, 86), (90, 87), (95, 87.5), (99, 70)], columns=["sparsity_pct", "top1_pct"], dtype=float
    )
    best = front(frame, "sparsity_pct")
    assert list(best.itertuples(index=False, name=None)) == [(80, 88), (95, 87.5), (99, 70)]
    best = front(frame.rename(columns={"sparsity_pct": "macs_m"}), "macs_m")
    assert list(best.itertuples(index=False, name=None)) == [(80, 88)]


def test_a_file_keeps_the_colours_of_methods(tmp_path: Path) -> None:
    """Those that readers know a method by; its palette of 256 merges what lies between them."""
    evidence = load(tmp_path)
    data = figures.png(figures.draw(evidence, "accuracy_over_sparsity"))
    pixels = np.unique(np.asarray(Image.open(io.BytesIO(data)).convert("RGB")).reshape(-1, 3), axis=0).astype(int)
    for method in {row.method for row in evidence.table.rows}:
        colour = [int(LOOKS[method].colour[at : at + 2], 16) for at in (1, 3, 5)]
        assert np.abs(pixels - colour).max(axis=1).min() <= 6, method


def test_a_collapsed_network_is_said_at_the_edge(tmp_path: Path) -> None:
    evidence = load(tmp_path, "family")
    evidence.runs.loc[evidence.runs["row"] == "set-99", "top1_pct"] = 10.0
    figure = figures.draw(evidence, "methods_over_sparsity")
    said = [axis for axis in figure.axes if "SET: 10 %" in {text.get_text() for text in axis.texts}]
    assert [axis.get_title() for axis in said] == ["Sparse from the first step"]
    assert figure.axes[0].get_ylim()[0] > 50
    is_legible(figure)


@pytest.mark.parametrize("name", ["methods_over_sparsity", "methods_over_macs"])
def test_several_collapsed_networks_are_told_apart(tmp_path: Path, name: str) -> None:
    evidence = load(tmp_path, "family")
    gone = ["set-80", "set-90", "set-98", "set-99", "snfs-98", "snfs-99", "str-filter-pruning-95"]
    evidence.runs.loc[evidence.runs["row"].isin(gone), "top1_pct"] = 10.0
    figure = figures.draw(evidence, name)
    said = [(axis, text) for axis in figure.axes for text in axis.texts if "10 %" in text.get_text()]
    assert len(said) == len(gone)
    figure.canvas.draw()
    for axis, text in said:  # beside the axis stand the names of the others
        whole, words = axis.get_window_extent(), text.get_window_extent()
        assert whole.x0 <= words.x0 and words.x1 <= whole.x1, text.get_text()
    is_legible(figure)


def test_budgets_stand_beside_each_other_with_what_they_cost(tmp_path: Path) -> None:
    evidence = load(tmp_path, "transfer", seeds=(0, 1))
    reported, reproduced = figures.draw(evidence, "accuracy_by_budget").axes
    assert "94.80 %, 182 M" in {text.get_text() for text in reported.texts}
    assert len(reported.texts) == len(reproduced.texts) == 10
    assert any(text.get_text().startswith("92.37 %") for text in reproduced.texts)  # on the narrow network
    (alone,) = figures.draw(ev.load("transfer", "smoke", tmp_path / "none"), "accuracy_by_budget").axes
    assert len(alone.texts) == 10
    assert [label.get_text() for label in alone.get_yticklabels()][:2] == [
        "DNW, uniform budget, 90 %",
        "DNW, ERK budget, 90 %",
    ]


def test_an_accuracy_on_other_data_is_not_drawn(tmp_path: Path) -> None:
    """Appendix A.5.3 prints one of ResNet18 on CIFAR-10."""
    figure = figures.draw(ev.load("extensions", "smoke", tmp_path), "accuracy_over_sparsity")
    colour = LOOKS["str-weight"].colour
    assert not [line for axis in figure.axes for line in axis.lines if line.get_color() == colour]


def test_unknown_figure(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Did you mean 'layer_budgets'"):
        figures.save(ev.load("resnet50", "smoke", tmp_path), "layer_budget")


def test_what_budgets_cost_stands_beside_each_choice(make_runs: MakeRuns, tmp_path: Path) -> None:
    """A point for each seed of STR's rows, those that table resnet50 holds among them; other methods are told."""
    results.collect("resnet50", "smoke", make_runs(rows=["str-95.03", "gmp-98"], seeds=(0, 1)), tmp_path)
    rows = ["str-slope-8", "gmp-98-decay-0.008"]
    results.collect("resnet50_choices", "smoke", make_runs("resnet50_choices", rows=rows), tmp_path)
    evidence = ev.load("resnet50_choices", "smoke", tmp_path)
    (axis,) = figures.draw(evidence, "macs_by_choice").axes
    assert [label.get_text() for label in axis.get_yticklabels()] == ["STR as in the recipe", "STR, slope 8"]
    assert [text.get_text() for text in axis.texts] == ["95.0 %, 0/0 empty", "95.0 %, 0 empty"]
    points, paper = ([line for line in axis.lines if line.get_marker() == marker] for marker in "os")
    assert [len(line.get_xdata()) for line in points] == [2, 1]
    (layers,) = trained(evidence, "str-slope-8").values()
    assert list(points[1].get_xdata()) == [against_uniform(layers)["ratio"]]
    assert list(paper[1].get_xdata()) == [published_over_uniform(evidence, layers)]


@pytest.mark.parametrize(
    ("epochs", "said"), [([1, 1], "1 epoch"), ([100], "100 epochs"), ([4, 1, 5], "1, 4 or 5 epochs"), ([], "1 epoch")]
)
def test_how_long_runs_took_is_said_once(tmp_path: Path, epochs: list[int], said: str) -> None:
    evidence = load(tmp_path, rows=["dense"])
    assert trained_epochs(replace(evidence, runs=pd.DataFrame({"epochs": epochs}))) == said
