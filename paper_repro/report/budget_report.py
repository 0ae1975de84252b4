"""STR's budgets in docs/: beside other budgets, uniform ones and the paper's, layer by layer and in multiply-adds."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import pandas as pd

from paper_repro.evidence import claims, contrast, evidence, tolerances, training_claims
from paper_repro.evidence.contrast import At
from paper_repro.evidence.layers import (
    STR,
    against_uniform,
    agreement,
    at_full_size,
    backbone,
    budgets,
    empty_by_seed,
    macs_left,
    nearest_published,
    published_over_uniform,
    sparsity_pct,
    trained,
)
from paper_repro.evidence.statistics import PERCENT, summarise
from paper_repro.report.balance_report import recorded
from paper_repro.report.markdown import NOT_RUN, heading, markdown_table, of_tier, signed
from paper_repro.tables import Row
from paper_repro.verdict import Verdict

TABLE = "resnet50"  # Table 1
TESTED_AT_SMOKE = (TABLE, "mobilenetv1", "transfer", "st3")
COMPARED_AT = (At.SPARSITY, At.MACS)
BUDGETS = {
    "gmp": "GMP, uniform",
    "gmp-erk": "GMP, ERK",
    "gmp-global": "GMP, one ranking of all weights",
    "gmp-balance": "GMP, balance",
    "str": "STR",
}
GRANULARITIES = {
    "str-gs": "the network",
    "str": "a layer",
    "str-filter": "a filter",
    "str-weight": "a weight",
    "str-filter-pruning": "a layer's filters, which go as a whole",
    "str-bn": "a layer's batch-norm scales, which go with their filters",
}
MEASURED = ("Top-1 (%)", "Sparsity (%)", "MACs / uniform's", "Empty layers, by seed")
CORRELATION = "Correlation with Table 6"


def _over_uniform(by_seed: Iterable[pd.DataFrame]) -> str:
    """Multiply-adds over those of a uniform budget of the same layers, mean over seeds."""
    return _mean([against_uniform(layers)["ratio"] for layers in by_seed])


def _mean(ratios: Sequence[float]) -> str:
    return f"{summarise(ratios).mean:.2f}" if ratios else "–"


def _empty_by_seed(e: evidence.Evidence, row: str) -> str:
    return "/".join(map(str, empty_by_seed(e, row)))


def balance_as_budget(results_dir: Path) -> str:
    """GMP under four budgets, and STR, at the sparsities that all of them were trained at."""
    parts = (_budgets_of_tier(evidence.load("family", tier, results_dir)) for tier in ("smoke", "small"))
    return "\n".join(filter(None, parts)) or NOT_RUN


def _budgets_of_tier(e: evidence.Evidence) -> str:
    lines = []
    for regime, ids in _by_regime(e, BUDGETS).items():
        for method, budget in BUDGETS.items() if len(ids) == len(BUDGETS) else ():
            lines.append([f"{regime:g} %", budget, *_measured(e, ids[method])])
    header = ["Regime", "Budget", *MEASURED]
    return of_tier(e, header, lines) if lines else ""


def _by_regime(e: evidence.Evidence, methods: Iterable[str]) -> dict[float, dict[str, str]]:
    """Regime, sparsest last -> method -> its row, of the rows of these methods that have runs."""
    found: dict[float, dict[str, str]] = {}
    for row in map(e.table.row, e.trained_rows):
        if row.method in methods and row.regime_pct and e.summary(row.id, "top1_pct"):
            found.setdefault(row.regime_pct, {})[row.method] = row.id
    return dict(sorted(found.items()))


def _measured(e: evidence.Evidence, row: str) -> list[str]:
    """What ``MEASURED`` lists, of a row with runs."""
    top1, runs = e.summary(row, "top1_pct"), e.row_runs(row)
    assert top1 is not None
    size = [f"{runs['sparsity_pct'].mean():.2f}", _over_uniform(trained(e, row).values())]
    return [top1.text(within=PERCENT), *size, _empty_by_seed(e, row)]


def granularities(results_dir: Path) -> str:
    """STR with one threshold for the network, a layer, a filter or a weight, at tier smoke."""
    e = evidence.load("extensions", "smoke", results_dir)
    plain = contrast.trained_by(e, "str")
    lines = []
    for regime, ids in _by_regime(e, GRANULARITIES).items():
        for method in (method for method in GRANULARITIES if method in ids and ids.keys() != {"str"}):
            cells = [f"{regime:g} %", GRANULARITIES[method], f"`{ids[method]}`", *_measured(e, ids[method])]
            lead = contrast.contrast(contrast.trained(e, ids[method]), plain, At.SPARSITY).difference()
            lines.append([*cells, "–" if method == "str" else signed(lead)])
    header = ["Regime", "One threshold for", "Row", *MEASURED, "Points ahead of STR at equal sparsity"]
    return of_tier(e, header, lines)


def choices(results_dir: Path) -> str:
    """What each choice behind the recipe of tier smoke changes. The first row of a method is the recipe's; others are
    compared with it on the seeds that both have.
    """
    e = evidence.load("resnet50_choices", "smoke", results_dir)
    rows = [row for row in map(e.table.row, e.trained_rows) if e.summary(row.id, "top1_pct")]
    lines, recipes = [], {row.method: row for row in reversed(rows)}
    of_budget = [*MEASURED[1:], CORRELATION, "Rise is cubic, not a ramp", "Balance ratio: median over layers"]
    courses, ratios = training_claims.histories(e, STR), recorded(e).groupby("row")["balance"].median()
    for row in rows:
        top1, *budget = _measured(e, row.id)
        lead = contrast.paired(e, row.id, recipes[row.method].id) if row is not recipes[row.method] else None
        learnt = ["–"] * len(of_budget)
        if row.is_str:  # others are told their budget, and how to get there
            rise = _cubic(course for run, course in courses if run["row"] == row.id)
            ratio = f"{ratios[row.id]:.2f}" if row.id in ratios else "–"
            learnt = [*budget, _correlation(e, row, named=False), rise, ratio]
        lines.append([f"`{row.id}`", row.label, top1, signed(lead), *learnt])
    header = ["Row", "Training", MEASURED[0], "Points ahead of the recipe", *of_budget]
    return of_tier(e, header, lines)


def _cubic(courses: Iterable[pd.DataFrame]) -> str:
    """In how many of some runs sparsity rises as the cubic schedule of gradual pruning does, rather than as a ramp."""
    curves = [course[["epoch", "sparsity_pct"]].to_numpy(dtype=float) for course in courses]
    limit_pct = tolerances.load().onset_before_pct
    fits = [fit for curve in curves if (fit := training_claims.gradual(curve, limit_pct)) is not None]
    return f"{sum(fit['cubic_r2'] > fit['ramp_r2'] for fit in fits)} of {len(fits)}" if fits else "–"


def tier_small(results_dir: Path) -> str:
    """Table 1 at tier small: STR beside GMP, its budgets beside the paper's, and the claims that the tier tests."""
    e = evidence.load(TABLE, "small", results_dir)
    lines = []
    for row in e.table.rows:
        top1, runs = e.summary(row.id, "top1_pct"), e.row_runs(row.id)
        if row.method not in ("dense", "gmp", "str") or top1 is None:
            continue
        cells = [f"`{row.id}`", top1.text(within=PERCENT), f"{runs['sparsity_pct'].mean():.2f}"]
        leads = _leads(e, row) if row.method == "gmp" else ["–"] * 4
        learnt = [_correlation(e, row), _empty_by_seed(e, row.id)] if row.is_str else ["–"] * 2
        lines.append([*cells, *leads, *learnt])
    if not lines:
        return NOT_RUN
    of_leads = [f"STR minus this row at equal {at}{where}" for at in COMPARED_AT for where in ("", ", paper")]
    header = ["Row", "Top-1 (%)", "Sparsity (%)", *of_leads, CORRELATION, MEASURED[-1]]
    return f"{of_tier(e, header, lines)}\n{_claims_tested(e)}"


