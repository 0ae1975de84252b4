"""What others publish: transcribed as printed, with how each number came about, and drawn so."""

from __future__ import annotations

import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import ValidationError

from paper_repro import tables
from paper_repro.errors import UserError
from paper_repro.evidence import evidence
from paper_repro.evidence.provenance import repository
from paper_repro.paper.printed import Row
from paper_repro.report import figures, published
from paper_repro.report.figures.published import PANELS
from paper_repro.report.figures.published import published as points
from paper_repro.report.figures.style import N_OF_M
from paper_repro.training.forecast import require_pruning
from paper_repro.workflows.job import Job
from paper_repro.workflows.regress import Question
from tests.tables_copy import Edit, edit

__all__ = ["edit"]
ROW = {"row": "a", "method": "a", "label": "A", "top1_pct": "75.0", "sparsity_pct": "90", "distribution": "unknown",
       "note": "", "source": "a page"}  # fmt: skip


def frontier() -> evidence.Evidence:
    return evidence.load("frontier", tables.AUDIT, repository() / "results")


def test_transcription_against_sums_from_the_sources() -> None:
    """Sums over what each source prints, added up from the sources."""
    sums = {"AC/DC": 666.81, "OptG": 347.15, "RigL": 1899.75, "GraNet": 151.43, "RPG": 445.05, "CrAM": 382.3,
            "SR-STE": 691.396, "Bi-Mask": 378.2, "LATS": 153.88}  # fmt: skip
    rows = [row for row in tables.load("frontier").rows if row.same_as is None]
    for source, expected in sums.items():
        assert sum(row.reported.top1_pct for row in rows if row.paper_table == source) == pytest.approx(expected), (
            source
        )


def test_a_share_of_the_dense_flops_is_one_of_the_network_of_table_6() -> None:
    macs = tables.load("frontier").row("rigl-erk-80-1x").reported.printed["macs_m"]
    assert macs.text == "0.42 of dense" and macs.value == pytest.approx(0.42 * 4089.284608)
    assert macs.half_unit == pytest.approx(0.005 * 4089.284608)


def test_every_row_says_how_it_came_about() -> None:
    lines = {line["Row"]: line for line in published.lines(tables.load("frontier"))}
    assert len(lines) == len(tables.load("frontier").rows)
    assert lines["str-90.23"]["Dense top-1 %"] == "77.01" and lines["rigl-90-5x"]["Dense top-1 %"] == "76.80"
    assert lines["granet-90-2.5x"]["Read in"] == "second-hand: an issue" and lines["granet-90-2.5x"]["Epochs"] == "250"
    assert lines["feather-90"]["Epochs"] == "" and lines["feather-90"]["Schedule"] == "not stated"
    assert lines["lats-dense-other"]["Dense top-1 %"] == "76.78" and lines["lats-dense"]["Dense top-1 %"] == "77.1"


def test_a_dense_network_is_shown_with_what_the_same_place_prints() -> None:
    """A user's dense run is none of the authors' README, nor is the README's one of the tables of a paper."""
    lines = {line["Row"]: line for line in published.lines(tables.load("frontier"))}
    assert lines["sr-ste-dense"]["Dense top-1 %"] == "77.696"
    assert lines["sr-ste-dense"]["Read in"] == "second-hand: an issue"
    assert not any(lines[row]["Dense top-1 %"] for row in ("sr-ste-2of4", "rigl-90-by-others", "gmp-80-1.5x"))
    assert lines["rigl-erk-95"]["Dense top-1 %"] == "" and lines["rigl-erk-95-1x-plain"]["Dense top-1 %"] == "76.80"
    assert lines["cram-2of4"]["Dense top-1 %"] == "77.3" and lines["surgery-80"]["Dense top-1 %"] == "76.15"


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"schedule": "longer"}, "need each other"),
        ({"schedule": "100 epochs", "how_read": "readme"}, "epochs is empty"),
        ({"schedule": "100 epochs", "how_read": "readme", "epochs": 200}, "epochs is 200"),
        ({"schedule": "longer", "how_read": "hearsay"}, "how_read"),
        ({"sparsity_pct": None, "schedule": "longer", "how_read": "readme"}, "a row has both, or none"),
    ],
)
def test_a_row_that_does_not_say_it_is_refused(given: dict[str, object], problem: str) -> None:
    Row.model_validate(ROW)
    with pytest.raises(ValidationError, match=problem):
        Row.model_validate({**ROW, **given})


