"""How Sphinx builds the site (`make site`). Nothing is executed or fetched: the pages show what is committed."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import latex2mathml.converter
from docutils import nodes
from sphinx.application import Sphinx

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from paper_repro import __version__  # noqa: E402

project = "paper-repro"
author = "The paper-repro contributors"
copyright = "the paper-repro contributors, Apache License 2.0"
version = release = __version__
language = "en"

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_design", "sphinx_copybutton"]
# the last two are parts of the front page
exclude_patterns = ["_build", "**/.ipynb_checkpoints", "generated/claims.md", "generated/status.md"]
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "off"  # the notebooks are shown as `make reproduce` executed them
nb_mime_priority_overrides = [("html", "image/png", 0)]
nb_render_markdown_format = "myst"  # the default, CommonMark, has no tables
suppress_warnings = ["myst.header", "mystnb.unknown_mime_type", "myst.xref_missing"]
autodoc_member_order = "bysource"
autodoc_typehints = "signature"

html_theme = "pydata_sphinx_theme"
html_title = "STR, checked"
html_static_path = ["_static", "generated/static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_sourcelink = False
html_last_updated_fmt = None
html_theme_options = {
    "logo": {"text": "STR, checked"},
    "navbar_end": ["theme-switcher"],
    "navbar_persistent": ["search-button"],
    "secondary_sidebar_items": ["page-toc"],
    "show_prev_next": False,
    "header_links_before_dropdown": 5,
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "a11y-high-contrast-light",
    "pygments_dark_style": "a11y-high-contrast-dark",
}
# a page without pages below it has nothing to list beside it, and wide tables need the room
ALONE = ["index", "trained", "others", "balance", "low_rank", "generated/errata", "generated/failures"]
ALONE += ["generated/tables/*", "reproduce"]
ALONE += ["compare", "train", "extend", "cluster", "checkpoints", "glossary", "api", "contributing"]
html_sidebars = {page: [] for page in ALONE}


def as_mathml(self: Any, node: nodes.Node) -> None:
    """Formulas as MathML, which browsers draw and screen readers read, without a script."""
    display = "block" if isinstance(node, nodes.math_block) else "inline"
    self.body.append(latex2mathml.converter.convert(node.astext(), display=display))
    raise nodes.SkipNode


def scripts_of_page(app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document) -> None:
    """A page loads the scripts of charts and tables only where it has any."""
    body = context.get("body", "")
    for mark, script in (('class="charts"', "bokeh.min.js"), ('class="sortable"', "itables.js")):
        if mark in body:
            app.add_js_file(script, priority=200)


def as_plain_text(app: Sphinx, what: str, name: str, item: Any, options: Any, lines: list[str]) -> None:
    """Docstrings are plain text with ``code``: a bar or an asterisk in them is itself."""
    lines[:] = [line.replace("|", r"\|").replace("*", r"\*") for line in lines]


# what a repository shows -> the page here that has it, or more
PAGES = {
    r"results/(\w+)/\w+\.ipynb": r"generated/tables/\1.md",
    r"results/(errata|failures)\.csv": r"generated/\1.md",
    r"CONTRIBUTING\.md": r"contributing.md",
}


def to_pages(app: Sphinx, page: str, source: list[str]) -> None:
    """Links to files of the repository lead to the pages of the site that show them."""
    for file, shown in PAGES.items():
        source[0] = re.sub(rf"\]\(\.\./{file}\)", rf"]({shown})", source[0])


def setup(app: Sphinx) -> dict[str, Any]:
    """What the theme and the extensions do not do."""
    app.add_html_math_renderer("mathml", (as_mathml, None), (as_mathml, None))
    app.config.html_math_renderer = "mathml"
    app.connect("autodoc-process-docstring", as_plain_text)
    app.connect("source-read", to_pages)
    app.connect("html-page-context", scripts_of_page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