def tier_smoke(results_dir: Path) -> str:
    """The claims that tier smoke tests, table by table."""
    trained_here = (evidence.load(table, "smoke", results_dir) for table in TESTED_AT_SMOKE)
    parts = [f"{heading(e)}\n\n{_claims_tested(e)}" for e in trained_here if len(e.runs)]
    return "\n".join(parts) or NOT_RUN


def _claims_tested(e: evidence.Evidence) -> str:
    tested = [found for found in claims.check(e) if found.tier == e.tier and found.verdict is not Verdict.UNTESTED]
    told = [[f"{found.claim.text} ({_named(found)})", str(found.verdict), found.figure] for found in tested]
    return markdown_table(["Claim", "Verdict at this tier", "Evidence"], told)


def _named(found: claims.ClaimResult) -> str:
    return f"`{found.id}`" if found.claim.whose == "paper" else f"`{found.id}`, a finding of this project"


def _leads(e: evidence.Evidence, row: Row) -> list[str]:
    """Points by which STR is ahead of a row, where STR's own curve is read off, as the claims have it."""
    printed = [network for other in e.table.rows if other.is_str for network in contrast.printed(other)]
    sides = [(contrast.trained(e, row.id), contrast.trained_by(e, "str")), (contrast.printed(row), printed)]
    return [signed(contrast.contrast(*side, at).swapped().difference()) for at in COMPARED_AT for side in sides]


