"""What a table would cost to train, in docs/: from its recipes alone, the same on every machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from paper_repro import tables
from paper_repro.data.catalog import dataset
from paper_repro.report.markdown import markdown_table
from paper_repro.runs.cost import REFERENCE, cost, hours_text, macs_of, reference_rate
from paper_repro.spec import Spec

TRAINING = 3  # forward passes that a training step is worth: one, and the gradients of inputs and of weights


def to_train(table: str, tier: str) -> str:
    """Images, multiply-adds and hours of a table's rows, one seed each; rows of equal cost share a line."""
    kinds: dict[tuple[object, ...], list[tuple[str, Spec]]] = {}
    for row, spec in tables.load(table).specs(tier, [0]):
        kind = (spec.model, str(sorted(spec.model_args.items())), spec.dataset, spec.epochs)
        kinds.setdefault(kind, []).append((row.id, spec))
    lines, sums = [], [0.0, 0.0, 0.0]
    for runs in kinds.values():
        spec, count = runs[0][1], len(runs)
        one, macs = cost(spec, rate=reference_rate(spec)), macs_of(spec)
        totals = [count * of for of in (one.images / 1e6, TRAINING * macs * one.images / 1e15, one.hours)]
        sums = [old + new for old, new in zip(sums, totals, strict=True)]
        what = ", ".join(f"`{id}`" for id, _ in runs)
        lines.append([what, dataset(spec.dataset).title, str(spec.epochs), f"{macs / 1e6:,.0f}", *_texts(totals)])
    lines.append(["in total", "", "", "", *_texts(sums)])
    header = ["Rows", "Data", "Epochs", "MACs of an image (millions)", "Images (millions)", "Training MACs (1e15)"]
    header += ["Hours of one A100"]
    said = (
        f"One seed of every row. Training MACs are {TRAINING} times those of the forward pass, of the dense network. "
        f"Hours are those of `make plan` on a machine without a GPU, evaluation included: {REFERENCE}. None was "
        "measured here. Small images may leave a GPU partly idle, so take these hours as the least that it takes."
    )
    return f"{markdown_table(header, lines)}\n{said}\n"


def _texts(totals: list[float]) -> list[str]:
    images, macs, hours = totals
    return [f"{images:,.0f}", f"{macs:,.1f}", hours_text(hours)]


def reevaluations(results_dir: Path) -> str:
    """Table ``reevaluations`` at tier paper. Nothing of it is in the results."""
    return to_train("reevaluations", "paper")


PARTS: Mapping[str, Callable[[Path], str]] = {"reevaluations": reevaluations}
