"""Runs that are finished: in ``runs/``, or committed in ``results/``; and whether they may be paired with new ones."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from paper_repro import record
from paper_repro.errors import UserError
from paper_repro.evidence import provenance, results
from paper_repro.evidence.contrast import arithmetic
from paper_repro.record import Provenance, as_written
from paper_repro.spec import Spec
from paper_repro.workflows.job import Job

Stored = dict[str, dict[str, Any]]  # spec name -> what is known of a finished run


def trained(job: Job, specs: Iterable[Spec]) -> Stored:
    """What ``runs/`` says of these runs."""
    known: Stored = {}
    for spec in specs:
        run = record.finished(job.runs / spec.name, spec)
        if run is not None:
            made_by = {**as_written(run.provenance), "arithmetic": run.provenance.arithmetic}
            known[spec.name] = {**made_by, **as_written(run.result), "origin": f"{job.runs}/"}
    return known


def committed(job: Job, specs: Iterable[Spec]) -> Stored:
    """What the results say of these runs."""
    known: Stored = {}
    names = {spec.name for spec in specs}
    folders = dict.fromkeys(folder.resolve() for folder in (job.results, provenance.repository() / "results"))
    for file in (file for folder in folders for file in sorted(folder.glob(f"*/{job.tier}.csv"))):
        for values in results.read(file).to_dict("records") if names - known.keys() else ():
            line = {str(key): value for key, value in values.items()}
            if line["spec"] in names - known.keys():
                origin = f"{_from_here(file)} (commit {line['commit'][:7]})"
                known[line["spec"]] = {**line, "origin": origin, "arithmetic": arithmetic(line)}
    return known


def require_one_machine(job: Job, finished: Stored) -> None:
    """UserError where runs that are finished could not be paired with what is trained now."""
    here = machine(job)
    other = sorted({known["arithmetic"] for known in finished.values()} - {here})
    if other:
        raise UserError(
            f"{job.runs}/ has runs of another machine or library ({'; '.join(other)}) than this one ({here}), "
            "and only runs of one are paired. Take another folder (--runs DIR), in which all are trained here, or "
            "--reuse committed (REUSE=committed), which says what it costs"
        )


def machine(job: Job) -> str:
    """What trains the runs of a job here, as their records will say it."""
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"
    made_by = {**provenance.provenance(threads=1), "device": device, "processes": job.gpus}
    return Provenance.model_validate(made_by).arithmetic


def _from_here(file: Path) -> str:
    """A path as short as it can be said."""
    try:
        return str(file.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(file)
