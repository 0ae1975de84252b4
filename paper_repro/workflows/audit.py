"""The verb ``audit``: recompute what the paper prints, write it down, and say what does not match."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from paper_repro import tables
from paper_repro.audit import threshold_balance
from paper_repro.audit.comparison import Comparison
from paper_repro.audit.curves import audit_curves
from paper_repro.audit.whole_table import audit, save
from paper_repro.evidence import provenance, results
from paper_repro.report import summary
from paper_repro.tables import AUDIT
from paper_repro.terminal import Console
from paper_repro.verdict import Verdict
from paper_repro.workflows.job import Job


def audited(table: str, errata: Path) -> list[Comparison]:
    """Everything the paper prints about a table that follows without training: its numbers, and when pruning began.

    UserError when the transcribed numbers are not those on record: a change too small to show in a sum shows there.
    """
    tables.verify()
    return [*audit(table, errata), *audit_curves(tables.load(table))]


def write_audit(job: Job, console: Console, every: bool = False) -> bool:
    """Audit the table, write ``results/<table>/audit.csv`` and print a summary; True if nothing failed.

    ``every`` prints each number that does not simply match; otherwise only failures are printed.
    """
    if not tables.load(job.table).audited:
        console.print("audit: nothing is printed here that other tables do not hold")
        return True
    own = job.results / "errata.csv"
    errata = own if own.exists() else provenance.of_repository("results", "errata.csv")
    findings = audited(job.table, errata)
    path = save(findings, job.results / job.table / "audit.csv")
    printed = [finding for finding in findings if finding.printed]
    verdicts = [finding.verdict for finding in printed]
    counts = summary.counted(verdicts) or "none follows from others"
    console.print(f"audit: {len(printed)} printed numbers recomputed without training: {counts}  ({path})")
    if len(findings) > len(printed):
        console.print(f"  and {len(findings) - len(printed)} that follow from what is printed, in that file")
    for finding in printed:
        if finding.verdict == Verdict.FAIL or (every and finding.verdict != Verdict.PASS):
            console.say(
                f"  {finding.verdict:<12} {finding.paper_table}, {finding.row}, {finding.quantity}: "
                f"printed {finding.printed}, recomputed {finding.recomputed:.6g}; {finding.note}",
            )
    if Verdict.ERRATUM in verdicts and not every:
        console.print(f"  what each ERRATUM is: make audit TABLE={job.table}, or {errata}")
    write_balance(job, console)
    return Verdict.FAIL not in verdicts


def write_balance(job: Job, console: Console) -> None:
    """Write the balance of thresholds on the paper's own data, for the table that has what it takes."""
    for kind, frame in audited_balance(job.table).items():
        path = results.write(frame, results.path(job.results, job.table, AUDIT, kind), kind)
        if kind == "balance_tests":
            numbers = frame[frame["test"] == "paper"].set_index("quantity")["value"]
            console.say(
                "balance of thresholds (a finding of this project, no claim of the paper): the L1 norms that "
                f"{numbers['layers']:.0f} thresholds imply go with the kept weights, correlation of logarithms "
                f"{numbers['correlation']:.3f}  ({path})",
            )


def audited_balance(table: str) -> dict[str, pd.DataFrame]:
    """Kind of results file -> its lines; nothing for a table without the paper's Figure 3."""
    layers = threshold_balance.layers(table)
    if layers.empty:
        return {}
    return {"balance": layers, "balance_tests": pd.DataFrame(threshold_balance.tests(layers))}
