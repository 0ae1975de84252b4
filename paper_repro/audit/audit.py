"""The audit: every printed number that follows from published budgets and the architecture, recomputed and compared.

A number passes when the recomputed value rounds to the printed digits ("rounds"), or would do so with budget cells
that round to the printed ones ("within the rounding of its inputs", see ``recompute``). Where that rounding is
coarser than the printed number itself, the comparison decides nothing: INCONCLUSIVE. In a number printed with "~"
trailing zeros count as no digits: "~600M" passes from 550 to 650. Everything else is FAIL, or ERRATUM where
``results/errata.csv`` states the same recomputed value with the evidence. An erratum that is not needed any more,
states another value, or names nothing that is audited, is a FAIL.

The paper counts in more than one way (``conventions``). A number that the usual way does not give, and another of the
paper's own does, is PASS with that convention named. The backbone is everything but the classifier.

Parameters, sizes and multiply-adds of recurrent networks follow from their ranks. The STR paper prints none: they stand
here without a printed number, UNTESTED, and count as no comparison. What the FastGRNN paper prints of such networks is
held against the same code.

Not audited, because nothing published decides them: accuracies (but for a number printed twice or misquoted), the
FLOPs of rows whose budget is not published (DSR's are held against the quoted source), the SNFS, VD and GS cells of
Table 7, and any sparsity that is only a target. What the audit can see of one budget cell is what the printed totals
show: the cells of the smallest layers it cannot judge, which the checksums of the files guard (``tables.verify``).
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from pydantic import BaseModel

from paper_repro import reading as files
from paper_repro.audit.conventions import OVERALL_COUNTS_POOL, other_readings
from paper_repro.audit.recompute import (
    Estimate,
    Network,
    network,
    network_of,
    params_at,
    under_budget,
    under_erk,
    under_uniform,
)
from paper_repro.audit.sizes import Size, size_of
from paper_repro.errors import UserError
from paper_repro.experiments import loader
from paper_repro.experiments.loader import AVERAGE_POOL, TOTALS
from paper_repro.files import write
from paper_repro.methods.distributions import erk, uniform
from paper_repro.paper.printed import Name, Printed, PrintedRow, QuotedRow, Row
from paper_repro.paper.quantity import Quantity, parse
from paper_repro.verdict import Verdict

UNITS = {
    "top1_pct": "%",
    "sparsity_pct": "%",
    "backbone_sparsity_pct": "%",
    "params_m": "M",
    "macs_m": "M",
    "params": "1",
    "macs": "1",
    "size_kb": "KB",
}

Cells = Mapping[str, dict[str, Quantity]]  # budget name -> layer name, or a total -> printed sparsity in percent


@dataclass(frozen=True)
class Finding:
    """One printed number beside the recomputed one; ``difference`` is recomputed - printed, both in ``unit``.

    NaN where there is nothing to recompute: an erratum that names nothing that is audited. ``printed`` is empty where
    the paper leaves out a number that follows from what it prints. ``convention``: the one that gives the number, where
    it is not the usual one.
    """

    paper_table: str
    row: str
    quantity: str
    unit: str
    printed: str
    recomputed: float
    difference: float
    verdict: Verdict
    note: str
    convention: str = ""


class Erratum(BaseModel):
    """A line of ``results/errata.csv``: a printed number that is wrong, what it should be (in the audit's unit), and
    why we say so.
    """

    table: Name
    row: Name
    quantity: Name
    printed: Name
    recomputed: Printed
    evidence: Name


def read_errata(path: Path) -> dict[tuple[str, str, str], Erratum]:
    """(paper table, row, quantity) -> erratum."""
    rows = files.read_rows(path, Erratum, "table", "row", "quantity", may_be_empty=True)
    return {(row.table, row.row, row.quantity): row for row in rows}


def audit(table: str, errata_path: Path | None = None) -> list[Finding]:
    """Every auditable number of the paper tables that ``table`` stands for, in the order of its TOML file.

    ``errata_path``: the errata to hold mismatches against; None for none. UserError for an unknown table or a
    malformed file.
    """
    own = loader.load(table).audited
    errata = read_errata(errata_path) if errata_path is not None else {}
    findings = []
    for finding in sorted(_compare(table), key=lambda finding: own.index(finding.paper_table)):
        key = (finding.paper_table, finding.row, finding.quantity)
        findings.append(_settle(finding, errata.pop(key, None)))
    audited_elsewhere = {name for other in loader.names() if other != table for name in loader.load(other).audited}
    for erratum in errata.values():
        if erratum.table not in audited_elsewhere:
            note = "stale erratum: it names nothing that is audited"
            unit = UNITS.get(erratum.quantity, "")
            findings.append(
                Finding(
                    erratum.table,
                    erratum.row,
                    erratum.quantity,
                    unit,
                    erratum.printed,
                    math.nan,
                    math.nan,
                    Verdict.FAIL,
                    note,
                )
            )
    return findings


def audit_all(errata_path: Path | None = None) -> list[Finding]:
    """The audit of every table; an erratum that belongs to none is reported once."""
    return list(dict.fromkeys(finding for table in loader.names() for finding in audit(table, errata_path)))


def save(findings: Iterable[Finding], path: Path) -> Path:
    """Write the findings as ``audit.csv``: counts in full, other numbers with four decimals, NaN as an empty cell."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(
        ("table", "row", "quantity", "unit", "printed", "recomputed", "difference", "verdict", "convention", "note")
    )
    for finding in findings:
        decimals = 0 if finding.quantity in ("params", "macs") else 4
        numbers = ("" if math.isnan(x) else f"{x:.{decimals}f}" for x in (finding.recomputed, finding.difference))
        key = (finding.paper_table, finding.row, finding.quantity, finding.unit, finding.printed)
        writer.writerow((*key, *numbers, finding.verdict.value, finding.convention, finding.note))
    write(path, text.getvalue())
    return path


