"""The process that trains one run: reads the spec from standard input, writes one JSON event per line to standard
output.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import torch

from paper_repro.errors import UserError
from paper_repro.methods import plugins
from paper_repro.spec import Spec
from paper_repro.training.loop import Interrupted, run


def main() -> int:
    """Train what standard input orders; the exit code."""
    order = json.load(sys.stdin)
    torch.set_num_threads(order["threads"])
    try:
        spec = Spec.from_dict(order["spec"])
        if spec.method_sha256:
            plugins.load(plugins.find(order["plugin"]))
        done = run(
            spec,
            runs=Path(order["runs"]),
            data_root=Path(order["data_root"]),
            provenance=order["provenance"],
            report=tell,
        )["result"]
        tell({"event": "result", **{key: done.get(key) for key in ("status", "top1_pct", "sparsity_pct")}})
    except UserError as error:
        tell({"event": "error", "text": str(error)})
        return error.exit_code
    except Interrupted as interruption:
        return 128 + interruption.signum
    return 0


def tell(event: dict[str, Any]) -> None:
    """One event to whoever started this process; if nobody reads any more, stop as on SIGTERM, with the state saved."""
    try:
        print(json.dumps(event), flush=True)
    except BrokenPipeError:
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - for the rest of the process
        os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
