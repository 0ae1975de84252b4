"""Ratios that were timed, as lines of ``results/speed.csv``: ``make gpu-check`` on a GPU, ``make bench`` on a core."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from paper_repro.evidence import results
from paper_repro.evidence.lines import SpeedLine
from paper_repro.evidence.provenance import provenance, repository
from paper_repro.files import locked

BENCH = ("tests/benchmarks", "--benchmark-only")
NOTHING = ("-W", "ignore:Not saving anything")  # where all benchmarks are skipped there is nothing to save: no error


def timed(measured: Path, made_by: Mapping[str, Any]) -> Iterator[SpeedLine]:
    """The ratios in a file of pytest-benchmark; nothing where there is none, or all was skipped."""
    if not measured.exists() or not measured.stat().st_size:
        return
    for item in json.loads(measured.read_text(encoding="utf-8"))["benchmarks"]:
        info = item["extra_info"]
        if "ratio" in info:
            yield SpeedLine(
                device=made_by["device"],
                what=item["group"],
                compared=f"{info['label']} / {info['beside']}",
                ratio=info["ratio"],
                low=info["low"],
                high=info["high"],
                at_most=info["at_most"],
                rounds=item["stats"]["rounds"],
                seconds=item["stats"]["median"],
                **{name: made_by[name] for name in ("commit", "dirty", "torch", "cpu")},
            )


def keep(figures: Iterable[SpeedLine], file: Path) -> None:
    """Write the figures in place of older ones of the same device; those of others stay."""
    with locked(file.with_name(".speed.lock")):
        before = results.read_lines(file, SpeedLine) if file.exists() else []
        lines = {key(line): line for line in [*before, *figures]}
        if lines:
            results.write_lines([lines[at] for at in sorted(lines)], file, "speed")


def key(line: SpeedLine) -> tuple[str, ...]:
    """What no other line of the file has."""
    return tuple(getattr(line, name) for name in SpeedLine.KEY)


@click.command(context_settings={"ignore_unknown_options": True})
@click.option("--results", "results_dir", type=click.Path(path_type=Path), default="results", show_default=True)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def main(results_dir: Path, arguments: tuple[str, ...]) -> None:
    """Run the benchmarks on one core, or those that ARGUMENTS choose, as for pytest, and keep their ratios."""
    made_by = provenance("cpu")
    with tempfile.TemporaryDirectory() as folder:
        measured = Path(folder) / "measured.json"
        command = [sys.executable, "-m", "pytest", *NOTHING, *BENCH, f"--benchmark-json={measured}", *arguments]
        code = subprocess.run(command, cwd=repository(), env={**os.environ, "OMP_NUM_THREADS": "1"}).returncode
        figures = list(timed(measured, {**made_by, "device": made_by["cpu"]}))
    if figures and made_by["dirty"] == "false":
        keep(figures, results_dir / SpeedLine.FILE)
        click.echo(f"{len(figures)} ratios: {results_dir / SpeedLine.FILE}")
    elif figures:
        click.echo("the code differs from its commit, so that no ratio was kept")
    sys.exit(code)


if __name__ == "__main__":
    main()
