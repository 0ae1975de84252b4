"""The verb ``check``: runs ``ci/check_results.py`` of the checkout, where what CI checks is listed."""

from __future__ import annotations

import runpy
from pathlib import Path

from paper_repro.errors import UserError
from paper_repro.reporting.provenance import of_repository


def main(results_dir: Path) -> int:
    """Print what ``ci/check_results.py`` finds; its exit code. UserError where the package is installed without a
    checkout.
    """
    if not results_dir.is_dir():
        raise UserError(f"there is no folder {results_dir} with results to check")
    script = of_repository("ci", "check_results.py")
    try:
        runpy.run_path(str(script))["main"](["--results", str(results_dir)])
    except SystemExit as done:
        return int(done.code or 0)
    return 0
