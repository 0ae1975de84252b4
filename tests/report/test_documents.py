"""The parts of pages that follow from results."""

from __future__ import annotations

from pathlib import Path

import pytest

from paper_repro.errors import UserError
from paper_repro.evidence import claims, evidence, verdicts
from paper_repro.evidence.provenance import repository
from paper_repro.report import documents, summary

BALANCE = documents.DOCUMENTS["docs/balance.md"]


@pytest.mark.parametrize("name", documents.DOCUMENTS)
def test_documents_show_the_committed_results(name: str) -> None:
    current = documents.update(repository() / name, documents.DOCUMENTS[name], repository() / "results", check=True)
    assert current, "run `python -m paper_repro.report.documents`"


def test_the_summary_cuts_no_evidence_short() -> None:
    body = evidence.load("resnet50", "smoke", repository() / "results")
    checked = claims.check(body)
    lines = summary.summary(body, verdicts.comparisons(body), checked)
    told = [found for found in checked if found.tier == "smoke" and found.verdict not in summary.UNDECIDED]
    assert told and all(any(line.endswith(found.figure) for line in lines) for found in told)


def test_a_page_follows_the_results(tmp_path: Path) -> None:
    page = tmp_path / "balance.md"
    page.write_bytes((repository() / "docs" / "balance.md").read_bytes())
    assert not documents.update(page, BALANCE, tmp_path / "none", check=True)
    assert page.read_bytes() == (repository() / "docs" / "balance.md").read_bytes()
    assert not documents.update(page, BALANCE, tmp_path / "none")
    assert documents.update(page, BALANCE, tmp_path / "none")
    text = page.read_text(encoding="utf-8")
    for said in (
        "The audit has not been written",
        "No committed run has recorded",
        "No slope has been estimated",
        "Not run yet",
        "No run with learnt ranks",
    ):
        assert said in text


def test_what_stands_around_a_part_stays(tmp_path: Path) -> None:
    page = tmp_path / "README.md"
    page.write_text("# Title\n\n<!-- one, generated from results: begin -->\nold\n<!-- one: end -->\n\nend\n", "utf-8")
    assert not documents.update(page, {"one": lambda results: "new\n"}, tmp_path)
    assert page.read_text("utf-8").split("\n") == [
        "# Title", "", "<!-- one, generated from results: begin -->", "new", "<!-- one: end -->", "", "end", ""
    ]  # fmt: skip


def test_a_page_without_markers_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "balance.md").write_text("nothing", encoding="utf-8")
    with pytest.raises(UserError, match="paper, generated from results: begin"):
        documents.update(tmp_path / "balance.md", BALANCE, tmp_path)