def compare(printed: Quantity, estimate: Estimate) -> tuple[Verdict, str]:
    """Whether a recomputed value is the printed one, and by what reading."""
    excess = printed.excess(estimate.value)
    if excess == 0.0:
        return Verdict.PASS, "rounds" if "~" not in printed.text else "rounds, by the digits that ~ leaves"
    if excess <= estimate.spread:
        within = f"within the rounding of its inputs (+-{estimate.spread:.2g})"
        return (Verdict.PASS if estimate.spread <= printed.half_unit else Verdict.INCONCLUSIVE), within
    return (
        Verdict.FAIL,
        f"does not round to the printed value; the rounding of its inputs leaves +-{estimate.spread:.2g}",
    )


def _settle(finding: Finding, erratum: Erratum | None) -> Finding:
    """The finding, with the erratum on file taken into account."""
    if erratum is None:
        return finding
    stated = parse(erratum.recomputed)
    if finding.verdict is not Verdict.FAIL:
        problem = "stale erratum: the printed number is confirmed"
    elif erratum.printed != finding.printed:
        problem = f"stale erratum: it is about {erratum.printed}, printed is {finding.printed}"
    elif not stated.matches(finding.recomputed):
        problem = f"stale erratum: it states {erratum.recomputed}"
    elif stated.half_unit > parse(finding.printed).half_unit:
        problem = f"erratum too coarse: {erratum.recomputed} has fewer digits than the printed {finding.printed}"
    else:
        return replace(finding, verdict=Verdict.ERRATUM, note=erratum.evidence)
    return replace(finding, verdict=Verdict.FAIL, note=f"{problem} ({finding.note})" if finding.note else problem)


def _finding(
    paper_table: str, row: str, quantity: str, printed: Quantity, estimate: Estimate, unit: str = ""
) -> Finding:
    verdict, how = compare(printed, estimate)
    note = f"{how}; {estimate.note}" if estimate.note else how
    difference = estimate.value - printed.value
    unit = unit or UNITS[quantity.split()[0]]
    return Finding(paper_table, row, quantity, unit, printed.text, estimate.value, difference, verdict, note)


