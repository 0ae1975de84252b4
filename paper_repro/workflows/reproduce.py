"""The verb ``reproduce``: one table from end to end.

Audit, train what is missing, collect, render, and say how reported and reproduced numbers compare.
"""

from __future__ import annotations

from rich.text import Text

from paper_repro import tables
from paper_repro.tables import AUDIT, CHECKPOINT
from paper_repro.terminal import Console
from paper_repro.workflows import checkpoint_tier
from paper_repro.workflows.audit import write_audit
from paper_repro.workflows.job import Job
from paper_repro.workflows.show import show
from paper_repro.workflows.train import collect, list_failures, train, unfinished


def reproduce(job: Job, console: Console) -> int:
    """Everything, in order; the exit code: 0, or 1 when a run or the audit failed, or rows had no data."""
    table = tables.load(job.table)
    console.print(Text.assemble((table.heading, "bold"), f", tier {job.tier}"))
    if job.tier == CHECKPOINT:
        return checkpoint_tier.reproduce(job, console)
    todo, failures = ([], {}) if job.tier == AUDIT else unfinished(job, console)
    sound = write_audit(job, console)
    if job.tier != AUDIT:
        failures |= train(job, todo, console)
        collect(job)
    show(job, console)
    code = list_failures(failures, console)
    return code if sound else 1
