"""``python -m paper_repro``."""

import sys
import traceback

try:
    from paper_repro.cli import main
except Exception:  # a library that is missing or broken: Python's own exit code, 1, would be an answer
    traceback.print_exc()
    sys.exit(70)

main()
