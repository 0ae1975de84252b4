"""The README: its Python runs as printed, its links lead somewhere, its commands exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_python_in_the_readme_runs(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, object] = {"__name__": "readme"}
    for block in re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL):
        exec(compile(block, "README.md", "exec"), names)
    assert capsys.readouterr().out.splitlines() == [
        "0.0 % of 25,502,912 weights are zero, 4089.2 M MACs",  # STR starts dense
        "59.80 % of the first layer goes",
    ]


def test_the_method_in_the_readme_is_the_example() -> None:
    _, code = (ROOT / "examples" / "my_method.py").read_text(encoding="utf-8").split("\n\n", 1)
    assert f"```python\n{code}```" in README
    assert f"my_method.py), {len(code.splitlines()) + 2} lines" in README


def test_links_lead_somewhere() -> None:
    links = [link for link in re.findall(r"\]\(([^)]+)\)", README) if not link.startswith("http")]
    assert links
    headings = re.findall(r"^#+ (.*)$", README, flags=re.MULTILINE)
    anchors = {"#" + re.sub(r"[^a-z0-9 -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    assert [link for link in links if link not in anchors and not (ROOT / link).exists()] == []


def test_make_targets_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"make ([a-z]+)", README)):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target
