"""Tables that a reader can sort and search, by itables. Without scripts they stay plain tables."""

from __future__ import annotations

import html
import re
from pathlib import Path

import itables
import pandas as pd
from itables.javascript import generate_init_offline_itables_html

SCRIPT = "itables.js"  # in the site's folder of static files


def script() -> str:
    """The script and styles of itables as one classic script, which a page that is opened from a disk may load too."""
    bundle = Path(itables.__file__).parent / "html" / "dt_bundle.js"
    whole = generate_init_offline_itables_html(bundle)
    return re.search(r"<script>(.*?)</script>", whole, flags=re.DOTALL)[1]  # type: ignore[index]


def sortable(frame: pd.DataFrame, name: str, caption: str, page_rows: int = 0) -> str:
    """The frame as HTML within Markdown. Cells are HTML. ``page_rows``: how many lines are shown at once; 0: all."""
    plain = frame.to_html(index=False, escape=False, border=0, na_rep="", classes="table")
    if not len(frame):
        return "Nothing has been run yet.\n"
    many = len(frame) > 12
    layout = {"topStart": "search" if many else None, "topEnd": None, "bottomStart": None, "bottomEnd": None}
    options: dict[str, int] = {"paging": False}
    if page_rows and len(frame) > page_rows:
        options, layout["bottomStart"] = {"paging": True, "pageLength": page_rows}, "paging"
    interactive = itables.to_html_datatable(
        frame,
        connected=False,
        allow_html=True,
        showIndex=False,
        table_id=name,
        classes="display compact",
        display_logo_when_loading=False,
        order=[],
        layout=layout,
        maxBytes=0,
        **options,
    )
    interactive = re.sub(r'<div id="[^"]*_fallback">.*?</div>(?=<script>)', "", interactive, flags=re.DOTALL)
    return raw(
        f'<figure class="sortable"><figcaption>{html.escape(caption)}</figcaption>\n'
        f'<div id="{name}_fallback" class="pst-scrollable-table-container">{plain}</div>\n{interactive}</figure>'
    )


def raw(text: str) -> str:
    """HTML as a block of MyST Markdown."""
    return f"```{{raw}} html\n{text}\n```\n"


def code(text: object) -> str:
    """A name in a cell."""
    return f"<code>{html.escape(str(text))}</code>"


def link(text: str, target: str) -> str:
    """A link in a cell; ``text`` is HTML."""
    return f'<a href="{html.escape(target)}">{text}</a>'
