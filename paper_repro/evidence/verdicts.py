"""Reported beside reproduced: one comparison per table row, one verdict per number, and the README's status table.

Sparsity, parameters and MACs of the paper's full-size network are judged by the audit at every tier. A tier that
trains another network on other data shows its accuracy beside the paper's and never compares the two: UNTESTED, as is
a row that the tier does not train. What it can be held to is the recipe's own target sparsity. Tiers ``checkpoint`` and
``paper`` are compared for real; on what data a row was measured, a stand-in included, is said with every number.

An accuracy is that of the network that a run ends with or, for a row that is one of several networks of a run, of the
last one with the row's ranks; never of the epoch that was best on the test set.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from paper_repro import tables
from paper_repro.evidence import evidence as ev
from paper_repro.evidence import results, tolerances
from paper_repro.evidence.evidence import Evidence
from paper_repro.tables import AUDIT
from paper_repro.verdict import Verdict, worst

QUANTITIES = ("top1_pct", "sparsity_pct", "params_m", "macs_m")
TRAINED_SPARSITY = "trained_sparsity_pct"
DIGITS = {"top1_pct": 2, "sparsity_pct": 2, "params_m": 3, "macs_m": 1, TRAINED_SPARSITY: 2}
COLUMN_OF_RUNS = {"params_m": "nonzero_params_m", "macs_m": "sparse_macs_m", TRAINED_SPARSITY: "sparsity_pct"}

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


def comparisons(evidence: Evidence) -> list[Comparison]:
    """One comparison per row of the table, in its order."""
    return [_compare_row(evidence, row) for row in evidence.table.rows]


def of_accuracies(evidence: Evidence) -> list[Verdict]:
    """The verdicts of this tier on the printed accuracies."""
    cells = [row.quantities.get("top1_pct") for row in comparisons(evidence)]
    return [cell.verdict for cell in cells if cell and cell.judged and cell.tier == evidence.tier]


def _compare_row(evidence: Evidence, row: tables.Row) -> Comparison:
    cells = {name: _judge(evidence, row, name) for name in QUANTITIES if name in row.reported.printed}
    if "top1_pct" not in cells and evidence.tier != AUDIT:
        cells = {"top1_pct": _unprinted(evidence, row), **cells}
    trained = _judge_trained_sparsity(evidence, row)
    if trained is not None:
        cells[TRAINED_SPARSITY] = trained
    judged = [cell.verdict for cell in cells.values() if cell.judged]
    # a row that was only measured is not missing
    verdict = worst(judged or [cell.verdict for cell in cells.values() if cell.unprinted])
    return Comparison(row.id, row.label, row.method, evidence.tier, cells, verdict, row.ranks)


def _judge(evidence: Evidence, row: tables.Row, name: str) -> Judgement:
    """A printed number, from the runs or, where they are of another network than the paper's, from the audit."""
    runs, printed = evidence.row_runs(row.id), row.reported.printed[name]
    if name != "top1_pct" and not (evidence.full_scale and len(runs)):
        return _from_audit(evidence, row, name)
    if name == "top1_pct" and not len(runs) and len(evidence.audited(row, name)):
        return _from_audit(evidence, row, name)  # an accuracy that the paper misquotes needs no training to be judged
    if evidence.tier == AUDIT:
        reason = "accuracy cannot be recomputed; it needs a tier that trains"
        where = evidence.setting_of(row.id)
        return Judgement(name, printed.text, None, AUDIT, where, Verdict.UNTESTED, reason)

    def against_printed(mean: float, _n: int) -> tuple[Verdict, str]:
        if not evidence.full_scale:
            printed_wrong = _from_audit(evidence, row, name)
            if printed_wrong.verdict is Verdict.ERRATUM:
                return Verdict.ERRATUM, printed_wrong.reason
            return Verdict.UNTESTED, f"{evidence.setting_of(row.id)}: another data set"
        allowed, difference = _allowed(name, row, evidence), mean - printed.value
        samples = [OTHER_SAMPLES[name] for name in runs["dataset"].unique() if name in OTHER_SAMPLES]
        reason = "; ".join([f"differs by {difference:+.3g}, tolerance {allowed:.3g}", *samples])
        # a tolerance of 0.1 must hold at a difference of 0.1: floats may miss that by a rounding error
        if abs(difference) <= allowed + 1e-9:
            return Verdict.PASS, reason
        if _is_erratum(evidence, row, name, mean, allowed):
            return Verdict.ERRATUM, f"{reason}; the measured number is the one that the audit recomputes"
        return Verdict.FAIL, reason

    return _measured(evidence, row, name, printed.text, against_printed)


