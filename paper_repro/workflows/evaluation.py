"""Tier ``checkpoint``: the networks that the authors released, measured against what the paper says of them.

Nothing is trained. Sparsity, parameters and MACs of an imported checkpoint need no data; its accuracy needs the
validation set. An evaluation is kept beside the checkpoint, in the folder and form of the run that it stands for.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from paper_repro import tables
from paper_repro.data import loaders
from paper_repro.data.catalog import dataset
from paper_repro.data.loaders import Batch
from paper_repro.errors import UserError
from paper_repro.evidence import evidence, provenance, results, verdicts
from paper_repro.files import write
from paper_repro.interchange import networks
from paper_repro.interchange.networks import Stored
from paper_repro.methods import balance
from paper_repro.methods.balance import Balance
from paper_repro.report.console import comparison_grid, legend, print_whole
from paper_repro.spec import Spec
from paper_repro.tables import CHECKPOINT
from paper_repro.terminal import Console
from paper_repro.training.evaluate import evaluate
from paper_repro.training.measure import measure
from paper_repro.workflows.audit import write_audit
from paper_repro.workflows.checkpoints import same_shapes
from paper_repro.workflows.job import Job
from paper_repro.workflows.show import show

BATCH_SIZE = 256


@dataclass(frozen=True)
class Subject:
    """A row with its checkpoint: ``folder`` is where the evaluation is kept."""

    row: tables.Row
    spec: Spec
    stored: Stored
    folder: Path

    @property
    def sha256(self) -> str:
        return str(self.stored.about["sha256"])

    def evaluated(self) -> bool:
        """Whether this very file has been evaluated already."""
        try:
            result = json.loads((self.folder / networks.RESULT).read_text(encoding="utf-8"))["result"]
        except (FileNotFoundError, ValueError, KeyError):
            return False
        return bool(result.get("checkpoint_sha256") == self.sha256)

    def measured(self) -> tuple[dict[str, float], list[dict[str, Any]]]:
        """Size and cost, as a whole and layer by layer; with the balance where the file had raw weights."""
        size = dataset(self.spec.dataset).input_size
        return measure(self.stored.network, size, self.stored.about["thresholds"], self.balances())

    def balances(self) -> dict[str, Balance]:
        """Layer -> balance of its threshold; empty for a file without thresholds, or imported before it was kept."""
        return {layer: Balance(*found) for layer, found in self.stored.about.get("balances", {}).items()}


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
        if subject.balances():
            console.print(
                f"balance of thresholds in {subject.row.id}: {balance.summary(subject.balances().values())}",
                soft_wrap=True,
            )
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
    table, found = tables.load(job.table), []
    for row, spec in job.specs():
        folder = job.checkpoints / table.name / row.id
        if not (folder / networks.ABOUT).exists():
            continue
        stored = networks.read(folder)
        if not same_shapes(stored.network, table):
            raise UserError(f"{folder} is not of the full-size {spec.model}; import the file of row {row.id} again")
        found.append(Subject(row, spec, stored, folder / spec.name))
    if not found:
        raise UserError(
            f"no checkpoint of table {table.name} is in {job.checkpoints}: download the authors' files (README of "
            "github.com/RAIVNLab/STR), then `python -m paper_repro checkpoint import FILE`"
        )
    return found


def _evaluate_all(todo: Sequence[Subject], data_root: Path, console: Console) -> None:
    if not todo:
        return
    name = todo[0].spec.dataset
    loaders.ensure(name, data_root, say=console.print)
    _, validation, fingerprint = loaders.open_loaders(name, data_root, BATCH_SIZE)
    for subject in todo:
        console.print(f"evaluating {subject.row.id} on {dataset(name).title}")
        keep(subject, validation.in_order(), fingerprint)


def keep(subject: Subject, batches: Iterable[Batch], fingerprint: str) -> None:
    """Evaluate on ``batches`` and write it down as a run's result. ``fingerprint``: of the data."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    began = time.monotonic()
    whole, layers = subject.measured()
    network = subject.stored.network.to(device)
    top1_pct, val_loss = evaluate(network, batches, subject.spec.label_smoothing, device)
    content = {
        "schema": 1,
        "spec": subject.spec.to_dict(),
        "result": {
            "status": "finished",
            "top1_pct": top1_pct,
            "val_loss": val_loss,
            **whole,
            "epochs": subject.spec.epochs,
            "dataset": subject.spec.dataset,
            "dataset_sha256": fingerprint,
            "checkpoint_sha256": subject.sha256,
            "seconds": round(time.monotonic() - began, 2),
        },
        "layers": layers,
        "history": [],
        "provenance": provenance.provenance(device.type),
    }
    write(subject.folder / networks.RESULT, json.dumps(content, indent=1) + "\n")


def show_without_accuracy(job: Job, there: Sequence[Subject], console: Console) -> None:
    """The comparison as far as it goes without data; nothing is written to the results."""
    known = {"seed": 0, "status": "finished", "dataset": tables.load(job.table).dataset, "options": ""}
    records = [{"row": subject.row.id, **known, **subject.measured()[0]} for subject in there]
    runs = pd.DataFrame(records).reindex(columns=results.empty("runs").columns)
    found = replace(evidence.load(job.table, job.tier, job.results), runs=runs)
    print_whole(comparison_grid(verdicts.comparisons(found)), console)
    console.print(legend(found), soft_wrap=True)