def _compare(table: str) -> Iterator[Finding]:
    """Rows that only name a row of another table are audited there, and rows without numbers nowhere."""
    plan, cells = loader.load(table), loader.budget_cells(table)
    net = network(plan.budgets_of)
    for printed, row in zip(loader.printed_rows(table), plan.rows, strict=True):
        if printed.printed() and row.paper_table in plan.audited:
            yield from _row(row, printed, cells)
    for quoted in loader.quoted_rows(table):
        yield _quoted(net, plan.row(quoted.row), quoted)
    if plan.budgets_of == table and loader.layer_rows(table):
        yield from _layers(table, net)
        yield from _budgets(table, net, cells)
    if loader.hidden_units(table):
        yield from _sizes(table)
    yield from _text(table, net, cells)


def _row(row: Row, printed: PrintedRow, cells: Cells) -> Iterator[Finding]:
    """What follows from the row's budget; and a number that is printed in another table too must be the same there."""
    numbers = printed.printed()
    if "sparsity_pct" in numbers:
        net = network_of(row.model, row.dataset)
        estimates = _estimates(net, printed, cells)
        others = other_readings(net, printed, _dense_params(row))
        for quantity, number in numbers.items():
            if quantity in estimates:
                usual = replace(estimates[quantity], note=row.note)
                yield _by_convention(row, quantity, number, usual, others.get(quantity, {}))
    if row.same_as is not None:
        table, id = row.same_as
        there = loader.load(table).row(id)
        again = Estimate(there.reported.printed["top1_pct"].value, note=f"row {id} of {there.paper_table}")
        yield _finding(row.paper_table, row.id, "top1_pct", numbers["top1_pct"], again)


def _by_convention(
    row: Row, quantity: str, number: Quantity, usual: Estimate, others: Mapping[str, Estimate]
) -> Finding:
    """The number in the usual way, or in the first other one that gives it where the usual one does not."""
    finding = _finding(row.paper_table, row.id, quantity, number, usual)
    for convention, estimate in others.items():
        if finding.verdict is not Verdict.FAIL:
            break
        found = _finding(row.paper_table, row.id, quantity, number, estimate)
        if found.verdict is Verdict.PASS:
            note = f"{found.note}; the usual count gives {usual.value:.5g}"
            finding = replace(found, convention=convention, note=note)
    return finding


def _dense_params(row: Row) -> Quantity | None:
    """The parameters of the dense network of a row as they are printed, in the table that has its budgets."""
    for table in loader.names():
        plan = loader.load(table)
        if (plan.model, plan.dataset, plan.budgets_of) == (row.model, row.dataset, table):
            printed = next((other for other in plan.rows if other.method == "dense"), None)
            return None if printed is None else printed.reported.printed.get("params_m")
    return None


def _budget(cells: Cells, row: PrintedRow) -> dict[str, Quantity]:
    if row.budget not in cells:
        raise UserError(f"row {row.row!r} names the budget {row.budget!r}, which is not one of: {', '.join(cells)}")
    return cells[row.budget]


def _estimates(net: Network, row: PrintedRow, cells: Cells) -> dict[str, Estimate]:
    """What can be recomputed of a row, by how its sparsity is spread over the layers."""
    sparsity = row.printed()["sparsity_pct"]
    keep_dense = row.keep_dense.split()
    pruned = parse(row.pruned_layers_pct) if row.pruned_layers_pct else sparsity
    match row.distribution:
        case "budget":
            return under_budget(net, _budget(cells, row))
        case "nominal":
            return {"params_m": params_at(net, sparsity), "macs_m": under_budget(net, _budget(cells, row))["macs_m"]}
        case "erk":
            return under_erk(net, sparsity)
        case "dense" | "uniform":
            estimates = under_uniform(net, pruned, keep_dense)
            if not keep_dense:
                del estimates["sparsity_pct"]  # it is what the others were computed from
            return estimates
        case _:
            return {"params_m": params_at(net, sparsity)}


