"""``python -m paper_repro.report.site``."""

from paper_repro.report.site.build import main
from paper_repro.terminal import run_command

if __name__ == "__main__":
    run_command(main)