def _unprinted(evidence: Evidence, row: tables.Row) -> Judgement:
    """The measured accuracy of a row for which none is printed: shown where there is one."""
    shown = (Verdict.UNTESTED, "nothing is printed for this row")
    measured = _measured(evidence, row, "top1_pct", "–", lambda _mean, _n: shown)
    return replace(measured, unprinted=measured.verdict is Verdict.UNTESTED)


def _judge_trained_sparsity(evidence: Evidence, row: tables.Row) -> Judgement | None:
    """The sparsity a run reached against its recipe's target; None where there is neither run nor target."""
    if evidence.plan is None or row.id not in evidence.trained_rows or evidence.full_scale:
        return None
    recipe = evidence.plan.rows[row.id]
    if recipe.target_sparsity_pct is None:
        return None
    target, allowed = recipe.target_sparsity_pct, recipe.tolerance_pct

    def against_target(mean: float, n: int) -> tuple[Verdict, str]:
        inside = abs(mean - target) <= allowed + 0.005  # as measured, to two decimals
        return Verdict.PASS if inside else Verdict.FAIL, (
            f"ended at {mean:.2f} % instead of {target:g} %, {abs(mean - target):.2f} points "
            f"{'sparser' if mean > target else 'denser'} (mean of {n} seed{'s' if n > 1 else ''}, allowed {allowed:g})"
        )

    return _measured(evidence, row, TRAINED_SPARSITY, f"{target:g} ± {allowed:g} (target)", against_target)


def _measured(
    evidence: Evidence,
    row: tables.Row,
    name: str,
    reported: str,
    against_reported: Callable[[float, int], tuple[Verdict, str]],
) -> Judgement:
    """A number that runs measured. ``against_reported`` judges the mean over so many seeds; what there is of runs that
    are missing, or did not end well, is not for it to judge. That a training never had the row's ranks contradicts a
    printed accuracy at full scale, and is elsewhere a result like any other.
    """
    runs, summary = evidence.row_runs(row.id), evidence.summary(row.id, COLUMN_OF_RUNS.get(name, name))
    if not len(runs) and row.id in evidence.trained_rows:
        verdict, reason = Verdict.MISSING, "not run yet"
    elif not len(runs):
        verdict, reason = Verdict.UNTESTED, f"tier {evidence.tier} does not train this row"
    elif runs["status"].ne("finished").any():
        without_ranks = runs["status"].isin(["finished", "not_reached"]).all()
        compared = evidence.full_scale and name in row.reported.printed
        verdict = Verdict.UNTESTED if without_ranks and not compared else Verdict.FAIL
        reason = _statuses(row, runs)
    elif summary is None:
        verdict, reason = Verdict.MISSING, "the network is there, and the data to evaluate it on is not"
    else:
        verdict, reason = against_reported(summary.mean, summary.n)
    mean, n = (None, 0) if summary is None else (summary.mean, summary.n)
    return Judgement(name, reported, mean, evidence.tier, evidence.setting_of(row.id), verdict, reason, n)


def _is_erratum(evidence: Evidence, row: tables.Row, name: str, measured: float, allowed: float) -> bool:
    """Whether the audit found the printed number wrong, and another one in its place that is the measured one."""
    audit = evidence.audited(row, name)
    wrong = audit[audit["verdict"].eq(str(Verdict.ERRATUM)) & audit["recomputed"].notna()]
    return bool((wrong["recomputed"] - measured).abs().le(allowed).any())