def test_a_number_changed_by_hand_is_noticed(edit: Edit) -> None:
    edit("frontier_rows.csv", "67.20", "67.30")
    with pytest.raises(UserError, match=r"frontier_rows\.csv"):
        tables.verify()


def test_a_sparsity_counted_over_some_layers_is_drawn_where_it_is_overall() -> None:
    """Of ResNet50's 25,502,912 weights the first layer has 9,408 and the last 2,048,000."""
    frame = points(frontier()).set_index("row")
    pruned = 25_502_912 - 9_408 - 2_048_000
    assert frame.loc["acdc-uniform-90", "sparsity_pct"] == pytest.approx(90.0 * pruned / 25_502_912, abs=1e-3)
    assert frame.loc["acdc-90", "sparsity_pct"] == 90.0 and frame["macs_m"].notna()["acdc-uniform-90"]


def test_n_of_m_is_drawn_apart_at_the_sparsity_of_the_whole_network() -> None:
    """SR-STE keeps the last layer dense, Bi-Mask the first one too, CrAM+ prunes all."""
    frame = points(frontier()).set_index("row")
    for row, dense in (("sr-ste-1of4", 2_048_000), ("bi-mask-1of4", 2_048_000 + 9_408)):
        expected = 75.0 * (25_502_912 - dense) / 25_502_912
        assert frame.loc[row, "sparsity_pct"] == pytest.approx(expected, abs=1e-3)
    assert frame.loc["cram-2of4", "sparsity_pct"] == 50.0
    assert frame.loc["cram-2of4", "macs_m"] == pytest.approx(4_089.184256 / 2)
    n_of_m = frame.index[frame["label"].str.contains(r"\d:\d+")]
    assert len(n_of_m) == 14 and set(frame.index[frame["schedule"].eq(N_OF_M)]) == {*n_of_m, "sr-ste-100-epochs"}
    for row in n_of_m:
        n, m = map(int, re.search(r"(\d+):(\d+)", frame.loc[row, "label"]).groups())
        assert frame.loc[row, "regime_pct"] == 100.0 * (1.0 - n / m) and f"{n}of{m}" in row
    assert set(frame.index[frame["second_hand"] & frame["schedule"].eq(N_OF_M)]) == {
        "sr-ste-100-epochs",
        "sr-ste-2of4-by-others",
    }


def test_a_row_of_n_of_m_names_the_published_one() -> None:
    """Where its recipe has no number on the paper's schedule, and others print one on a longer schedule."""
    published_rows = {row.id: row for row in tables.load("frontier").rows}
    ours = [row for row in tables.load("n_of_m").rows if row.method in ("gmp-nm", "sr-ste")]
    for row in ours:
        there = published_rows.get(row.id)
        assert (there is not None) == row.source.endswith(f"table frontier, row {row.id}"), row.id
        if there is not None:
            assert (there.method, there.label, there.schedule) == (row.method, row.label, "longer")
    assert sum(row.id in published_rows for row in ours) == 2


@pytest.mark.parametrize("name", ["published_over_sparsity", "published_over_macs"])
def test_lengths_of_training_are_apart_and_second_hand_is_open(name: str) -> None:
    body, x = frontier(), {"published_over_sparsity": "sparsity_pct", "published_over_macs": "macs_m"}[name]
    figure = figures.draw(body, name)
    schedules = {title: names for names, title in PANELS.items()}
    assert [axis.get_title() for axis in figure.axes][:2] == list(schedules)[:2]
    frame = points(body).dropna(subset=[x])
    for axis in figure.axes:
        labels = {text.get_text() for text in axis.texts}
        assert "STR" in labels and 2 <= len(labels) <= 8
        shown = frame[(frame["schedule"] == schedules[axis.get_title()]) | frame["series"].eq("str")]
        drawn = {
            (place, accuracy, line.get_markerfacecolor() == "white")
            for line in axis.lines
            for place, accuracy in zip(line.get_xdata(), line.get_ydata(), strict=True)
        }
        assert drawn == set(zip(shown[x], shown["top1_pct"], shown["second_hand"], strict=True))
    longer = {text.get_text() for text in figure.axes[1].texts}
    assert "GMP" in longer and "OptG" not in longer


