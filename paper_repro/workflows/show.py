"""The verb ``render``: figures and notebook from the results, and how reported and reproduced numbers compare."""

from __future__ import annotations

from paper_repro.evidence import claims, evidence, provenance, verdicts
from paper_repro.report import documents, notebook, summary
from paper_repro.report.console import best_epochs, comparison_grid, legend, print_whole, trained_where
from paper_repro.tables import AUDIT
from paper_repro.terminal import Console
from paper_repro.workflows.job import Job


def show(job: Job, console: Console) -> None:
    """Render figures and notebook, then print the summary, and reported beside reproduced with a verdict for each row.

    Tier audit draws nothing, but for a table that has no other: its numbers are part of every other tier's notebook. It
    prints each claim at length instead, as the notebook does.
    """
    table_evidence = evidence.load(job.table, job.tier, job.results)
    rendered = None
    if job.tier != AUDIT or not table_evidence.table.tiers:
        console.print("notebook and figures: being rendered (nothing is done where the results have not changed)")
        rendered = notebook.render(job.table, job.tier, job.results)
    compared, checked = verdicts.comparisons(table_evidence), claims.check(table_evidence)
    console.print()
    console.say(*summary.summary(table_evidence, compared, checked, rendered))
    console.print()
    print_whole(comparison_grid(compared, best_epochs(table_evidence)), console)
    console.say(legend(table_evidence))
    if rendered is None and checked:
        console.print()
        for claim in checked:
            console.say(f"{claim.verdict:<12} {claim.id}: {claim.sentence}")
    if rendered is not None and job.tier != AUDIT:
        console.say(trained_where(table_evidence, job.runs))
    console.say(f"numbers: {job.results / job.table}")
    home = provenance.repository()
    if job.results.resolve() == home / "results":
        for name, parts in documents.DOCUMENTS.items():
            if not documents.update(home / name, parts, job.results):
                console.print(f"{name}: its numbers are now those of these results")