def _sizes(table: str) -> Iterator[Finding]:
    """How large every row's network is, and what another paper prints of such networks."""
    plan, hidden = loader.load(table), loader.hidden_units(table)

    def size(data_set: str, ranks: str) -> Size:
        if data_set not in hidden:
            raise UserError(f"nothing says how many hidden units {plan.model} has on {data_set} in table {table}")
        return size_of(plan.model, data_set, hidden[data_set], ranks)

    for row in plan.rows:
        found = size(row.dataset, row.ranks)
        for quantity, value in (("params", found.params), ("size_kb", found.kb), ("macs", found.macs)):
            unit, note = UNITS[quantity], "follows from the ranks; the paper prints none"
            yield Finding(row.paper_table, row.id, quantity, unit, "", value, math.nan, Verdict.UNTESTED, note)
    for line in loader.printed_sizes(table):
        estimate = Estimate(size(line.dataset, line.ranks).kb, note=line.source)
        yield _finding(line.paper_table, line.network, "size_kb", parse(line.size_kb), estimate)


def _quoted(net: Network, row: Row, quoted: QuotedRow) -> Finding:
    """A number held against the paper that it was taken from."""
    source = parse(quoted.value)
    note = f"{quoted.source} has {quoted.value}"
    if quoted.quantity == "macs_ratio":
        dense = net.account.macs / 1e6
        estimate = Estimate(source.value * dense, source.half_unit * dense, f"{note} of the dense FLOPs")
        return _finding(row.paper_table, row.id, "macs_m", row.reported.printed["macs_m"], estimate)
    estimate = Estimate(source.value, source.half_unit, note)
    return _finding(row.paper_table, row.id, quoted.quantity, row.reported.printed[quoted.quantity], estimate)


def _layers(table: str, net: Network) -> Iterator[Finding]:
    """The dense counts of Tables 6 and 8 (Table 7 repeats those of Table 6)."""
    paper_table = _budget_table(table, "str")
    total, backbone = net.account, net.account.backbone()
    pool = net.average_pool if OVERALL_COUNTS_POOL[table] else 0
    counted = "the average pool counts" if pool else "the average pool does not count"
    exact = {layer.name: (Estimate(layer.params), Estimate(layer.macs)) for layer in total.layers}
    exact["overall"] = (Estimate(total.params), Estimate(total.macs + pool, note=counted))
    exact["backbone"] = (Estimate(backbone.params), Estimate(backbone.macs))
    exact[AVERAGE_POOL] = (Estimate(0), Estimate(net.average_pool))
    for layer, row in loader.layer_rows(table).items():
        if layer not in exact:
            raise UserError(f"{paper_table} has a layer {layer!r} that {loader.load(table).model} has not")
        for quantity, printed, estimate in zip(("params", "macs"), (row.params, row.macs), exact[layer], strict=True):
            yield _finding(paper_table, layer, quantity, Quantity(printed, 0.5, str(printed)), estimate)


def _budget_table(table: str, budget: str) -> str:
    if table == "mobilenetv1":
        return "Table 8"
    return "Table 6" if budget.startswith("str") else "Table 7"


def _budgets(table: str, net: Network, budgets: Cells) -> Iterator[Finding]:
    """The totals of Tables 6, 7 and 8, and the cells of the budgets that follow a rule."""
    rules: dict[str, Mapping[str, float]] = {
        "uniform-90": under_rule(net, 90.0),
        "gmp-89.03": under_rule(net, 90.0, "first", "depthwise"),
    }
    rules["erk-90"] = erk(net.layers, 90.0)
    for name, cells in budgets.items():
        paper_table = _budget_table(table, name)
        recomputed = under_budget(net, cells)
        for row, quantity in zip(TOTALS, ("sparsity_pct", "backbone_sparsity_pct"), strict=True):
            yield _finding(paper_table, name, quantity, cells[row], recomputed[quantity])
        for layer, sparsity_pct in rules.get(name, {}).items():
            yield _finding(
                paper_table, name, f"sparsity_pct of {layer}", cells[layer], Estimate(sparsity_pct), unit="%"
            )


def under_rule(net: Network, sparsity_pct: float, *keep_dense: str) -> dict[str, float]:
    """The uniform budget, as layer name -> sparsity in percent."""
    return dict(uniform(net.layers, sparsity_pct, keep_dense))


def _text(table: str, net: Network, cells: Cells) -> Iterator[Finding]:
    for claim in loader.text_claims(table):
        if claim.claim not in TEXT:
            raise UserError(f"the audit does not know how to recompute the text claim {claim.claim!r}")
        estimate = TEXT[claim.claim](net, cells)
        yield _finding(
            loader.load(table).audited[-1],
            claim.claim,
            "number in text",
            parse(claim.printed),
            estimate,
            unit=claim.unit,
        )