def _correlation(e: evidence.Evidence, row: Row, named: bool = True) -> str:
    """How far a row's budgets go along with the paper's nearest one, which is named where it is of another row."""
    name, published = nearest_published(e, float(e.row_runs(row.id)["sparsity_pct"].mean()))
    if not name:
        return "–"
    correlation = agreement(e.budgets[e.budgets["row"] == row.id], published)[2]
    return f"{correlation:.2f}" + (f" (`{name}`)" if named and name != row.id else "")


BUDGETS_FROM = ("paper", "smoke", "small")


def _tiers(results_dir: Path) -> list[evidence.Evidence]:
    return [evidence.load(TABLE, tier, results_dir) for tier in BUDGETS_FROM[1:]]


def _three_budgets(tiers: Sequence[evidence.Evidence]) -> dict[str, list[list[pd.DataFrame]]]:
    """Row of Table 1 -> its layers as ``BUDGETS_FROM`` have them, of every seed. A row without any run is left out."""
    rows = {}
    for line, printed in budgets(tiers[0], STR, printed=True):
        here = [list(trained(e, line["row"]).values()) for e in tiers]
        if any(here):
            rows[str(line["row"])] = [[printed], *here]
    return rows


def multiply_adds(results_dir: Path) -> str:
    """What STR's budgets of Table 1 need against uniform ones: as printed, with and without the classifier; as trained;
    and what the paper's densities need on the networks that were trained, at their sparsities.
    """
    tiers = _tiers(results_dir)
    rows = _three_budgets(tiers)
    if not rows:
        return NOT_RUN
    lines = []
    shares: dict[str, float] = {}
    for id, (printed, *here) in rows.items():
        cells = [_over_uniform(printed), _over_uniform(map(backbone, printed))]
        for e, by_seed in zip(tiers, here, strict=True):
            cells += [_over_uniform(by_seed), _mean([published_over_uniform(e, layers) for layers in by_seed])]
        lines.append([f"`{id}`", *cells])
        for name, by_seed in zip(BUDGETS_FROM, (printed, *here), strict=True):
            if by_seed:
                shares[name] = by_seed[0]["params"].iloc[-1] / by_seed[0]["params"].sum()
    header = ["Row", "Paper's network: all layers", "without the classifier"]
    for tier in BUDGETS_FROM[1:]:
        header += [f"Network of tier {tier}: as trained", "with the paper's densities"]
    told = ", ".join(f"{name} {100.0 * shares[name]:.1f} %" for name in BUDGETS_FROM if name in shares)
    return f"{markdown_table(header, lines)}\nThe classifier's share of a network's weights: {told}.\n"


STAGES_OF = "str-95.03"


def stages(results_dir: Path) -> str:
    """One row's budgets stage by stage, means over seeds: what is kept, and where the multiply-adds lie that the same
    densities leave on the full-size layers, the classifier left out.
    """
    rows = _three_budgets(_tiers(results_dir))
    if STAGES_OF not in rows:
        return NOT_RUN
    kept, cost = ([_by_stage(by_seed, of) for by_seed in rows[STAGES_OF]] for of in (_kept_pct, _cost))
    header = ["Stage", f"Weights that `{STAGES_OF}` keeps (%): paper", "smoke", "small"]
    header += ["MACs left on the full-size layers / uniform's: paper", "smoke", "small"]
    lines = []
    for stage in kept[0].index:
        cells = [f"{of[stage]:.1f}" if stage in of else "–" for of in kept]
        lines.append([f"`{stage}`", *cells, *(f"{of[stage]:.2f}" if stage in of else "–" for of in cost)])
    lines.append(["in total", *["–"] * len(kept), *(f"{of.sum():.2f}" if len(of) else "–" for of in cost)])
    return markdown_table(header, lines)


def _by_stage(by_seed: Iterable[pd.DataFrame], of: Callable[[pd.DataFrame], pd.Series]) -> pd.Series:
    """A quantity of each stage of the full-size network under some budgets, mean over them."""
    full_size = (at_full_size(TABLE, layers) for layers in by_seed)
    measured = [of(layers.assign(stage=layers["layer"].str.split(".").str[0])) for layers in full_size]
    return pd.concat(measured, axis=1).mean(axis=1) if measured else pd.Series(dtype=float)


def _kept_pct(layers: pd.DataFrame) -> pd.Series:
    return 100.0 - layers.groupby("stage", sort=False).apply(sparsity_pct)


def _cost(layers: pd.DataFrame) -> pd.Series:
    rest = backbone(layers)
    return rest.groupby("stage", sort=False).apply(macs_left) / 1e6 / against_uniform(rest)["uniform_macs_m"]


PARTS: Mapping[str, Callable[[Path], str]] = {
    "smoke": tier_smoke, "choices": choices, "granularity": granularities, "small": tier_small, "macs": multiply_adds,
    "stages": stages,
}  # fmt: skip
