"""The result of this project in a few lines, for the top of README.md and of the site's front page."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from paper_repro import tables
from paper_repro.evidence import claims, evidence, verdicts
from paper_repro.evidence.claims import ClaimResult
from paper_repro.evidence.results import natural
from paper_repro.report import methods_report
from paper_repro.report.markdown import markdown_table
from paper_repro.tables import AUDIT, FULL_SCALE
from paper_repro.verdict import Verdict, worst

AGAINST_GMP = ("resnet50", "ahead-of-gmp-from-95")  # the claim that most visitors come for
HEADER = ("Question", "Answer")
IN_WORDS = {
    Verdict.PASS: "yes",
    Verdict.FAIL: "no",
    Verdict.ERRATUM: "wrong in print",
    Verdict.INCONCLUSIVE: "not decided",
    Verdict.MISSING: "not run yet",
}


def in_order() -> list[str]:
    """The tables: those of the paper by number, then those of others and of this project."""
    every = [tables.load(name) for name in tables.names()]
    return [table.name for table in sorted(every, key=lambda table: (not table.of_paper, natural(table.paper_table)))]


def result(results_dir: Path) -> str:
    """Questions that a visitor has, each with the number of verdicts that answers it."""
    bodies = {
        name: [evidence.load(name, tier, results_dir) for tier in (AUDIT, *tables.load(name).tiers)]
        for name in in_order()
        if tables.load(name).of_paper
    }
    printed = [Verdict(verdict) for audit, *_ in bodies.values() for verdict in audit.recomputed["verdict"]]
    on_print: list[Verdict] = []
    on_runs: dict[tuple[str, str], list[Verdict]] = {}
    gmp = []
    for name, of_table in bodies.items():
        for found in (found for body in of_table for found in _claims(body)):
            if found.tier == AUDIT:
                on_print.append(found.verdict)
            else:
                on_runs.setdefault((name, found.id), []).append(found.verdict)
            if (name, found.id) == AGAINST_GMP:
                gmp.append(f"tier `{found.tier}`: {_in_words(found.verdict)}, {found.figure}")
    lines = [
        ("Do the numbers that STR's paper prints follow from its published budgets?", _answer(printed)),
        ("Do the paper's claims hold on its own numbers?", _answer(on_print)),
        (
            "Do they hold on the networks that were trained here, at every tier that tested them?",
            _answer(worst(of_claim) for of_claim in on_runs.values()),
        ),
        (
            "Is STR more accurate than GMP from 95 % sparsity on, and by more the sparser the network? (STR minus GMP)",
            "<br>".join(gmp),
        ),
        ("Are other methods better than STR after equal tuning?", methods_report.who_is_ahead(results_dir)),
        ("Are the printed accuracies reproduced at the paper's own scale?", _at_full_scale(bodies)),
    ]
    return markdown_table(HEADER, [(question, answer or "not run yet") for question, answer in lines])


def _claims(body: evidence.Evidence) -> list[ClaimResult]:
    """The claims of the paper that this tier could test and has evidence of."""
    if body.tier != AUDIT and not len(body.runs):
        return []
    return [
        found
        for found in claims.check(body)
        if found.tier == body.tier
        and found.claim.whose == "paper"
        and found.verdict not in (Verdict.UNTESTED, Verdict.MISSING)
    ]


def _answer(found: Iterable[Verdict]) -> str:
    """How many of the answers are which: "508 yes (PASS), 18 wrong in print (ERRATUM)"."""
    found = list(found)
    return ", ".join(f"{found.count(verdict)} {_in_words(verdict)}" for verdict in IN_WORDS if verdict in found)


def _in_words(verdict: Verdict) -> str:
    return f"{IN_WORDS[verdict]} ({verdict})"


def _at_full_scale(bodies: Mapping[str, list[evidence.Evidence]]) -> str:
    """The verdicts on accuracies of the tiers at the paper's own scale, table by table; then the tables without any."""
    told, without = [], []
    for of_table in bodies.values():
        table = of_table[0].table
        run = [body for body in of_table if body.tier in FULL_SCALE and len(body.runs)]
        for body in run:
            told.append(f"{table.paper_table}: {_answer(verdicts.of_accuracies(body))}")
        if not run:
            without.append(table.paper_table)
    if without:
        told.append(f"no run yet: {', '.join(without)}")
    return "<br>".join(told)
