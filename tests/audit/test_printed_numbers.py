from __future__ import annotations

import csv
import math
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from paper_repro import tables
from paper_repro.audit import printed_numbers
from paper_repro.audit.comparison import Comparison, compare
from paper_repro.audit.errata import read_errata
from paper_repro.audit.recompute import Estimate, erk, network, spread
from paper_repro.audit.ways import BATCH_NORM, PRUNED, SHARE
from paper_repro.audit.whole_table import audit, save
from paper_repro.errors import UserError
from paper_repro.paper import library
from paper_repro.paper.quantity import parse
from paper_repro.verdict import Verdict
from tests.audit.every_table import audit_all
from tests.tables_copy import Edit

ERRATA = Path(__file__).parents[2] / "results" / "errata.csv"


def failures(table: str, errata: Path = ERRATA) -> list[tuple[str, str, str]]:
    found = [finding for finding in audit(table, errata) if finding.verdict is Verdict.FAIL]
    return [(finding.paper_table, finding.row, finding.quantity) for finding in found]


def one(findings: list[Comparison], row: str, quantity: str, paper_table: str = "Table 1") -> Comparison:
    (found,) = [f for f in findings if (f.paper_table, f.row, f.quantity) == (paper_table, row, quantity)]
    return found


def test_every_table_is_audited_and_nothing_fails() -> None:
    findings = audit_all(ERRATA)
    count = Counter((finding.paper_table, finding.verdict) for finding in findings)
    assert dict(count) == {
        ("Table 1", Verdict.PASS): 91,
        ("Table 1", Verdict.ERRATUM): 11,
        ("Table 1", Verdict.INCONCLUSIVE): 1,
        ("Table 2", Verdict.PASS): 14,
        ("Table 2", Verdict.ERRATUM): 1,
        ("Table 3", Verdict.UNTESTED): 48,  # not printed: nothing is compared
        ("Table 4", Verdict.PASS): 16,
        ("Table 4", Verdict.ERRATUM): 1,
        ("Table 5", Verdict.PASS): 12,
        ("Table 6", Verdict.PASS): 146,
        ("Table 7", Verdict.PASS): 118,
        ("Table 8", Verdict.PASS): 94,
        ("Table 9", Verdict.PASS): 5,
        ("Table 9", Verdict.ERRATUM): 1,
        ("Appendix A.5", Verdict.PASS): 2,
        ("ST-3", Verdict.PASS): 2,
        ("FastGRNN", Verdict.PASS): 3,
        ("FastGRNN", Verdict.ERRATUM): 1,
        ("Text on FastGRNN", Verdict.PASS): 2,
        ("Text on FastGRNN", Verdict.INCONCLUSIVE): 1,
        ("Text on FastGRNN", Verdict.ERRATUM): 1,
        ("Text on ResNet", Verdict.PASS): 1,
        ("Text on ResNet", Verdict.ERRATUM): 2,
        ("Text on MobileNetV1", Verdict.PASS): 2,
        ("AC/DC", Verdict.UNTESTED): 8,  # recomputed, and printed nowhere; so are those of N:M sparsity
        ("SR-STE", Verdict.UNTESTED): 14,
        ("Bi-Mask", Verdict.UNTESTED): 10,
        ("CrAM", Verdict.UNTESTED): 4,
    }
    assert len(read_errata(ERRATA)) == sum(finding.verdict is Verdict.ERRATUM for finding in findings)
    assert len({(f.paper_table, f.row, f.quantity) for f in findings}) == len(findings)


def test_without_errata_every_erratum_is_a_failure() -> None:
    known = {key for key in read_errata(ERRATA) if key[0] in tables.load("resnet50").audited}
    found = {(f.paper_table, f.row, f.quantity) for f in audit("resnet50") if f.verdict is Verdict.FAIL}
    assert found == known


