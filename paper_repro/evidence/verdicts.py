"""Reported beside reproduced: one comparison per table row, one verdict per number, and the README's status table.

Sparsity, parameters and MACs of the paper's full-size network are judged by the audit at every tier. A tier that
trains another network on other data shows its accuracy beside the paper's and never compares the two: UNTESTED, as is
a row that the tier does not train. What it can be held to is the recipe's own target sparsity. Tiers ``checkpoint`` and
``paper`` are compared for real; on what data a row was measured, a stand-in included, is said with every number.

An accuracy is that of the network that a run ends with or, for a row that is one of several networks of a run, of the
last one with the row's ranks; never of the epoch that was best on the test set.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from paper_repro import tables
from paper_repro.evidence import evidence as ev
from paper_repro.evidence import results, tolerances
from paper_repro.evidence.evidence import Evidence
from paper_repro.evidence.tolerances import Tolerances
from paper_repro.tables import AUDIT
from paper_repro.verdict import Verdict, worst

QUANTITIES = ("top1_pct", "sparsity_pct", "params_m", "macs_m")
TRAINED_SPARSITY = "trained_sparsity_pct"
UNITS = {"top1_pct": "%", "sparsity_pct": "%", "params_m": "M", "macs_m": "M", TRAINED_SPARSITY: "%"}
DIGITS = {"top1_pct": 2, "sparsity_pct": 2, "params_m": 3, "macs_m": 1, TRAINED_SPARSITY: 2}
_COLUMN = {
    "top1_pct": "top1_pct",
    "sparsity_pct": "sparsity_pct",
    "params_m": "nonzero_params_m",
    "macs_m": "sparse_macs_m",
}

# data sets that are the paper's by name and construction, and not its very examples
OTHER_SAMPLES = {
    "google12": "the authors' sample of Google-12 was never published, this is another, seeded one",
    "har2_rebuilt": "on a reconstruction of the data",
}


@dataclass(frozen=True)
class Judgement:
    """One number: as the paper prints it (or the recipe's target), as reproduced, on what, and how the two compare."""

    quantity: str
    reported: str
    reproduced: float | None
    tier: str
    measured_on: str
    verdict: Verdict
    reason: str
    n: int = 0
    convention: str = ""  # of the paper's, that gives the printed number where the usual one does not
    given: bool = False  # a setting that defines the row: there is nothing to reproduce
    unprinted: bool = False  # measured, and nothing is printed that it could be compared with

    @property
    def judged(self) -> bool:
        """Whether the verdict says anything: it does not about what is only given, or only measured."""
        return not self.given and not self.unprinted

    @property
    def text(self) -> str:
        """The reproduced number for a table cell; a dash where there is none."""
        if self.given:
            return "given"
        return "–" if self.reproduced is None else f"{self.reproduced:.{DIGITS[self.quantity]}f}"


@dataclass(frozen=True)
class Comparison:
    """One row of the table at one tier. ``quantities`` holds what the paper prints, the accuracy measured even where
    none is printed, and the trained sparsity where it has a target. ``verdict``: the worst of what was tested.
    """

    row: str
    label: str
    method: str
    tier: str
    quantities: Mapping[str, Judgement]
    verdict: Verdict
    ranks: str = ""


def compare(table: str, tier: str, results_dir: Path | None = None) -> list[Comparison]:
    """One comparison per row of the table, in its order, from the files under ``results_dir``."""
    return comparisons(ev.load(table, tier, results_dir))


def comparisons(evidence: Evidence, limits: Tolerances | None = None) -> list[Comparison]:
    """``compare`` on evidence that is loaded already."""
    limits = limits or tolerances.load()
    return [_compare_row(evidence, row, limits) for row in evidence.table.rows]


def _compare_row(evidence: Evidence, row: tables.Row, limits: Tolerances) -> Comparison:
    cells = {name: _judge(evidence, row, name, limits) for name in QUANTITIES if name in row.reported.printed}
    if "top1_pct" not in cells and evidence.tier != AUDIT:
        cells = {"top1_pct": _unprinted(evidence, row), **cells}
    trained = _judge_trained_sparsity(evidence, row)
    if trained is not None:
        cells[TRAINED_SPARSITY] = trained
    judged = [cell.verdict for cell in cells.values() if cell.judged]
    # a row that was only measured is not missing
    verdict = worst(judged or [cell.verdict for cell in cells.values() if cell.unprinted])
    return Comparison(row.id, row.label, row.method, evidence.tier, cells, verdict, row.ranks)


def _unprinted(evidence: Evidence, row: tables.Row) -> Judgement:
    """The measured accuracy of a row for which none is printed: shown where there is one."""
    plain: dict[str, Any] = {
        "quantity": "top1_pct",
        "reported": "–",
        "tier": evidence.tier,
        "measured_on": evidence.setting_of(row.id),
    }
    runs, summary = evidence.row_runs(row.id), evidence.summary(row.id, "top1_pct")
    if not len(runs):
        absent = _not_run(evidence, row)
        return Judgement(**plain, reproduced=None, **absent, unprinted=absent["verdict"] is Verdict.UNTESTED)
    if summary is None or runs["status"].ne("finished").any():
        value, n = (None, 0) if summary is None else (summary.mean, summary.n)
        return Judgement(**plain, reproduced=value, n=n, verdict=Verdict.FAIL, reason=_statuses(row, runs))
    reason = "nothing is printed for this row"
    return Judgement(
        **plain, reproduced=summary.mean, n=summary.n, verdict=Verdict.UNTESTED, reason=reason, unprinted=True
    )


def _not_run(evidence: Evidence, row: tables.Row) -> dict[str, Any]:
    if row.id in evidence.trained_rows:
        return {"verdict": Verdict.MISSING, "reason": "not run yet"}
    return {"verdict": Verdict.UNTESTED, "reason": f"tier {evidence.tier} does not train this row"}


def _judge(evidence: Evidence, row: tables.Row, name: str, limits: Tolerances) -> Judgement:
    runs = evidence.row_runs(row.id)
    if name != "top1_pct" and not (evidence.full_scale and len(runs)):
        return _from_audit(evidence, row, name)
    if name == "top1_pct" and not len(runs) and len(evidence.audited(row, name)):
        return _from_audit(evidence, row, name)  # an accuracy that the paper misquotes needs no training to be judged
    reported = row.reported.printed[name].text
    plain: dict[str, Any] = {
        "quantity": name,
        "reported": reported,
        "tier": evidence.tier,
        "measured_on": evidence.setting_of(row.id),
    }
    if evidence.tier == AUDIT:
        return Judgement(
            **plain,
            reproduced=None,
            verdict=Verdict.UNTESTED,
            reason="accuracy cannot be recomputed; it needs a tier that trains",
        )
    if not len(runs):
        return Judgement(**plain, reproduced=None, **_not_run(evidence, row))
    summary = evidence.summary(row.id, _COLUMN[name])
    if summary is None and runs["status"].eq("finished").all():
        reason = "the network is there, and the data to evaluate it on is not"
        return Judgement(**plain, reproduced=None, verdict=Verdict.MISSING, reason=reason)
    if summary is None:
        return Judgement(**plain, reproduced=None, verdict=Verdict.FAIL, reason=_statuses(row, runs))
    found = {**plain, "reproduced": summary.mean, "n": summary.n}
    if runs["status"].ne("finished").any():
        return Judgement(**found, verdict=Verdict.FAIL, reason=_statuses(row, runs))
    if not evidence.full_scale:
        return Judgement(**found, verdict=Verdict.UNTESTED, reason=f"{found['measured_on']}: another data set")
    allowed = _allowed(name, row, evidence, limits)
    difference = summary.mean - row.reported.printed[name].value
    # a tolerance of 0.1 must hold at a difference of 0.1: floats may miss that by a rounding error
    verdict = Verdict.PASS if abs(difference) <= allowed + 1e-9 else Verdict.FAIL
    reason = f"differs by {difference:+.3g}, tolerance {allowed:.3g}{_other_samples(runs)}"
    if verdict == Verdict.FAIL and _is_erratum(evidence, row, name, summary.mean, allowed):
        verdict, reason = Verdict.ERRATUM, f"{reason}; the measured number is the one that the audit recomputes"
    return Judgement(**found, verdict=verdict, reason=reason)


def _is_erratum(evidence: Evidence, row: tables.Row, name: str, measured: float, allowed: float) -> bool:
    """Whether the audit found the printed number wrong, and another one in its place that is the measured one."""
    audit = evidence.audited(row, name)
    wrong = audit[audit["verdict"].eq(str(Verdict.ERRATUM)) & audit["recomputed"].notna()]
    return bool((wrong["recomputed"] - measured).abs().le(allowed).any())


def _allowed(name: str, row: tables.Row, evidence: Evidence, limits: Tolerances) -> float:
    """How far a full-scale measurement may lie from the printed number, in the number's unit."""
    if name == "sparsity_pct" and evidence.plan is not None:
        return evidence.plan.rows[row.id].tolerance_pct
    full = limits.full_scale[evidence.tier]
    relative = {"params_m": full.params_rel, "macs_m": full.macs_rel}
    return relative[name] * row.reported.printed[name].value if name in relative else full.top1_pct


def _from_audit(evidence: Evidence, row: tables.Row, name: str) -> Judgement:
    reported = row.reported.printed[name].text
    plain: dict[str, Any] = {
        "quantity": name,
        "reported": reported,
        "tier": AUDIT,
        "measured_on": "published budget, full-size network",
    }
    found = evidence.audited(row, name)
    if not len(found) and evidence.audits_are_there:
        given = name == "sparsity_pct"
        reason = "a setting that defines the row" if given else "the row's budget is not published"
        if (row.model, row.dataset) != (evidence.table.model, evidence.table.dataset):
            reason = f"{row.model} on {row.dataset}: {reason}"
        return Judgement(**plain, reproduced=None, verdict=Verdict.UNTESTED, reason=reason, given=given)
    if not len(found):
        return Judgement(**plain, reproduced=None, verdict=Verdict.MISSING, reason="no audit.csv: run the audit")
    line = found.iloc[0]
    # an accuracy in the audit is one that another paper prints: it shows a misquotation, and reproduces nothing
    value = None if pd.isna(line["recomputed"]) or name == "top1_pct" else float(line["recomputed"])
    return Judgement(
        **plain,
        reproduced=value,
        verdict=Verdict(line["verdict"]),
        reason=str(line["note"]) if pd.notna(line["note"]) else "",
        convention=str(line["convention"]) if pd.notna(line["convention"]) else "",
    )


def _judge_trained_sparsity(evidence: Evidence, row: tables.Row) -> Judgement | None:
    """The sparsity a run reached against its recipe's target; None where there is neither run nor target."""
    if evidence.plan is None or row.id not in evidence.trained_rows or evidence.full_scale:
        return None
    recipe = evidence.plan.rows[row.id]
    if recipe.target_sparsity_pct is None:
        return None
    target, allowed = recipe.target_sparsity_pct, recipe.tolerance_pct
    plain: dict[str, Any] = {
        "quantity": TRAINED_SPARSITY,
        "reported": f"{target:g} ± {allowed:g} (target)",
        "tier": evidence.tier,
        "measured_on": evidence.setting_of(row.id),
    }
    runs, summary = evidence.row_runs(row.id), evidence.summary(row.id, "sparsity_pct")
    if not len(runs):
        return Judgement(**plain, reproduced=None, verdict=Verdict.MISSING, reason="not run yet")
    value, n = (None, 0) if summary is None else (summary.mean, summary.n)
    if value is None or runs["status"].ne("finished").any():
        return Judgement(**plain, reproduced=value, n=n, verdict=Verdict.FAIL, reason=_statuses(row, runs))
    inside = abs(value - target) <= allowed + 0.005  # as measured, to two decimals
    reason = (
        f"ended at {value:.2f} % instead of {target:g} %, {abs(value - target):.2f} points "
        f"{'sparser' if value > target else 'denser'} (mean of {n} seed{'s' if n > 1 else ''}, allowed {allowed:g})"
    )
    return Judgement(**plain, reproduced=value, n=n, verdict=Verdict.PASS if inside else Verdict.FAIL, reason=reason)


def _statuses(row: tables.Row, runs: pd.DataFrame) -> str:
    bad = runs[runs["status"] != "finished"]
    words = {"not_reached": f"the training never had ranks {row.ranks}"}
    seeds: dict[str, list[str]] = {}
    for seed, status in zip(bad["seed"], bad["status"], strict=True):
        seeds.setdefault(words.get(status, status), []).append(str(seed))
    return "; ".join(f"seed{'s' if len(of) > 1 else ''} {', '.join(of)}: {what}" for what, of in seeds.items())


def _other_samples(runs: pd.DataFrame) -> str:
    notes = [OTHER_SAMPLES[name] for name in runs["dataset"].unique() if name in OTHER_SAMPLES]
    return "".join(f"; {note}" for note in notes)


# -- how many of each ------------------------------------------------------------------------------------------------


def counts(results_dir: Path | None = None) -> pd.DataFrame:
    """One line per table of the paper, kind of number and tier: how many numbers have which verdict. A row that stands
    in several tables counts in the one that holds it.
    """
    lines: list[dict[str, Any]] = []
    for name in tables.names():
        audited = ev.load(name, AUDIT, results_dir)
        printed = audited.audit[audited.audit["printed"].ne("")]
        for title, part in printed.groupby("table"):
            found = Counter(Verdict(verdict) for verdict in part["verdict"])
            lines.append(
                {"paper": str(title), "numbers": "recomputed from published budgets", "tier": AUDIT, **_columns(found)}
            )
        for tier in audited.table.tiers:
            evidence = ev.load(name, tier, results_dir)
            if not len(evidence.runs):
                continue
            own = [row.id for row in evidence.table.rows if not evidence.borrowed(row)]
            compared = [row for row in comparisons(evidence) if row.row in own]
            for quantity, words in (
                ("top1_pct", "accuracy"),
                (TRAINED_SPARSITY, "trained sparsity, against the recipe's target"),
            ):
                cells = [row.quantities[quantity] for row in compared if quantity in row.quantities]
                found = Counter(cell.verdict for cell in cells if cell.tier == tier and cell.judged)
                if found:
                    lines.append(
                        {"paper": audited.table.paper_table, "numbers": words, "tier": tier, **_columns(found)}
                    )
    lines.sort(key=lambda line: results.natural(str(line["paper"])))
    return pd.DataFrame(lines)


def _columns(found: Counter[Verdict]) -> dict[str, int]:
    return {str(verdict): found.get(verdict, 0) for verdict in Verdict}


def status_markdown(results_dir: Path | None = None) -> str:
    """How many numbers of all tables together have which verdict, by kind and tier, as a Markdown table."""
    frame = counts(results_dir)
    if not len(frame):
        return "No results yet.\n"
    summed = frame.groupby(["numbers", "tier"], sort=False)[[str(verdict) for verdict in Verdict]].sum().reset_index()
    lines = [f"| {' | '.join(summed.columns)} |", f"| --- | --- |{' ---: |' * len(Verdict)}"]
    for record in summed.to_dict("records"):
        lines.append("| " + " | ".join("" if value == 0 else str(value) for value in record.values()) + " |")
    return "\n".join(lines) + "\n"
