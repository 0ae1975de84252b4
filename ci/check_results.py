"""Hold the committed results against the paper and the tolerances, as `make check` does: see paper_repro/checks.py."""

from __future__ import annotations

import sys
from pathlib import Path

import click

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # a checkout works without being installed

from paper_repro import checks


@click.command()
@click.option("--results", type=click.Path(path_type=Path), help="Folder of the results.  [default: the checkout's]")
@click.option("--complete", is_flag=True, help="Count INCOMPLETE as a failure too, as for a release.")
def main(results: Path | None, complete: bool) -> None:
    """Hold the committed results against the reported numbers and the tolerances."""
    sys.exit(checks.main(results, complete))


if __name__ == "__main__":
    main()
