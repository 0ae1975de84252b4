"""The balance of thresholds as the report tells and draws it, on made-up runs."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import brentq

from paper_repro import tables
from paper_repro.evidence import evidence as ev
from paper_repro.evidence import results
from paper_repro.evidence.evidence import Evidence
from paper_repro.evidence.provenance import repository
from paper_repro.methods import balance
from paper_repro.report import balance_report, figures
from paper_repro.report.report import Report
from tests import made_up
from tests.made_up import MakeRuns
from tests.report.test_figures import texts


def load(make_runs: MakeRuns, tmp_path: Path, **given: object) -> Evidence:
    results.collect("resnet50", "smoke", make_runs(**given), tmp_path / "results")
    for kind in ("balance", "balance_tests"):
        file = results.path(repository() / "results", "resnet50", "audit", kind)
        (tmp_path / "results" / "resnet50" / file.name).write_bytes(file.read_bytes())
    return ev.load("resnet50", "smoke", tmp_path / "results")


@pytest.mark.parametrize(
    ("ranks", "importance", "slope", "threshold"),
    [(40, 0.4, 1.0, "0.13"), (10, 0.5, 1.0, "0.26"), (10, 0.5, 0.8, "0.34"), (10, 0.5, 2.0, "0.11")],
)
def test_thresholds_that_the_page_works_out_follow_from_the_law(
    ranks: int, importance: float, slope: float, threshold: str
) -> None:
    """|ln t| / t = slope^2 r m."""
    found = brentq(lambda t: -math.log(t) / t - slope**2 * ranks * importance, 1e-9, 1.0)
    assert found == pytest.approx(float(threshold), abs=0.006)
    assert threshold in (repository() / "docs" / "balance.md").read_text(encoding="utf-8")


def test_what_needs_no_torch_here_is_what_the_methods_have() -> None:
    assert balance_report.NEAR == balance.NEAR
    assert balance_report.implied_importances(0.3) == pytest.approx(balance.implied_l1(0.3, "exp"))


def test_runs_are_sorted_by_where_their_median_ratio_lies(make_runs: MakeRuns, tmp_path: Path) -> None:
    found = load(make_runs, tmp_path, rows=["dense", "str-90.23", "str-95.03"], seeds=(0, 1), recorded=True)
    budgets = found.budgets
    second = budgets["row"] == "str-95.03"
    budgets.loc[second, "balance"] *= 4.0
    first = second & (budgets["layer"] == "conv1")
    budgets.loc[first, ["kept_l1", "balance"]] = 0.0
    text = balance_report.runs_markdown(found)
    (line,) = (line for line in text.splitlines() if line.startswith("| `str-90.23`"))
    cells = [cell.strip() for cell in line.split("|")][1:-1]
    assert cells[1:5] == ["2", "1.27 (1 to 1.53)", "102 of 108", "0 of 108"]
    assert "| 2 of 108 |" in text  # the dead layer of both seeds
    assert "The median ratio is within a factor 1.5 of 1 in: `str-90.23`; in these rows, 102 of 108 " in text
    assert "102 of 108 single layers are within that factor, too." in text
    assert "At rest: none." in text
    assert "Above: `str-95.03`" in text and "Below" not in text
    assert "dense" not in text


def test_a_stage_has_the_median_of_its_layers_and_the_empty_ones_apart(make_runs: MakeRuns, tmp_path: Path) -> None:
    """Made-up layer i has ratio 1 + i / 100; the classifier is the 54th."""
    assert balance_report.stages_markdown(tmp_path) == "Not run yet.\n"
    results.collect("resnet50", "smoke", make_runs(rows=["str-90.23"], recorded=True), tmp_path)
    (line,) = balance_report.stages_markdown(tmp_path).splitlines()[2:]
    cells = line.strip("| ").split(" | ")
    assert (cells[0], cells[1], cells[2], cells[-1]) == ("smoke", "`str-90.23`", "1.00", "1.53")
    file = results.path(tmp_path, "resnet50", "smoke", "budgets")
    budgets = results.read(file, "budgets")
    of_stem = budgets["layer"].isin(["conv1", "layer1.0.conv1"])
    budgets.loc[of_stem, ["sparsity_pct", "kept_l1", "balance"]] = 100.0, 0.0, 0.0
    results.write(budgets, file, "budgets")
    (line,) = balance_report.stages_markdown(tmp_path).splitlines()[2:]
    _, _, stem, first, *_ = line.strip("| ").split(" | ")
    assert stem == "– (1 of 1 empty)" and first.endswith(" (1 of 10 empty)")


def test_slopes_of_runs_stand_beside_what_they_were_estimated_from(make_runs: MakeRuns, tmp_path: Path) -> None:
    """A layer whose ratio is 4 would be balanced at half the slope of its run; an empty one at none."""
    assert balance_report.slopes_markdown(tmp_path) == "No slope has been estimated.\n"
    header = "table,tier,weights,layers,lower_quartile,median,upper_quartile"
    (tmp_path / "slopes.csv").write_text(f"{header}\nresnet50,smoke,dense training,54,7.00,7.00,7.00\n")
    results.collect("resnet50", "smoke", make_runs(rows=["str-90.23"], seeds=(0, 1), recorded=True), tmp_path)
    file = results.path(tmp_path, "resnet50", "smoke", "budgets")
    budgets = results.read(file, "budgets")
    budgets["balance"] = 4.0
    budgets.loc[budgets["layer"] == "conv1", ["kept_l1", "balance"]] = 0.0
    results.write(budgets, file, "budgets")
    half = f"{tables.load('resnet50').tier('smoke').rows['str-90.23'].spec.method_args['slope'] / 2:.2f}"
    assert balance_report.slopes_markdown(tmp_path).splitlines()[2:] == [
        "| resnet50 | smoke | dense training | 54 | 7.00 | 7.00 | 7.00 |",
        f"| resnet50 | smoke | `str-90.23` | 106 | {half} | {half} | {half} |",
    ]


@pytest.mark.parametrize(("table", "row"), [("resnet50", "str-90.23"), ("resnet50_choices", "str-5-epochs-of-128")])
def test_the_fall_of_l1_is_per_unit_of_pull(tmp_path: Path, table: str, row: str) -> None:
    """A norm that falls as decay alone would make it has a fall of 1; one at rest has 0. Steps are the row's own."""
    found = made_up.load(tmp_path, table, rows=[row], recorded=True)
    assert found.plan is not None
    spec, history = found.plan.rows[row].spec, found.history
    steps = history["epoch"] * math.ceil(60_000 / spec.batch_size)
    pull = spec.weight_decay * 0.1 * steps / (1 - spec.momentum)  # the made-up learning rate is 0.1
    for shape, wanted in ((np.exp(-pull), 1.0), (np.full(len(pull), 7.0), 0.0)):
        history["kept_l1"] = np.asarray(shape)
        assert balance_report._fall(found, row) == pytest.approx(wanted, abs=1e-6)