def test_a_pretrained_start_is_not_shown_with_what_a_source_leaves_open() -> None:
    panels = figures.draw(frontier(), "published_over_sparsity").axes
    names = {axis.get_title(): {text.get_text() for text in axis.texts} for axis in panels}
    assert names["Pretrained start"] == {"STR", "Network surgery"}
    assert {"RPG", "RPG, from scratch", "ProbMask"} <= names["Source does not say (start or length)"]


def test_reevaluations_are_listed_as_unverified_and_trained_at_tier_paper_alone(tmp_path: Path) -> None:
    table = tables.load("reevaluations")
    listed = [row for row in table.rows if row.reported.top1_pct is not None]
    assert {row.reported.top1_pct for row in listed} == {93.73, 73.45, 75.8}
    assert all(row.note.startswith("not verified") and row.is_second_hand for row in listed)
    assert list(table.tiers) == ["paper"] and not {row.id for row in listed} & table.tiers["paper"].rows.keys()
    runs = {row.id: spec for row, spec in table.specs("paper", [0])}
    assert len(runs) == 27 and runs["vgg19-cifar100-98"].dataset == "cifar100"
    assert {runs[f"{net}-cifar10-90"].epochs for net in ("resnet32", "vgg19")} == {300}
    assert runs["resnet50-cifar10-95"].epochs == 160 and runs["resnet50-cifar10-95"].model == "resnet50_cifar"
    assert {spec.schedule for id, spec in runs.items() if id.startswith("resnet50")} == {"drops"}
    shutil.copytree(repository() / "results" / "reevaluations", tmp_path / "reevaluations")
    body = evidence.load("reevaluations", "paper", tmp_path)
    assert len(body.missing_rows) == 27 and not body.complete


@pytest.mark.parametrize("row", ["resnet32-cifar10-plain", "vgg19-cifar10-plain", "resnet32-cifar100-plain"])
def test_str_as_a_source_has_it_aims_at_nothing_and_is_refused_where_it_would_stay_dense(row: str) -> None:
    plan = tables.load("reevaluations").tier("paper").rows[row]
    spec = plan.spec
    assert spec.method_args == {"s_init": -3200.0} and plan.target_sparsity_pct is None
    protocol = (spec.epochs, spec.batch_size, spec.lr, spec.momentum, spec.nesterov, spec.warmup_epochs, spec.schedule)
    assert protocol == (300, 256, 0.1, 0.9, False, 0, "epoch")
    assert (spec.weight_decay, spec.label_smoothing) == (1e-3, 0.0)
    found = require_pruning(spec)
    assert found is not None and 25.0 < found.onset_epoch < 35.0
    with pytest.raises(UserError, match="would stay dense"):
        require_pruning(replace(spec, weight_decay=5e-5))


def test_no_row_that_says_its_regime_may_leave_its_target_out(edit: Edit) -> None:
    asked = 'method_args = { target_sparsity_pct = 90.0, target = "freeze" }'
    edit("reevaluations.toml", f'row = "vgg19-cifar10-90", {asked}', 'row = "vgg19-cifar10-90", weight_decay = 1e-3')
    with pytest.raises(UserError, match="nothing says how sparse 'vgg19-cifar10-90' is to be"):
        tables.load("reevaluations")


def test_regress_says_why_it_cannot_compare_with_these_rows() -> None:
    with pytest.raises(UserError, match=r"table reevaluations at tier paper: .* asked for theirs") as error:
        Question("gmp", Job("reevaluations", tier="paper")).str_runs()
    assert "trains no STR" not in str(error.value)
    with pytest.raises(UserError, match="table transfer at tier smoke: it trains no STR"):
        Question("gmp", Job("transfer")).str_runs()
