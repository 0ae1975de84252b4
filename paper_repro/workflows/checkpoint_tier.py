"""Tier ``checkpoint``: the networks that the authors released, measured against what the paper says of them.

Nothing is trained. Sparsity, parameters and MACs of an imported checkpoint need no data; its accuracy needs the
validation set. An evaluation is kept beside the checkpoint, in the folder and form of the run that it stands for.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd
import torch
from torch import nn

from paper_repro import record, tables
from paper_repro.data.catalog import dataset, source
from paper_repro.data.loaders import Batch
from paper_repro.errors import UserError
from paper_repro.evidence import evidence, provenance, results, verdicts
from paper_repro.interchange import networks
from paper_repro.interchange.networks import Imported
from paper_repro.methods import balance
from paper_repro.record import Layer, Provenance, Record, Result, Size, as_written
from paper_repro.report.console import comparison_grid, legend, print_whole
from paper_repro.spec import Spec
from paper_repro.tables import CHECKPOINT
from paper_repro.terminal import Console
from paper_repro.training import measure
from paper_repro.workflows.audit import write_audit
from paper_repro.workflows.job import Job
from paper_repro.workflows.released_checkpoints import same_shapes
from paper_repro.workflows.show import show

BATCH_SIZE = 256


@dataclass(frozen=True)
class Subject:
    """A row with its checkpoint: ``folder`` is where the evaluation is kept."""

    row: tables.Row
    spec: Spec
    network: nn.Module
    imported: Imported
    folder: Path

    def evaluated(self) -> bool:
        """Whether this very file has been evaluated already."""
        try:
            kept = record.read(self.folder)
        except UserError:  # not yet, or to be done again
            return False
        return kept.result.checkpoint_sha256 == self.imported.sha256

    def size(self) -> tuple[Size, list[Layer]]:
        """Size and cost, as a whole and layer by layer; with the balance where the file had raw weights."""
        input_size = dataset(self.spec.dataset).input_size
        return measure.size(self.network, input_size, self.imported.thresholds, self.imported.balances)


def reproduce(job: Job, console: Console) -> int:
    """Evaluate the checkpoints that are there and compare them; the exit code.

    Raises UserError when there is none, and when accuracy cannot be measured for lack of data: after everything that
    can be compared without it has been shown.
    """
    if job.seeds != 1:
        raise UserError(f"tier {CHECKPOINT} trains nothing, so that it has no seeds; leave --seeds (SEEDS=) out")
    there = subjects(job)
    sound = write_audit(job, console)
    todo = [subject for subject in there if not subject.evaluated()]
    console.print(f"checkpoints: {len(there)} of {len(job.specs())} rows, {len(there) - len(todo)} evaluated already")
    for subject in there:
        balances = subject.imported.balances
        if balances:
            said = balance.summary(balances.values())
            console.say(f"balance of thresholds in {subject.row.id}: {said}")
    try:
        _evaluate_all(todo, job.data_root, console)
    except UserError as error:
        show_without_accuracy(job, there, console)
        raise UserError(f"the accuracy of the checkpoints was not measured: {error}", error.exit_code) from error
    results.collect(job.table, job.tier, [subject.folder for subject in there], job.results)
    show(job, console)
    return 0 if sound else 1


def subjects(job: Job) -> list[Subject]:
    """The rows of a job whose checkpoints are there; UserError when there are none, or one is of another network."""
    table, there = tables.load(job.table), []
    for row, spec in job.specs():
        folder = job.checkpoints / table.name / row.id
        if not (folder / networks.IMPORTED).exists():
            continue
        network = networks.read(folder).network
        if not same_shapes(network, table):
            raise UserError(f"{folder} is not of the full-size {spec.model}; import the file of row {row.id} again")
        there.append(Subject(row, spec, network, networks.imported(folder), folder / spec.name))
    if not there:
        raise UserError(
            f"no checkpoint of table {table.name} is in {job.checkpoints}: download the authors' files (README of "
            "github.com/RAIVNLab/STR), then `python -m paper_repro checkpoint import FILE`"
        )
    return there


def _evaluate_all(todo: Sequence[Subject], data_root: Path, console: Console) -> None:
    if not todo:
        return
    data = source(todo[0].spec.dataset)
    data.ensure(data_root, say=console.print)
    _, validation, fingerprint = data.open(data_root, BATCH_SIZE)
    for subject in todo:
        console.print(f"evaluating {subject.row.id} on {data.title}")
        keep(subject, validation.in_order(), fingerprint)


def keep(subject: Subject, batches: Iterable[Batch], fingerprint: str) -> None:
    """Evaluate on ``batches`` and write down the record of the run. ``fingerprint``: of the data."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    began = time.monotonic()
    size, layers = subject.size()
    accuracy = measure.accuracy(subject.network.to(device), batches, subject.spec.label_smoothing, device)
    result = Result(
        status="finished",
        **as_written(accuracy),
        **as_written(size),
        epochs=subject.spec.epochs,
        dataset=subject.spec.dataset,
        dataset_sha256=fingerprint,
        checkpoint_sha256=subject.imported.sha256,
        seconds=round(time.monotonic() - began, 2),
    )
    made_by = Provenance.model_validate(provenance.provenance(device.type))
    done = Record(spec=subject.spec, result=result, layers=layers, history=[], provenance=made_by)
    record.write(done, subject.folder)


def show_without_accuracy(job: Job, there: Sequence[Subject], console: Console) -> None:
    """The comparison as far as it goes without data; nothing is written to the results."""
    known = {"seed": 0, "status": "finished", "dataset": tables.load(job.table).dataset, "options": ""}
    records = [{"row": subject.row.id, **known, **as_written(subject.size()[0])} for subject in there]
    runs = pd.DataFrame(records).reindex(columns=results.empty("runs").columns)
    without_accuracy = replace(evidence.load(job.table, job.tier, job.results), runs=runs)
    print_whole(comparison_grid(verdicts.comparisons(without_accuracy)), console)
    console.say(legend(without_accuracy))