def test_without_recorded_runs_the_report_and_the_figures_say_so(make_runs: MakeRuns, tmp_path: Path) -> None:
    found = load(make_runs, tmp_path, rows=["dense", "str-90.23"])
    assert "No run of this tier has recorded" in balance_report.runs_markdown(found)
    assert "balance_l1" in figures.names(found)  # the paper's points
    assert "balance_over_training" not in figures.names(found)
    assert "Nothing to draw" in str(Report(found).figure("balance_over_training").data)
    bare = ev.load("mobilenetv1", "smoke", tmp_path / "none")
    assert not {"balance_l1", "balance_over_training"} & set(figures.names(bare))


def test_the_notebook_tells_the_papers_data_and_the_runs(make_runs: MakeRuns, tmp_path: Path) -> None:
    text = str(Report(load(make_runs, tmp_path, rows=["str-90.23"], recorded=True)).balance().data)
    assert "no claim of the paper" in text
    assert "correlation of the logarithms 0.984 over 54 layers" in text
    assert "| `str-90.23` |" in text


def test_every_recorded_layer_is_drawn_with_the_papers_beside_it(make_runs: MakeRuns, tmp_path: Path) -> None:
    found = load(make_runs, tmp_path, rows=["str-90.23"], seeds=(0, 1), recorded=True)
    figure = figures.draw(found, "balance_l1")
    (axis,) = figure.axes
    points = {line.get_marker(): line for line in axis.lines if line.get_linestyle() == "None"}
    assert len(points["s"].get_xdata()) == 54 and points["s"].get_markerfacecolor() == "white"
    layers = balance_report.recorded(found)
    own = layers[layers["seed"] == 0]
    assert list(points["o"].get_ydata()) == list(own["kept_l1"])
    assert list(points["_"].get_ydata()) == list(own["implied_l1"])
    assert own["implied_l1"].iloc[10] == pytest.approx(own["kept_l1"].iloc[10] / 1.1)
    assert "Implied by the paper's Figure 3 and Table 6 (54 layers" in texts(figure)