def _macs_saved_80(net: Network, cells: Cells) -> Estimate:
    return (
        Estimate(under_uniform(net, parse("80.00"))["macs_m"].value) - under_budget(net, cells["str-79.55"])["macs_m"]
    )


def _macs_saved_80_share(net: Network, cells: Cells) -> Estimate:
    of = under_uniform(net, parse("80.00"))["macs_m"].value / 100.0
    saved = _macs_saved_80(net, cells)
    return Estimate(saved.value / of, saved.spread / of)


def _accuracy_gain_99(net: Network, cells: Cells) -> Estimate:
    rows = [row for row in loader.load("resnet50").rows if row.regime_pct == 99.0]
    best = max((row for row in rows if row.method == "str"), key=lambda row: row.reported.top1_pct or 0.0)
    gmp = next(row for row in rows if row.method == "gmp")
    gain = (best.reported.top1_pct or 0.0) - (gmp.reported.top1_pct or 0.0)
    return Estimate(gain, note=f"between {best.id} and {gmp.id}, which differ in sparsity")


def _mask_compression(net: Network, cells: Cells) -> Estimate:
    """1 over the density of the CIFAR-10 network with thresholds per weight."""
    sparsity = loader.load("extensions").row("str-weight-99.63").reported.printed["sparsity_pct"]
    density = 1.0 - sparsity.value / 100.0
    return Estimate(1.0 / density, sparsity.half_unit / 100.0 / density**2)


def _gmp_mobilenet(net: Network, pruned: str) -> Estimate:
    return Estimate(under_uniform(net, parse(pruned), ("first", "depthwise"))["macs_m"].value)


def _macs_saved_75(net: Network, cells: Cells) -> Estimate:
    printed = loader.load("mobilenetv1").row("str-75.28").reported.printed["macs_m"]
    saved = _gmp_mobilenet(net, "75.00") - Estimate(printed.value, printed.half_unit)
    return replace(saved, note="STR's part as printed: its budget is not published")


def _macs_saved_90_share(net: Network, cells: Cells) -> Estimate:
    gmp = _gmp_mobilenet(net, "90.00")
    saved = gmp - under_budget(net, cells["str-89.01"])["macs_m"]
    return Estimate(100.0 * saved.value / gmp.value, 100.0 * saved.spread / gmp.value)


def _accuracy_of(row: str) -> Estimate:
    """An accuracy of Table 3, which the text prints again."""
    return Estimate(loader.load("rnn").row(row).reported.printed["top1_pct"].value, note=f"row {row} of Table 3")


def _gain_of_learnt_ranks(data_set: str) -> Estimate:
    """The largest lead of STR over vanilla low rank at the same ranks."""
    rows = {
        (row.method, row.ranks): row.reported.printed["top1_pct"]
        for row in loader.load("rnn").rows
        if row.dataset == data_set
    }
    gains = {
        ranks: Estimate(ours.value, ours.half_unit)
        - Estimate(rows["low-rank", ranks].value, rows["low-rank", ranks].half_unit)
        for (method, ranks), ours in rows.items()
        if method == "str-rank"
    }
    ranks = max(gains, key=lambda ranks: gains[ranks].value)
    return replace(gains[ranks], note=f"at ranks {ranks} of Table 3")


TEXT = {
    "macs-saved-80": _macs_saved_80,
    "macs-saved-80-share": _macs_saved_80_share,
    "accuracy-gain-99": _accuracy_gain_99,
    "mask-compression": _mask_compression,
    "macs-saved-75": _macs_saved_75,
    "macs-saved-90-share": _macs_saved_90_share,
    "accuracy-full-rank-google12": lambda net, cells: _accuracy_of("google12-full"),
    "accuracy-full-rank-har2": lambda net, cells: _accuracy_of("har2-full"),
    "accuracy-gain-google12": lambda net, cells: _gain_of_learnt_ranks("google12"),
    "accuracy-gain-har2": lambda net, cells: _gain_of_learnt_ranks("har2"),
}