@pytest.mark.parametrize(
    ("row", "quantity", "paper_table", "recomputed", "digits"),
    [
        ("str-81.27", "params_m", "Table 1", 4.776, 3),
        ("str-79.55", "macs_m", "Table 1", 766.54, 2),
        ("dsr-80", "macs_m", "Table 1", 1635.67, 2),
        ("rigl-erk-90", "macs_m", "Table 1", 988.88, 2),
        ("rigl-80", "macs_m", "Table 1", 912.25, 2),
        ("str-gs-89.54", "params_m", "Table 9", 2.667, 3),
        ("macs-saved-80", "number in text", "Text on ResNet", 51.30, 2),
        ("macs-saved-80-share", "number in text", "Text on ResNet", 6.27, 2),
        ("google12-sq", "size_kb", "FastGRNN", 33.3, 1),
        ("accuracy-full-rank-google12", "number in text", "Text on FastGRNN", 92.3, 2),
    ],
)
def test_known_errata(row: str, quantity: str, paper_table: str, recomputed: float, digits: int) -> None:
    table = next(name for name in tables.names() if paper_table in tables.load(name).audited)
    finding = one(audit(table, ERRATA), row, quantity, paper_table)
    assert finding.verdict is Verdict.ERRATUM
    assert round(finding.recomputed, digits) == recomputed
    assert finding.difference == pytest.approx(finding.recomputed - parse(finding.printed).value)


def test_a_sparsity_that_may_be_of_the_pruned_layers_is_not_called_wrong(edit: Edit) -> None:
    """RigL keeps its first layer dense. At 80 % its FLOPs, a rounded ratio, fit neither reading; 0.5G fits both."""
    edit("resnet50_rows.csv", "2.56,90.00,515M", "2.56,90.00,0.5G")
    findings = audit("resnet50")
    for row, overall in (("rigl-80", 79.97), ("rigl-90", 89.97)):
        finding = one(findings, row, "sparsity_pct", "Table 1")
        assert finding.verdict is Verdict.INCONCLUSIVE and round(finding.recomputed, 2) == overall
        assert finding.note == printed_numbers.UNDECIDED


@pytest.mark.parametrize(
    ("row", "quantity", "recomputed"),
    [
        ("dense", "params_m", 25.556032),  # with batch norm
        ("dense", "macs_m", 4089.184256),
        ("str-90.55", "macs_m", 341.449),
        ("dpf-82.6", "sparsity_pct", 82.601),  # batch norm counts, the last layer is dense
        ("dpf-82.6", "params_m", 4.4466),
        ("rigl-90", "macs_m", 515.131),  # the first layer is dense
        ("snfs-90", "macs_m", 1625.93),  # the SNFS column of Table 7
    ],
)
def test_numbers_that_are_confirmed(row: str, quantity: str, recomputed: float) -> None:
    finding = one(audit("resnet50", ERRATA), row, quantity)
    assert finding.verdict is Verdict.PASS
    assert finding.recomputed == pytest.approx(recomputed, rel=1e-4)


@pytest.mark.parametrize(
    ("row", "quantity", "convention", "recomputed", "usual"),
    [
        ("dense", "params_m", "batch norm counts", 25.556032, "25.503"),
        ("dpf-82.6", "sparsity_pct", "batch norm counts", 82.60054, "82.773"),
        ("gmp-80", "params_m", "share of dense", 25.6 * 0.2, "5.1006"),
        ("rigl-erk-96.5", "params_m", "share of dense", 25.6 * 0.035, "0.8926"),
        ("rigl-95", "sparsity_pct", "pruned layers", 95.0, "94.965"),
    ],
)
def test_numbers_that_another_convention_of_the_paper_gives(
    row: str, quantity: str, convention: str, recomputed: float, usual: str
) -> None:
    finding = one(audit("resnet50", ERRATA), row, quantity)
    assert (finding.verdict, finding.convention) == (Verdict.PASS, convention)
    assert finding.recomputed == pytest.approx(recomputed)
    assert finding.note.endswith(f"the usual count gives {usual}")


def test_a_convention_is_one_that_the_paper_uses_in_more_than_one_row() -> None:
    rows: dict[str, set[tuple[str, str]]] = {}
    for finding in audit_all(ERRATA):
        rows.setdefault(finding.convention, set()).add((finding.paper_table, finding.row))
    assert rows.keys() == {"", BATCH_NORM, SHARE, PRUNED}
    assert all(len(found) > 1 for found in rows.values())


def test_an_erratum_about_a_number_that_a_convention_gives_is_stale(tmp_path: Path) -> None:
    errata = with_errata(tmp_path / "errata.csv", 'Table 1,gmp-80,params_m,5.12,5.1006,"no slip"')
    finding = one(audit("resnet50", errata), "gmp-80", "params_m")
    assert (finding.verdict, "stale erratum" in finding.note) == (Verdict.FAIL, True)


