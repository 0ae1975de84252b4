"""README and pages: their Python runs, their links lead somewhere, their commands exist, and the README is short."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
WITH_PYTHON = {
    "README.md": ["0.0 % of 25,502,912 weights are zero, 4089.2 M MACs"],  # STR starts dense
    "extend.md": ["49.98 %, 2104 M MACs", "1"],
    "train.md": ["0.0 % of 25,502,912 weights are zero, 4089.2 M MACs", "59.80 % of the first layer goes"],
}
TEXTS = {page.name: page.read_text(encoding="utf-8") for page in PAGES}


@pytest.mark.parametrize("name", WITH_PYTHON)
def test_the_python_in_pages_runs(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, object] = {"__name__": "readme"}
    for block in re.findall(r"```python\n(.*?)```", TEXTS[name], flags=re.DOTALL):
        exec(compile(block, name, "exec"), names)
    assert capsys.readouterr().out.splitlines() == WITH_PYTHON[name]


def test_no_other_page_has_python() -> None:
    assert {name for name, text in TEXTS.items() if "```python" in text} == WITH_PYTHON.keys()


def test_the_method_in_the_readme_is_the_example() -> None:
    _, code = (ROOT / "examples" / "my_method.py").read_text(encoding="utf-8").split("\n\n", 1)
    assert f"```python\n{code}```" in TEXTS["README.md"]
    assert f"my_method.py), {len(code.splitlines()) + 2} lines" in TEXTS["README.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", TEXTS[page.name]):
        if link.startswith("http"):
            continue
        path, _, anchor = link.partition("#")
        if path.startswith("generated/"):  # pages of the site, whose links tests/report/test_site.py follows
            continue
        target = page.parent / path if path else page
        assert target.exists(), link
        if anchor:
            headings = re.findall(r"^#+ (.*)$", target.read_text(encoding="utf-8"), flags=re.MULTILINE)
            assert anchor in {re.sub(r"[^a-z0-9 -]", "", text.lower()).replace(" ", "-") for text in headings}, link


@pytest.mark.parametrize("name", TEXTS)
def test_make_targets_exist(name: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"`make ([a-z-]+)|^make ([a-z-]+)", TEXTS[name], flags=re.MULTILINE)):
        assert re.search(rf"^{''.join(target)}:", makefile, flags=re.MULTILINE), target


def test_the_readme_is_read_in_one_sitting() -> None:
    assert len(TEXTS["README.md"].splitlines()) <= 180
