"""Events: what a process that runs other people's code says to the one that started it, as one JSON object a line.

A method, or a library, prints when it likes. The process therefore keeps its standard output for events alone: whatever
else is written there, by Python or by anything below it, goes to standard error.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any


class Events:
    """The sending end. Made once in a process, before any code that is not the project's own."""

    def __init__(self) -> None:
        sys.stdout.flush()
        self.stream = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)
        self.stream.write("\n")  # ends a line that was begun before

    def tell(self, event: str, **values: Any) -> None:
        """Send one event, in one piece: several processes may write to one pipe."""
        self.stream.write(json.dumps({"event": event, **values}) + "\n")
        self.stream.flush()


def parsed(line: str) -> dict[str, Any] | None:
    """The event in a line; None for what was printed before ``Events`` was made, such as the words of a site hook."""
    if not line.startswith('{"event": '):
        return None
    try:
        event: dict[str, Any] = json.loads(line)
    except ValueError:
        return None
    return event