def test_dense_counts_come_from_a_real_module() -> None:
    net = network("resnet50", "imagenet1k")
    assert sum(layer.get_parameter("weight").numel() for layer in net.layers.values()) == net.account.params
    assert (net.account.params, net.account.macs, net.batch_norm_params, net.average_pool) == (
        25_502_912,
        4_089_184_256,
        53_120,
        100_352,
    )
    assert (
        network("mobilenet_v1", "imagenet1k").account.params,
        network("mobilenet_v1", "imagenet1k").average_pool,
    ) == (4_209_088, 50_176)


def test_any_changed_cell_of_a_budget_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three points in one layer show in a printed total, but for the 4,096 weights of layer1.0.conv1."""
    cells = library.budget_cells("resnet50")
    layers = [layer for layer in cells["str-90.23"] if layer != "layer1.0.conv1"]
    for layer in layers[::3]:
        cell = cells["str-90.23"][layer]
        spoilt = {**cells["str-90.23"], layer: replace(cell, value=cell.value - 3.0)}
        monkeypatch.setattr(library, "budget_cells", lambda table, spoilt=spoilt: {**cells, "str-90.23": spoilt})
        assert failures("resnet50"), layer


@pytest.mark.parametrize(
    ("file", "old", "new", "failing"),
    [
        # a budget cell, by a few points
        ("resnet50_budgets.csv", "fc,50.65,", "fc,55.65,", ("Table 6", "str-79.55", "sparsity_pct")),
        (
            "resnet50_budgets.csv",
            "\nconv1,51.46,51.40,63.02,59.80",
            "\nconv1,51.46,51.40,63.02,56.80",
            ("Table 1", "str-90.23", "macs_m"),
        ),
        (
            "resnet50_budgets_90.csv",
            "fc,90.00,93,97.1,77.17,73.43",
            "fc,90.00,93,97.1,77.17,79.43",
            ("Table 7", "gs-89.54", "sparsity_pct"),
        ),
        ("resnet50_budgets_90.csv", "fc,90.00,93,", "fc,90.00,92,", ("Table 7", "erk-90", "sparsity_pct of fc")),
        # a printed number
        ("resnet50_budgets.csv", "backbone,82.07", "backbone,82.08", ("Table 6", "str-79.55", "backbone_sparsity_pct")),
        ("resnet50_rows.csv", "74.31,2.49,90.23,343M", "74.31,2.48,90.23,343M", ("Table 1", "str-90.23", "params_m")),
        ("resnet50_rows.csv", "74.31,2.49,90.23,343M", "74.31,2.49,90.23,344M", ("Table 1", "str-90.23", "macs_m")),
        (
            "resnet50_rows.csv",
            "DNW,98,58.20,0.51,98.00,82M",
            "DNW,98,58.20,0.51,98.00,81M",
            ("Table 1", "dnw-98", "macs_m"),
        ),
        ("resnet50_rows.csv", "ResNet-50,0,77.01,25.6", "ResNet-50,0,77.01,25.5", ("Table 1", "gmp-80", "params_m")),
        ("resnet50_rows.csv", "ResNet-50,0,77.01,25.6", "ResNet-50,0,77.01,25.7", ("Table 1", "dense", "params_m")),
        (
            "resnet50_layers.csv",
            "layer1.0.conv2,36864,",
            "layer1.0.conv2,36846,",
            ("Table 6", "layer1.0.conv2", "params"),
        ),
        (
            "resnet50_layers.csv",
            "overall,25502912,4089284608",
            "overall,25502912,4089184256",
            ("Table 6", "overall", "macs"),
        ),
        # and one that only a convention gives
        ("resnet50_rows.csv", "DNW,90,74.00,2.56,", "DNW,90,74.00,2.57,", ("Table 1", "dnw-90", "params_m")),
        ("resnet50_rows.csv", "2.56,90.00,515M", "2.56,90.00,514M", ("Table 1", "rigl-90", "sparsity_pct")),
        ("resnet50_rows.csv", "74.55,4.45,82.60", "74.55,4.45,82.70", ("Table 1", "dpf-82.6", "sparsity_pct")),
        ("transfer_rows.csv", "69.72,1.33,", "69.72,1.34,", ("Table 4", "dnw-str-94.80", "params_m")),
        (
            "transfer_rows.csv",
            "uniform,98,57.90,",
            "uniform,98,57.80,",
            ("Table 5", "gmp-uniform-98", "top1_pct"),
        ),
        ("extensions_rows.csv", "89.54,596M", "89.54,597M", ("Table 9", "str-gs-89.54", "macs_m")),
        (
            "extensions_text_claims.csv",
            "mask-compression,270",
            "mask-compression,280",
            ("Appendix A.5", "mask-compression", "number in text"),
        ),
        ("extensions_rows.csv", "90,41K,99.63", "90,40K,99.63", ("Appendix A.5", "str-weight-99.63", "params_m")),
        ("st3_rows.csv", "0,4089,dense", "0,4090,dense", ("ST-3", "dense", "macs_m")),
        ("st3_rows.csv", "90,76.03,", "90,76.30,", ("ST-3", "st3-90", "top1_pct")),
        ("rnn_networks.csv", "har2,80", "har2,81", ("FastGRNN", "har2-lsq", "size_kb")),
        ("rnn_sizes.csv", "har2,5/40,28", "har2,5/40,27", ("FastGRNN", "har2-sq", "size_kb")),
        (
            "rnn_rows.csv",
            "STR,9/7,95.62",
            "STR,9/7,95.26",
            ("Text on FastGRNN", "accuracy-gain-har2", "number in text"),
        ),
    ],
)
def test_a_changed_number_fails(edit: Edit, file: str, old: str, new: str, failing: tuple[str, str, str]) -> None:
    edit(file, old, new)
    table = file.split("_")[0]
    assert failing in failures(table)


@pytest.mark.parametrize(
    ("old", "new", "failing"),
    [
        ("fc,76.81,90.00", "fc,76.01,90.00", ("Table 8", "str-89.01", "sparsity_pct")),
        ("model.1.0,69.10,0.00", "model.1.0,69.10,10.00", ("Table 8", "gmp-89.03", "sparsity_pct of model.1.0")),
        ("backbone,92.93,", "backbone,92.94,", ("Table 8", "str-89.01", "backbone_sparsity_pct")),
    ],
)
def test_a_changed_cell_of_table_8_fails(edit: Edit, old: str, new: str, failing: tuple[str, str, str]) -> None:
    edit("mobilenetv1_budgets.csv", old, new)
    assert failing in failures("mobilenetv1")


def with_errata(path: Path, *lines: str, without: str = "") -> Path:
    text = ERRATA.read_text(encoding="utf-8")
    kept = [line for line in text.splitlines() if not (without and line.startswith(without))]
    path.write_text("\n".join([*kept, *lines]) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("line", "without", "note"),
    [
        ('Table 1,str-90.23,macs_m,343M,342.60,"not needed"', "", "stale erratum: the printed number is confirmed"),
        (
            'Table 1,str-81.27,params_m,4.47,4.8000,"other value"',
            "Table 1,str-81.27",
            "stale erratum: it states 4.8000",
        ),
        ('Table 1,str-81.27,params_m,4.74,4.7759,"other cell"', "Table 1,str-81.27", "stale erratum: it is about 4.74"),
        ('Table 1,str-81.27,params_m,4.47,4.8,"coarse"', "Table 1,str-81.27", "erratum too coarse"),
        ('Table 1,str-90.32,macs_m,343M,342.60,"no such row"', "", "it names nothing that is audited"),
        ('Table 13,full-rank,top1_pct,92.30,92.60,"not audited"', "", "it names nothing that is audited"),
    ],
)
def test_an_erratum_that_is_none_fails(tmp_path: Path, line: str, without: str, note: str) -> None:
    errata = with_errata(tmp_path / "errata.csv", line, without=without)
    failed = [finding for finding in audit("resnet50", errata) if finding.verdict is Verdict.FAIL]
    assert [finding.row for finding in failed] == [line.split(",")[1]]
    assert note in failed[0].note


def test_an_erratum_that_belongs_to_no_table_is_reported_once_over_all(tmp_path: Path) -> None:
    errata = with_errata(tmp_path / "errata.csv", 'Table 13,full-rank,top1_pct,92.30,92.60,"not audited"')
    (failed,) = [finding for finding in audit_all(errata) if finding.verdict is Verdict.FAIL]
    assert math.isnan(failed.recomputed)
    assert not failures("mobilenetv1")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ("table,row,quantity,printed,recomputed\n", "line 1: column 'evidence' is missing"),
        ('table,row,quantity,printed,recomputed,evidence\nTable 1,a,b,1,"4,776",why\n', "line 2, column 'recomputed'"),
        ("table,row,quantity,printed,recomputed,evidence\nTable 1,a,b,1,2,\n", "line 2, column 'evidence'"),
        ("table,row,quantity,printed,recomputed,evidence\n" + 2 * "Table 1,a,b,1,2,why\n", "already on line 2"),
    ],
)
def test_malformed_errata(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "errata.csv"
    path.write_text(text)
    with pytest.raises(UserError) as error:
        audit("resnet50", path)
    assert str(path) in str(error.value)
    assert said in str(error.value)


def test_missing_errata_and_unknown_table(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="is missing"):
        audit("resnet50", tmp_path / "errata.csv")
    with pytest.raises(UserError, match="Did you mean 'resnet50'"):
        audit("resnet")


def test_saved_audit_is_readable(tmp_path: Path) -> None:
    findings = audit("resnet50", with_errata(tmp_path / "errata.csv", 'Table 13,x,top1_pct,92.30,92.60,"not audited"'))
    path = save(findings, tmp_path / "audit.csv")
    rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    assert len(rows) == len(findings)
    assert rows[0]["recomputed"] == "25.5560"
    assert rows[-1]["recomputed"] == rows[-1]["difference"] == ""
    assert {row["verdict"] for row in rows} == {"PASS", "ERRATUM", "INCONCLUSIVE", "FAIL"}
    assert (
        next(row for row in rows if row["row"] == "overall" and row["quantity"] == "macs")["recomputed"] == "4089284608"
    )


@pytest.mark.parametrize(
    ("printed", "estimate", "verdict"),
    [
        ("766M", Estimate(766.49), Verdict.PASS),
        ("766M", Estimate(766.536, 0.035), Verdict.FAIL),
        ("766M", Estimate(766.53, 0.035), Verdict.PASS),
        ("766M", Estimate(768.0, 3.0), Verdict.INCONCLUSIVE),
        ("~600M", Estimate(551.0), Verdict.PASS),
        ("~600M", Estimate(497.5, 0.5), Verdict.FAIL),
    ],
)
def test_compare(printed: str, estimate: Estimate, verdict: Verdict) -> None:
    assert compare(parse(printed), estimate)[0] is verdict


def test_spread_is_two_standard_deviations_and_at_most_the_sum() -> None:
    assert spread([0.5]) == 0.5
    assert spread([0.005] * 100) == pytest.approx(2 * 0.005 * math.sqrt(100 / 3))
    draws = torch.rand(20_000, 54, generator=torch.Generator().manual_seed(0)) - 0.5
    within = (draws.sum(1).abs() <= spread([0.5] * 54)).double().mean().item()
    assert within == pytest.approx(0.954, abs=0.01)


def test_erk_reproduces_table_7_and_keeps_its_total() -> None:
    net, cells = network("resnet50", "imagenet1k"), library.budget_cells("resnet50")["erk-90"]
    budget = erk(net.layers, 90.0)
    assert all(cells[layer].matches(sparsity_pct) for layer, sparsity_pct in budget.items())
    assert net.account.with_budget(budget).sparsity_pct == pytest.approx(90.0)
    assert [layer for layer, sparsity_pct in budget.items() if sparsity_pct == 0.0] == ["layer1.0.conv1"]


def test_erk_by_hand() -> None:
    """1x1 layers of 4 and 64 weights, scores 6/4 and 18/64; at 50 % the first is dense, the second keeps 30 of 64."""
    layers = nn.ModuleDict({"a": nn.Conv2d(2, 2, 1, bias=False), "b": nn.Conv2d(8, 8, 1, bias=False)})
    assert erk(dict(layers.items()), 50.0) == {"a": 0.0, "b": pytest.approx(100.0 * (1 - 30 / 64))}
