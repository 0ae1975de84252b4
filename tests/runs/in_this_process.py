"""Training in the test's own process, one run after another: for tests of what comes before a training and after it.
A process of its own takes six seconds to start, and has its own tests (``test_launch``).
"""

from __future__ import annotations

from collections.abc import Sequence

from paper_repro.errors import UserError
from paper_repro.runs.launch import Launch
from paper_repro.runs.worker import train
from paper_repro.spec import Spec
from paper_repro.training.distributed import ONE_PROCESS


class LaunchHere(Launch):
    """Takes the place of ``Launch``."""

    def train(self, specs: Sequence[Spec]) -> dict[str, str]:
        failures = {spec.name: self._train_here(spec) for spec in specs}
        return {name: failure for name, failure in failures.items() if failure}

    def _train_here(self, spec: Spec) -> str | None:
        try:
            train({**self.order, "spec": spec.to_dict()}, ONE_PROCESS, lambda event: self._tell(spec, event), ())
        except UserError as error:
            self._tell(spec, {"event": "failed", "text": str(error), "how": "error"})
            return str(error)
        self._tell(spec, {"event": "end", "text": None, "how": "end"})
        return None
