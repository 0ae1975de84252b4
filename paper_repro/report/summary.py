"""The summary that ``reproduce`` prints before the long table: what was tested, what came out, and what was not tested.

At most ``MOST_LINES`` lines of ``WIDTH`` characters.
"""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from paper_repro.audit.ways import WAYS
from paper_repro.evidence.claims import ClaimResult
from paper_repro.evidence.evidence import Evidence
from paper_repro.evidence.layers import empty_by_seed
from paper_repro.evidence.verdicts import TRAINED_SPARSITY, Comparison, Judgement
from paper_repro.report import figures
from paper_repro.tables import AUDIT, FULL_SCALE
from paper_repro.verdict import Verdict

MOST_LINES, WIDTH = 25, 100
UNDECIDED = (Verdict.UNTESTED, Verdict.MISSING)  # verdicts without evidence
WHOSE = {"paper": "claims of the paper", "project": "findings of this project"}
NAMES = {"top1_pct": "accuracies", "sparsity_pct": "sparsities", "params_m": "parameters", "macs_m": "FLOPs"}


def summary(
    evidence: Evidence, compared: Sequence[Comparison], checked: Sequence[ClaimResult], notebook: Path | None = None
) -> list[str]:
    """The lines. ``notebook``: the rendered one, where there is one."""
    lines = wrapped(f"{evidence.table.heading}, tier {evidence.tier}")
    lines += [line for text in numbers(evidence, compared) for line in wrapped(text)]
    lines.append("")
    wide = max((len(title) for title in (*WHOSE.values(), *(result.id for result in checked))), default=0) + 2
    for whose, title in WHOSE.items():
        lines += _claims(title, [result for result in checked if result.claim.whose == whose], evidence.tier, wide)
    lines += wrapped(untested(evidence, compared, checked))
    if notebook is not None:
        lines.append(f"notebook: {notebook}; figures: {figures.path(evidence, 'x').parent}")
    return lines


def numbers(evidence: Evidence, compared: Sequence[Comparison]) -> list[str]:
    """How many numbers were recomputed, how many measured, and how many of each hold."""
    told = []
    printed = evidence.recomputed
    if len(printed):
        told.append(f"printed numbers, recomputed without training: {counted(printed['verdict'])}")
        ways = Counter(way for way in printed["convention"].dropna() if way)
        if ways:
            of_each = ", ".join(f"{WAYS.get(way, way)} ({count})" for way, count in sorted(ways.items()))
            told.append(f"{sum(ways.values())} of these PASS by another convention of the paper: {of_each}")
    if evidence.tier != AUDIT:
        accuracies = [cell for cell in _cells(compared, "top1_pct") if cell.judged and cell.tier != AUDIT]
        if accuracies:
            measured = sum(cell.n > 0 for cell in accuracies)
            verdicts = counted(cell.verdict for cell in accuracies)
            told.append(f"printed accuracies: {verdicts}; {measured} rows measured on {evidence.setting}")
        elif shown := sum(cell.n > 0 for cell in _cells(compared, "top1_pct")):
            told.append(
                f"accuracies, none of them printed: {shown} row{'s' * (shown > 1)} measured on {evidence.setting}"
            )
        trained = _cells(compared, TRAINED_SPARSITY)
        if trained:
            told.append(f"trained sparsity against its target: {counted(cell.verdict for cell in trained)}")
    gone = {row.row: empty_by_seed(evidence, row.row) for row in compared}
    empty = [f"{row} {'/'.join(map(str, seeds))}" for row, seeds in gone.items() if any(seeds)]
    if empty:
        told.append(f"layers that ended empty, by seed (names in the notebook): {few(empty, 4)}")
    return told


def untested(evidence: Evidence, compared: Sequence[Comparison], checked: Sequence[ClaimResult]) -> str:
    """What this tier cannot test, and which tiers can."""
    cells = [(name, cell) for row in compared for name, cell in row.quantities.items() if cell.judged]
    count = Counter(NAMES[name] for name, cell in cells if cell.verdict is Verdict.UNTESTED)
    able = [tier for tier in evidence.table.tiers if tier in FULL_SCALE and tier != evidence.tier]
    parts = []
    if count:
        told = ", ".join(f"{name} {number}" for name, number in count.items())
        parts.append(f"{told} ({', '.join(able) or 'no tier of this table'})")
    for result in checked:
        if result.tier == evidence.tier and result.verdict is Verdict.UNTESTED:
            parts.append(f"{result.id} ({', '.join(result.claim.tiers)})")
    return f"untested at this tier (tested at): {'; '.join(parts) or 'nothing'}"


def joined(layers: Iterable[str]) -> str:
    """Names of layers, those of one block together: "conv1, layer3.3.conv1/conv2"."""
    blocks: dict[str, list[str]] = {}
    for name in layers:
        block, _, last = name.rpartition(".")
        blocks.setdefault(block, []).append(last)
    return ", ".join(f"{block}.{'/'.join(names)}" if block else "/".join(names) for block, names in blocks.items())


def counted(verdicts: Iterable[str]) -> str:
    """How many of each there are: "358 PASS, 14 ERRATUM"."""
    of_each = Counter(str(verdict) for verdict in verdicts)
    return ", ".join(f"{of_each[verdict]} {verdict}" for verdict in Verdict if of_each[verdict])


def few(names: Sequence[str], most: int = 8) -> str:
    """The first of some names, and how many more there are."""
    return ", ".join(names) if len(names) <= most else f"{', '.join(names[:most])} and {len(names) - most} more"


def wrapped(text: str) -> list[str]:
    """The text in lines of at most ``WIDTH`` characters."""
    return textwrap.wrap(text, WIDTH, subsequent_indent="  ", break_on_hyphens=False)


def _claims(title: str, results: Sequence[ClaimResult], tier: str, wide: int) -> list[str]:
    """A line per claim: what the paper's numbers say, what this tier says, and a figure of the evidence."""
    by_id: dict[str, dict[str, ClaimResult]] = {}
    for result in results:
        by_id.setdefault(result.id, {})[result.tier] = result
    if not by_id:
        return []
    tiers = list(dict.fromkeys((AUDIT, tier)))
    lines = [f"{title:<{wide}}" + "".join(f"{name:<13}" for name in tiers) + "evidence"]
    for id, of_tier in by_id.items():
        told = [of_tier[name] for name in reversed(tiers) if name in of_tier and of_tier[name].verdict not in UNDECIDED]
        figure = told[0].figure if told else ""
        if told and told[0].tier != tier:
            figure = f"{AUDIT}: {figure}"
        verdicts = "".join(f"{of_tier[name].verdict if name in of_tier else '':<13}" for name in tiers)
        lines.append(f"{id:<{wide}}{verdicts}{figure}"[:WIDTH].rstrip())
    return lines


def _cells(compared: Iterable[Comparison], quantity: str) -> list[Judgement]:
    return [row.quantities[quantity] for row in compared if quantity in row.quantities]