def test_the_ratio_over_training_has_its_range_and_the_onset(make_runs: MakeRuns, tmp_path: Path) -> None:
    found = load(make_runs, tmp_path, rows=["str-90.23"], recorded=True)
    figure = figures.draw(found, "balance_over_training")
    (axis,) = figure.axes
    (line,) = (line for line in axis.lines if len(line.get_xdata()) > 30)
    assert np.allclose(line.get_ydata()[-1], 0.975 * 27.5, rtol=1e-4)
    (onset,) = (line for line in axis.lines if line.get_marker() == 6)
    assert list(onset.get_xdata()) == [25.0]
    assert "within a factor 1.5" in texts(figure).lower()


def test_ranks_are_told_from_the_first_that_is_lost(tmp_path: Path) -> None:
    """9 + 8 ranks with both thresholds at 0.3 imply 2 |ln 0.3| / 0.3 / 17 = 0.47 per rank; before a rank is lost, and
    in a run that recorded nothing, no ratio counts.
    """
    root = tmp_path / "results"
    runs = results.read(results.path(repository() / "results", "rnn", "paper"))
    committed = runs[runs["method"] == "str-rank"].iloc[[0]]
    name = str(committed["row"].iloc[0])
    lines = pd.DataFrame(
        {"row": name, "seed": 0, "epoch": [75.0, 150.0, 225.0, 300.0], "threshold_min": [1e-4, 0.1, 0.2, 0.3]}
    ).reindex(columns=results.empty("history").columns)
    lines = lines.assign(threshold_max=lines["threshold_min"], sparsity_pct=0.0, lr=0.01)
    lines["kept_l1"] = [60.0, 40.0, 20.0, 8.5]
    lines["balance_min"], lines["balance_max"] = [0.0, 0.9, 0.9, 0.9], [0.1, 1.1, 1.1, 1.1]
    epochs = pd.DataFrame(
        {"row": name, "seed": 0, "epoch": [75, 150, 225, 300], "val_top1_pct": 90.0, "rank_w": 9, "kept": "no"}
    ).assign(rank_u=[80, 40, 20, 8])[list(results.empty("epochs").columns)]
    for kind, frame in (("runs", committed), ("history", lines), ("epochs", epochs)):
        results.write(frame, results.path(root, "rnn", "paper", kind), kind)
    text = balance_report.ranks_markdown(root)
    assert "| 100 % | 9/8 | 0.300, 0.300 | 0.47 | 0.50 | 0.90, 1.10 |" in text
    assert "(3 records of 1 training), while ranks fell from 49 to 17, the two ratios had a median of 1.00" in text
    results.write(
        lines.assign(kept_l1=math.nan, balance_min=math.nan, balance_max=math.nan),
        results.path(root, "rnn", "paper", "history"),
        "history",
    )
    text = balance_report.ranks_markdown(root)
    assert "| 100 % | 9/8 | 0.300, 0.300 | 0.47 | – | – |" in text
    assert "No training recorded the balance" in text
