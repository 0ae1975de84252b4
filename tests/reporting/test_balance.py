"""The balance of thresholds as the report tells and draws it, on made-up runs."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.optimize import brentq

from paper_repro.errors import UserError
from paper_repro.methods import balance
from paper_repro.reporting import balance_report, figures, results
from paper_repro.reporting import evidence as ev
from paper_repro.reporting.evidence import Evidence
from paper_repro.reporting.provenance import repository
from paper_repro.reporting.report import Report
from tests.reporting.conftest import MakeRuns
from tests.reporting.test_figures import texts

PAGE = repository() / "docs" / "balance.md"


def load(make_runs: MakeRuns, tmp_path: Path, **given: object) -> Evidence:
    results.collect("resnet50", "smoke", make_runs(**given), tmp_path / "results")
    for kind in ("balance", "balance_tests"):
        file = results.path(repository() / "results", "resnet50", "audit", kind)
        (tmp_path / "results" / "resnet50" / file.name).write_bytes(file.read_bytes())
    return ev.load("resnet50", "smoke", tmp_path / "results")


def test_the_page_shows_the_committed_results() -> None:
    assert balance_report.update_page(PAGE, repository() / "results", check=True), (
        "run `python -m paper_repro.reporting.balance_report`"
    )


def test_the_page_follows_the_results(tmp_path: Path) -> None:
    page = tmp_path / "balance.md"
    page.write_bytes(PAGE.read_bytes())
    assert not balance_report.update_page(page, tmp_path / "none", check=True)
    assert not balance_report.update_page(page, tmp_path / "none")
    assert balance_report.update_page(page, tmp_path / "none")
    text = page.read_text(encoding="utf-8")
    for said in ("The audit has not been written", "No committed run has recorded", "No run with learnt ranks"):
        assert said in text
    page.write_text("nothing", encoding="utf-8")
    with pytest.raises(UserError, match="paper, generated from results: begin"):
        balance_report.update_page(page, tmp_path / "none")


def test_numbers_about_ranks_that_the_page_works_out_follow_from_the_law() -> None:
    """|ln t| / t = slope^2 r m: "a third", "more than two thirds", "from 0.7 to 0.3" of an importance m."""

    def share(ranks: int, importance: float, slope: float = 1.0) -> float:
        l1 = ranks * importance
        return brentq(lambda t: -math.log(t) / t - slope**2 * l1, 1e-9, 1.0) / importance

    assert share(40, 0.4) == pytest.approx(1 / 3, abs=0.02)
    assert share(8, 0.45) > 2 / 3
    assert (round(share(8, 0.45), 1), round(share(8, 0.45, slope=2.0), 1)) == (0.7, 0.3)
    assert round(share(40, 0.4), 1) == 0.3


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
    assert "Balanced at their end (median ratio within a factor 1.5 of 1): `str-90.23`." in text
    assert "Above: `str-95.03`" in text and "Below" not in text
    assert "dense" not in text


def test_the_fall_of_l1_is_per_unit_of_pull(make_runs: MakeRuns, tmp_path: Path) -> None:
    """A norm that falls as decay alone would make it has a fall of 1; one at rest has 0."""
    found = load(make_runs, tmp_path, rows=["str-90.23"], recorded=True)
    plan, history = found.plan, found.history
    assert plan is not None
    steps = history["epoch"] * (60_000 // plan.batch_size)
    pull = plan.rows["str-90.23"].weight_decay * 0.1 * steps / (1 - plan.momentum)  # the made-up learning rate is 0.1
    for shape, wanted in ((np.exp(-pull), 1.0), (np.full(len(pull), 7.0), 0.0)):
        history["kept_l1"] = np.asarray(shape)
        assert balance_report._fall(found, "str-90.23") == pytest.approx(wanted, abs=1e-6)


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
    figure = figures.FIGURES["balance_l1"](found)
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
    figure = figures.FIGURES["balance_over_training"](found)
    (axis,) = figure.axes
    (line,) = (line for line in axis.lines if len(line.get_xdata()) > 30)
    assert np.allclose(line.get_ydata()[-1], 0.975 * 27.5, rtol=1e-4)
    (onset,) = (line for line in axis.lines if line.get_marker() == 6)
    assert list(onset.get_xdata()) == [25.0]
    assert "within a factor 1.5" in texts(figure).lower()


def test_ranks_beyond_their_importances_are_counted_apart(tmp_path: Path) -> None:
    """8 ranks: |ln t| / t = 3.4 at t = 0.33 is 0.43 per rank and possible; 9 ranks at t = 0.02 imply 22 per rank."""
    root = tmp_path / "results"
    lines = [
        {"row": "har2-str-9-8", "seed": 0, "layer": name, "params": 80, "macs": 80, "sparsity_pct": 0.0, "threshold": t}
        for name, t in (("w.down", 0.02), ("w.up", math.nan), ("u.down", 0.33), ("u.up", math.nan))
    ]
    frame = pd.DataFrame(lines).assign(kept_l1=math.nan, balance=math.nan)
    results.write(frame, results.path(root, "rnn", "smoke", "budgets"), "budgets")
    committed = results.read(results.path(repository() / "results", "rnn", "smoke"))
    results.write(committed[committed["row"] == "har2-str-9-8"], results.path(root, "rnn", "smoke"))
    text = balance_report.ranks_markdown(root)
    assert "| smoke | 9/8 | 1 | 0.020 | 21.73 | 0.330 | 0.42 |" in text
    assert "U can be at balance in 1 of 1 networks, where its threshold implies 0.42 per rank, at 8 to 8 ranks." in text
    assert "W can be at balance in 0 of 1 networks; in the other 1 it implies 21.7." in text
