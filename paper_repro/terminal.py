"""What the terminal shows, and how a command ends there. Text is printed as it is: paths, errors and a plug-in's words
may hold brackets and colons, which rich would take for markup. Emphasis is asked for in code:
``Text.assemble(("word", "bold"), rest)``.
"""

from __future__ import annotations

import codecs
import sys
import traceback
from typing import Any, NoReturn, TextIO

import click
import rich.console
from rich.text import Text

from paper_repro.errors import CRASHED, UserError

ASCII = dict.fromkeys("–−—", "-") | dict.fromkeys("“”", '"') | {"’": "'", "…": "..."}
ASCII |= {"×": "x", "≤": "<=", "≥": ">=", "±": "+-"}


class Console(rich.console.Console):
    """rich's, without markup. A file or a pipe has no width of its own; tables need more than rich's 80 columns."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **settings)
        if not self.is_terminal and "width" not in settings:
            self.width = 160
        self.said: set[str] = set()

    def say(self, *lines: str | Text) -> None:
        """Print sentences, each a line of its own, however long: a terminal wraps it, and a file keeps it whole."""
        for line in lines:
            self.print(line, soft_wrap=True)

    def print_once(self, text: str) -> None:
        """Print a sentence that this console has not printed in this way before."""
        if text not in self.said:
            self.said.add(text)
            self.say(text)


def in_any_encoding(*streams: TextIO) -> None:
    """Let streams write what their encoding lacks as the ASCII that is nearest, or as an escape."""
    codecs.register_error("paper_repro", _nearest)
    for stream in streams:
        if hasattr(stream, "reconfigure"):  # not where a test, or a caller, has put something else in its place
            stream.reconfigure(errors="paper_repro")


def run_command(command: click.Command) -> NoReturn:
    """Run a command with the arguments of this process, and exit. Mistakes of the user end in one sentence on standard
    error and exit code 2, not in a traceback; a fault of this program ends in one, and in an exit code that is no
    answer.
    """
    try:
        in_any_encoding(sys.stdout, sys.stderr)
        sys.exit(command.main(standalone_mode=False))
    except (click.exceptions.Abort, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except OSError as error:  # full disk, read-only folder: the message names the file
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except Exception:  # Python's own exit code would be 1, which is an answer
        traceback.print_exc()
        print("error: that is a fault of this program, not an answer; please report it", file=sys.stderr)
        sys.exit(CRASHED)


def _nearest(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    lost = error.object[error.start : error.end]
    return "".join(ASCII.get(c) or c.encode("ascii", "backslashreplace").decode() for c in lost), error.end
