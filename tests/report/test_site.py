"""The site: built whole, from what is committed, and complete without a network."""

from __future__ import annotations

import re
import runpy
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from paper_repro import methods, tables

pytest.importorskip("sphinx", reason="`make site` installs what the site needs")
pytest.importorskip("bokeh")

from paper_repro.evidence import provenance
from paper_repro.report.site import build, pages
from paper_repro.report.site.build import sources
from paper_repro.report.site.sortable import sortable

# itables' own, about pandas to come
pytestmark = pytest.mark.filterwarnings("ignore:The inplace keyword in DataFrame.reset_index")
ROOT = Path(__file__).parents[2]
ELSEWHERE = re.compile(r"^(https?:)?//")
LOADS = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "audio": "src"}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[Path, bytes]]:
    """A folder for the site, and what is generated in it."""
    folder = tmp_path_factory.mktemp("repository")
    return folder, sources(ROOT / "results", folder / "docs")


@pytest.fixture(scope="module")
def site(made: tuple[Path, dict[Path, bytes]]) -> Path:
    """The whole site, built from a copy of the repository's docs, as ``make site`` builds it."""
    folder, generated = made
    shutil.copytree(ROOT / "docs", folder / "docs", ignore=shutil.ignore_patterns("generated"))
    for name in ("paper_repro", "examples", "results", "CONTRIBUTING.md"):
        (folder / name).symlink_to(ROOT / name)
    for file, content in generated.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content)
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "--keep-going", "docs", "site"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "site"


class Page(HTMLParser):
    """What a page loads, where it links to, and what a screen reader would miss."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.ids: set[str] = set()
        self.without_alt: list[str] = []
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.ids.add(values.get("id", ""))
        if tag in LOADS and LOADS[tag] in values:
            self.loads.append(values[LOADS[tag]])
        if tag == "link" and values.get("rel") in ("stylesheet", "preload", "icon", "preconnect"):
            self.loads.append(values["href"])
        if tag == "a" and "href" in values:
            self.links.append(values["href"])
        if tag == "img" and not values.get("alt"):
            self.without_alt.append(values.get("src", ""))


@pytest.mark.slow
def test_every_page_is_there_and_loads_nothing_from_elsewhere(site: Path) -> None:
    pages = {
        file.relative_to(site).as_posix(): Page(file) for file in site.rglob("*.html") if "_static" not in file.parts
    }
    wanted = {f"generated/tables/{name}.html" for name in tables.names()}
    wanted |= {f"generated/methods/{name}.html" for name in methods.METHODS}
    wanted |= {"index.html", "balance.html", "compare.html", "others.html", "reproduce.html", "trained.html"}
    wanted |= {"generated/errata.html", "generated/failures.html", "contributing.html", "search.html"}
    assert wanted <= pages.keys()
    for name, page in pages.items():
        assert [load for load in page.loads if ELSEWHERE.match(load)] == [], name
        for load in page.loads:
            assert (site / name).parent.joinpath(load.split("?")[0]).exists(), (name, load)
    for file in [*site.rglob("*.css"), *site.rglob("*.js")]:
        text = file.read_text(encoding="utf-8")
        assert not re.search(r"@import\s+(url\()?[\"']?https?:|url\([\"']?https?:", text), file


@pytest.mark.slow
def test_links_of_the_generated_pages_lead_somewhere(site: Path) -> None:
    pages = {file: Page(file) for file in site.rglob("*.html")}
    for file, page in pages.items():
        for link in page.links:
            path, _, anchor = link.partition("#")
            if ELSEWHERE.match(link) or link.startswith("mailto:"):
                continue
            target = (file.parent / path).resolve() if path else file
            assert target.exists(), (file.name, link)
            if anchor and target in pages and "generated" in target.parts:
                assert anchor in pages[target].ids or f'id=\\"{anchor}\\"' in target.read_text(encoding="utf-8"), link


@pytest.mark.slow
def test_pictures_have_words(site: Path) -> None:
    for name in ("index.html", "generated/tables/resnet50.html"):
        assert Page(site / name).without_alt == [], name


def test_a_method_that_takes_ranks_leads_to_its_tables(made: tuple[Path, dict[Path, bytes]]) -> None:
    folder, generated = made
    page = generated[folder / "docs" / "generated" / "methods" / "low-rank.md"].decode()
    assert "products of two factors" in page and "[`rnn`](../tables/rnn.md)" in page and "Not trained yet" not in page


def test_the_same_results_give_the_same_pages(made: tuple[Path, dict[Path, bytes]]) -> None:
    folder, generated = made
    assert sources(ROOT / "results", folder / "docs") == generated


def test_results_without_a_list_of_failures_have_none_on_record(tmp_path: Path) -> None:
    assert pages.failures(tmp_path).endswith(" None is on record.\n")
    line = "resnet50,smoke,gmp-90,trained_sparsity_pct,diverges"
    (tmp_path / "failures.csv").write_text(f"table,tier,row,quantity,known\n{line}\n", encoding="utf-8")
    text = pages.failures(tmp_path)
    assert "diverges" in text and "What is known" in text and "trained sparsity" in text and "None is" not in text


def test_a_mistake_ends_in_a_sentence(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["site"])
    monkeypatch.setattr(provenance, "repository", lambda: Path("installed"))
    with pytest.raises(SystemExit) as done:
        runpy.run_path(str(Path(build.__file__).with_name("__main__.py")), run_name="__main__")
    said = capsys.readouterr().err
    assert done.value.code == 2 and said.startswith("error: paper_repro is installed without its repository")


def test_a_table_is_readable_without_scripts() -> None:
    import pandas as pd

    text = sortable(pd.DataFrame({"Row": ["<code>gmp-80</code>"], "Top-1 %": ["86.1"]}), "one", "A caption & more")
    plain = text.partition("<script")[0]
    assert "<td><code>gmp-80</code></td>" in plain and "86.1" in plain and "A caption &amp; more" in plain