def _allowed(name: str, row: tables.Row, evidence: Evidence) -> float:
    """How far a full-scale measurement may lie from the printed number, in the number's unit."""
    if name == "sparsity_pct" and evidence.plan is not None:
        return evidence.plan.rows[row.id].tolerance_pct
    full = tolerances.load().full_scale[evidence.tier]
    relative = {"params_m": full.params_rel, "macs_m": full.macs_rel}
    return relative[name] * row.reported.printed[name].value if name in relative else full.top1_pct


def _from_audit(evidence: Evidence, row: tables.Row, name: str) -> Judgement:
    untested = Judgement(
        name, row.reported.printed[name].text, None, AUDIT, "published budget, full-size network", Verdict.UNTESTED, ""
    )
    if not len(evidence.audit) and not len(evidence.audit_elsewhere):
        return replace(untested, verdict=Verdict.MISSING, reason="no audit.csv: run the audit")
    audited = evidence.audited(row, name)
    if not len(audited):
        given = name == "sparsity_pct"
        reason = "a setting that defines the row" if given else "the row's budget is not published"
        if (row.model, row.dataset) != (evidence.table.model, evidence.table.dataset):
            reason = f"{row.model} on {row.dataset}: {reason}"
        return replace(untested, reason=reason, given=given)
    line = audited.fillna({"note": "", "convention": ""}).iloc[0]
    # an accuracy in the audit is one that another paper prints: it shows a misquotation, and reproduces nothing
    value = None if pd.isna(line["recomputed"]) or name == "top1_pct" else float(line["recomputed"])
    verdict, reason, convention = Verdict(line["verdict"]), str(line["note"]), str(line["convention"])
    return replace(untested, reproduced=value, verdict=verdict, reason=reason, convention=convention)


def _statuses(row: tables.Row, runs: pd.DataFrame) -> str:
    bad = runs[runs["status"] != "finished"]
    words = {"not_reached": f"the training never had ranks {row.ranks}"}
    seeds: dict[str, list[str]] = {}
    for seed, status in zip(bad["seed"], bad["status"], strict=True):
        seeds.setdefault(words.get(status, status), []).append(str(seed))
    return "; ".join(f"seed{'s' if len(of) > 1 else ''} {', '.join(of)}: {what}" for what, of in seeds.items())


# -- how many of each ------------------------------------------------------------------------------------------------


def counts(results_dir: Path | None = None) -> pd.DataFrame:
    """One line per table of the paper, kind of number and tier: how many numbers have which verdict. A row that stands
    in several tables counts in the one that holds it.
    """
    judged: list[tuple[str, str, str, str]] = []  # table of the paper, kind of number, tier, verdict
    for name in tables.names():
        audit = ev.load(name, AUDIT, results_dir).audit
        for line in audit[audit["printed"].ne("")].itertuples():
            judged.append((str(line.table), "recomputed from published budgets", AUDIT, str(line.verdict)))
        for tier in tables.load(name).tiers:
            evidence = ev.load(name, tier, results_dir)
            compared = comparisons(evidence) if len(evidence.runs) else []
            own = [row for row in compared if not evidence.borrowed(evidence.table.row(row.row))]
            title = f"{'this project: ' * evidence.table.is_experiment}{evidence.table.paper_table}"
            for quantity, kind in (
                ("top1_pct", "accuracy"),
                (TRAINED_SPARSITY, "trained sparsity, against the recipe's target"),
            ):
                cells = [row.quantities[quantity] for row in own if quantity in row.quantities]
                judged += [(title, kind, tier, str(c.verdict)) for c in cells if c.tier == tier and c.judged]
    frame = pd.DataFrame(judged, columns=["paper", "numbers", "tier", "verdict"])
    of_each = pd.get_dummies(frame.pop("verdict"), dtype=int).reindex(columns=list(map(str, Verdict)), fill_value=0)
    summed = frame.join(of_each).groupby(list(frame), sort=False, as_index=False).sum()
    return summed.sort_values("paper", key=lambda papers: papers.map(results.natural), kind="stable", ignore_index=True)
