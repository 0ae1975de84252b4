"""Runs that are finished: in ``runs/``, or committed in ``results/``; and whether they may be paired with new ones.

Committed are the runs of the tables' rows, and those that a search chose the settings of (``<tier>_trials.csv``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from paper_repro import record
from paper_repro.errors import UserError
from paper_repro.evidence import provenance, results
from paper_repro.evidence.contrast import arithmetic
from paper_repro.evidence.lines import SEED_OF_TRIALS
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
            where = {name: getattr(run.provenance, name) for name in ("arithmetic", "machine")}
            made_by = {**as_written(run.provenance), **where, "origin": f"{job.runs}/"}
            known[spec.name] = {**as_written(run.result), **made_by}
    return known


def committed(job: Job, specs: Iterable[Spec]) -> Stored:
    """What the results say of these runs, of which a search's trials are none. A run that they have of several machines
    is that of the machine with most of these runs, so that as many as can be are pairs of one.
    """
    names = {spec.name for spec in specs}
    folders = dict.fromkeys(folder.resolve() for folder in (job.results, provenance.repository() / "results"))
    lines = [
        line for folder in folders for kind in ("runs", "trials") for line in _lines(folder, job.tier, kind, names)
    ]
    machines = Counter(machine for _, machine in {(line["spec"], line["machine"]) for line in lines})
    known: Stored = {}
    for line in sorted(lines, key=lambda line: -machines[line["machine"]]):
        known.setdefault(line["spec"], line)
    return known


def _lines(folder: Path, tier: str, kind: str, names: set[str]) -> Iterator[dict[str, Any]]:
    """The runs of these names in such files of all tables, with where they are and what trained them."""
    for file in sorted(folder.glob(f"*/{results.file_name(tier, kind)}")):
        frame = results.read_if_there(file, kind)
        for values in frame[frame["spec"].isin(names)].to_dict("records"):
            line = {str(key): value for key, value in values.items()}
            if kind == "runs":
                line |= {"arithmetic": arithmetic(line), "machine": results.machine(line)}
            elif line["seed"] == SEED_OF_TRIALS:
                continue
            else:
                line |= {"arithmetic": line["machine"], "machine": line["machine"].rsplit(" on ", 1)[0]}
            yield {**line, "origin": f"{_from_here(file)} (commit {line['commit'][:7]})"}


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
