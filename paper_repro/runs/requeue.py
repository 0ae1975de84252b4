"""Whether the task of a cluster is queued again: the script of the task asks this when its run did not finish.

A run that was stopped, or that died, goes on where it was. What it said itself, such as data that is damaged, would be
the same again. So that nothing is queued for ever, a run has to get further: it has failed when it ended
``STARTS`` times at the step that it had begun with.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from paper_repro.files import write
from paper_repro.runs import journal
from paper_repro.training import saved_state

STARTS = 3
SIGNALLED = 128  # exit codes of the shell above this one: a process that a signal ended


def decide(folder: Path, starts: Path, code: int) -> str:
    """Why the run in ``folder``, whose command ended with ``code``, is not to be queued again; "" where it is.

    ``starts`` is a file that remembers, from one end to the next, the step that was reached, how often it was not
    passed, and the answer.
    """
    step = saved_state.newest_step(folder) or 0
    before = json.loads(starts.read_text(encoding="utf-8")) if starts.exists() else {"step": 0, "fruitless": 0}
    fruitless = 0 if step > before["step"] else before["fruitless"] + 1
    failure = ""
    if code <= SIGNALLED and (journal.last(folder) or {}).get("how") != "died":
        failure = f"exit code {code}"
    elif fruitless >= STARTS:
        failure = f"{fruitless} starts in a row that got no further than step {step:,}"
    write(starts, json.dumps({"step": step, "fruitless": fruitless, "failure": failure}) + "\n")
    return failure


def main(folder: str, starts: str, code: str) -> int:
    """The exit code: 0 where the task is to be queued again."""
    failure = decide(Path(folder), Path(starts), int(code))
    print(f"not queued again: {failure}" if failure else "queued again", flush=True)
    return 1 if failure else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
