"""What the terminal shows. Text is printed as it is: paths, errors and a plug-in's words may hold brackets and colons,
which rich would take for markup. Emphasis is asked for in code: ``Text.assemble(("word", "bold"), rest)``.
"""

from __future__ import annotations

from typing import Any

import rich.console


class Console(rich.console.Console):
    """rich's, without markup. A file or a pipe has no width of its own; tables need more than rich's 80 columns."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(markup=False, emoji=False, highlight=False, **settings)
        if not self.is_terminal and "width" not in settings:
            self.width = 160
