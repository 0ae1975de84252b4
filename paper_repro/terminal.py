"""What the terminal shows. Text is printed as it is: paths, errors and a plug-in's words may hold brackets and colons,
which rich would take for markup. Emphasis is asked for in code: ``Text.assemble(("word", "bold"), rest)``.
"""

from __future__ import annotations

import codecs
from typing import Any, TextIO

import rich.console

ASCII = dict.fromkeys("–−—", "-") | dict.fromkeys("“”", '"') | {"’": "'", "…": "..."}
ASCII |= {"×": "x", "≤": "<=", "≥": ">=", "±": "+-"}


class Console(rich.console.Console):
    """rich's, without markup. A file or a pipe has no width of its own; tables need more than rich's 80 columns."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **settings)
        if not self.is_terminal and "width" not in settings:
            self.width = 160
        self.said: set[str] = set()

    def print_once(self, text: str) -> None:
        """Print a sentence that this console has not printed in this way before."""
        if text not in self.said:
            self.said.add(text)
            self.print(text, soft_wrap=True)


def in_any_encoding(*streams: TextIO) -> None:
    """Let streams write what their encoding lacks as the ASCII that is nearest, or as an escape."""
    codecs.register_error("paper_repro", _nearest)
    for stream in streams:
        if hasattr(stream, "reconfigure"):  # not where a test, or a caller, has put something else in its place
            stream.reconfigure(errors="paper_repro")


def _nearest(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    lost = error.object[error.start : error.end]
    return "".join(ASCII.get(c) or c.encode("ascii", "backslashreplace").decode() for c in lost), error.end
