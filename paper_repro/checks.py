"""What CI checks about the committed results: each function below is one check, and CHECKS lists them all.

Run by `make check` and `.ci/run`. Prints a line per finding and ends with OK, INCOMPLETE (something has not been run
yet; nothing is wrong) or FAIL. Exits with 1 on FAIL, and on INCOMPLETE under `--complete`. ON RECORD is a number that
is known not to come out: its verdict stays FAIL wherever it is shown, results/failures.csv says what is known about it,
and when it does come out, that line must go. The numbers to hold results against are those of the paper
(paper_repro/paper), the recipes' targets (paper_repro/experiments), and ci/tolerances.toml.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from paper_repro import tables
from paper_repro.errors import UserError
from paper_repro.evidence import claims, failures, results, tolerances, verdicts
from paper_repro.evidence import evidence as ev
from paper_repro.evidence.evidence import Evidence
from paper_repro.evidence.layers import sparsity_pct
from paper_repro.evidence.lines import KINDS, WITHOUT_NETWORK, SpeedLine, update_schema_document
from paper_repro.evidence.provenance import of_repository, repository
from paper_repro.report import documents as page_parts
from paper_repro.report import figures, notebook, summary
from paper_repro.tables import AUDIT

OK, INCOMPLETE, ON_RECORD, FAIL = "OK", "INCOMPLETE", "ON RECORD", "FAIL"
REQUIRED_TIERS = ("smoke",)  # whose results are committed for every table; others are checked where they are there
Finding = tuple[str, str]  # OK, INCOMPLETE, ON RECORD or FAIL, and a sentence


class Committed:
    """A folder of results. All checks look at the same tables and tiers, and each is read once."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._read: dict[tuple[str, str], Evidence] = {}

    def tiers(self) -> Iterator[tuple[str, Evidence]]:
        """Every table and tier that has results, and how a finding names them."""
        for name in tables.names():
            for tier in tables.load(name).tiers:
                if results.path(self.root, name, tier).exists():
                    if (name, tier) not in self._read:
                        self._read[name, tier] = ev.load(name, tier, self.root)
                    yield f"{name}, tier {tier}", self._read[name, tier]


def reference_numbers(_committed: Committed) -> Iterator[Finding]:
    """The paper's numbers are those that were transcribed: nobody edited a table without a CHANGELOG entry."""
    tables.verify()
    yield OK, f"the paper's numbers of {len(tables.names())} tables are unchanged"


def audits(committed: Committed) -> Iterator[Finding]:
    """Reported numbers: every audit is there, is what the code computes now, and has no FAIL; the errata are valid."""
    from paper_repro.workflows.audit import audited  # the only check that needs torch

    for name in (name for name in tables.names() if tables.load(name).audited):
        file = results.path(committed.root, name, AUDIT, AUDIT)
        if not file.exists():
            yield INCOMPLETE, f"{file} is missing: run `make audit`"
            continue
        frame = results.read(file, AUDIT)
        columns = ["table", "row", "quantity", "printed", "verdict", "convention"]
        stored = [tuple(map(str, cells)) for cells in frame[columns].to_numpy()]
        now = [
            (f.paper_table, f.row, f.quantity, f.printed, str(f.verdict), f.convention)
            for f in audited(name, committed.root / "errata.csv")
        ]
        if stored != now:
            changes = (f"{a} now, {b} on file" for a, b in zip(now, stored, strict=False) if a != b)
            changed = next(changes, "its length differs")
            yield FAIL, f"{file} is not what the audit finds now ({changed}): run `make audit`"
        for line in frame[frame["verdict"] == FAIL].itertuples():
            numbers = f"printed {line.printed}, recomputed {line.recomputed:g}"
            yield FAIL, f"{line.table}, {line.row}, {line.quantity}: {numbers}: {line.note}"
        yield OK, f"{name} audit: {summary.counted(frame['verdict'])}"


def balance(committed: Committed) -> Iterator[Finding]:
    """The balance of thresholds on the paper's data is what the code computes now."""
    from paper_repro.workflows.audit import audited_balance

    for name in tables.names():
        for kind, now in audited_balance(name).items():
            file = results.path(committed.root, name, AUDIT, kind)
            if not file.exists():
                yield INCOMPLETE, f"{file} is missing: run `make audit`"
                continue
            stored, key = results.read(file, kind), list(KINDS[kind].KEY)
            same = stored[key].to_dict("list") == now[key].to_dict("list")
            numbers = [column for column in now if now[column].dtype.kind == "f"]
            if same and np.allclose(stored[numbers], now[numbers].astype(float), rtol=1e-3, equal_nan=True):
                yield OK, f"{file} is what the audit finds now"
            else:
                yield FAIL, f"{file} is not what the audit finds now: run `make audit TABLE={name}`"


def results_files(committed: Committed) -> Iterator[Finding]:
    """Schema: every file reads without a finding, and the files of a tier speak of the same runs and the same
    sparsity.
    """
    for _, evidence in committed.tiers():
        name, tier = evidence.table.name, evidence.tier
        file = results.path(committed.root, name, tier)
        alive = evidence.runs[~evidence.runs["status"].isin(WITHOUT_NETWORK)]
        runs, trained = _keys(evidence.runs), _keys(alive)
        recorded = set() if tier == tables.CHECKPOINT else trained  # what is not trained here has no history
        per_epoch = _keys(alive[alive["epochs"] > 1])  # a run of one epoch has no such lines
        for kind, frame, wanted in (
            ("budgets", evidence.budgets, trained),
            ("history", evidence.history, recorded),
            ("epochs", evidence.epochs, per_epoch),
        ):
            for row, seed in sorted((wanted - _keys(frame)) | (_keys(frame) - runs)):
                other = results.path(committed.root, name, tier, kind)
                yield FAIL, f"{other} does not fit {file.name} at {row}, seed {seed}"
        stated = alive.set_index(["row", "seed"])["sparsity_pct"]
        for key, layers in evidence.budgets.groupby(["row", "seed"]):
            overall = sparsity_pct(layers)
            says = float(stated.get(key, overall))
            if abs(overall - says) > 0.01:
                of_run, sparse = f"{key[0]}, seed {key[1]}", f"{overall:.2f} % sparse"
                yield FAIL, f"{file}: {of_run}: layers are {sparse}, the row says {says:.2f} %"
        yield OK, f"{file}: {len(evidence.runs)} runs of {evidence.runs['row'].nunique()} rows"


def _keys(frame: pd.DataFrame) -> set[tuple[str, int]]:
    return set(zip(frame["row"], frame["seed"], strict=True))


def recipes(committed: Committed) -> Iterator[Finding]:
    """Every result was trained by the recipe that the table has now, on one version of each data set."""
    for _, evidence in committed.tiers():
        file = results.path(committed.root, evidence.table.name, evidence.tier)
        now: dict[tuple[str, int], list[str]] = {}
        for row, spec in results.specs(evidence.table, evidence.tier, evidence.seeds(), set(evidence.runs["options"])):
            now.setdefault((row.id, spec.seed), []).append(spec.name)
        for id, seed, run in evidence.runs[["row", "seed", "spec"]].itertuples(index=False):
            wanted = now.get((id, seed), ["none"])
            if run not in wanted:
                yield FAIL, f"{file}: {id}, seed {seed} is of run {run}, not of the recipe's {' or '.join(wanted)}"
        for name, versions in evidence.runs.groupby("dataset")["dataset_sha256"].nunique().items():
            if versions > 1:
                yield FAIL, f"{file}: runs on different versions of {name}"


def complete(committed: Committed) -> Iterator[Finding]:
    """Every row that a committed tier trains is there, with enough seeds."""
    wanted_seeds = tolerances.load().seeds
    for name, tier in itertools.product(tables.names(), REQUIRED_TIERS):
        plan, file = tables.load(name).tiers.get(tier), results.path(committed.root, name, tier)
        if plan is not None and plan.rows and not file.exists():
            train = f"make reproduce TABLE={name} TIER={tier} SEEDS={wanted_seeds}"
            yield INCOMPLETE, f"{file} is missing: run `{train}`"
    for where, evidence in committed.tiers():
        wanted = 1 if evidence.tier == tables.CHECKPOINT else wanted_seeds
        if evidence.missing_rows:
            yield INCOMPLETE, f"{where}: no run of {', '.join(evidence.missing_rows)}"
        seeds = {row: len(evidence.row_runs(row)) for row in evidence.trained_rows}
        few = ", ".join(f"{row} ({count})" for row, count in seeds.items() if 0 < count < wanted)
        if few:
            yield INCOMPLETE, f"{where}: fewer than {wanted} seeds of {few}"


def clean_code(committed: Committed) -> Iterator[Finding]:
    """Every committed result comes from code that is a commit: rows of a dirty or unknown tree are refused."""
    for where, evidence in committed.tiers():
        for dirty, runs in evidence.runs[evidence.runs["dirty"] != "false"].groupby("dirty"):
            rows = ", ".join(f"{row} seed {seed}" for row, seed in zip(runs["row"], runs["seed"], strict=True))
            yield FAIL, f"{where}: dirty is {dirty} for {rows}; commit, and run these again"


def speed_figures(committed: Committed) -> Iterator[Finding]:
    """What was timed, on a GPU or a core, is of code that is a commit; goals that are missed are said."""
    file = committed.root / SpeedLine.FILE
    lines: list[SpeedLine] = results.lines_if_there(file, SpeedLine)
    for device in dict.fromkeys(line.device for line in lines):
        timed = [line for line in lines if line.device == device]
        if any(line.dirty != "false" for line in timed):
            again = "commit, and time it anew (make gpu-check, bench)"
            yield FAIL, f"{file}: the code that {device} ran is no commit; {again}"
        missed = [f"{line.what}: {line.compared} is {line.ratio:.3f}" for line in timed if not line.met]
        yield OK, f"{file}: {len(timed)} figures of {device}; goals missed: {'; '.join(missed) or 'none'}"


def tolerated(committed: Committed) -> Iterator[Finding]:
    """Trained numbers lie within their tolerance, or are on record as failures: sparsity of its target; at full scale
    everything of the printed number. What a tier cannot test is UNTESTED.
    """
    listed = failures.read_failures(committed.root)
    known = {(line.table, line.tier, line.row, line.quantity): line.known for line in listed}
    for where, evidence in committed.tiers():
        trained = []
        for row in verdicts.comparisons(evidence):
            for quantity, judged in row.quantities.items():
                if judged.tier == AUDIT:
                    continue
                trained.append(judged.verdict)
                if judged.verdict == FAIL:
                    known_of = known.pop((evidence.table.name, evidence.tier, row.row, quantity), None)
                    numbers = f"{judged.text} against {judged.reported}: {judged.reason}"
                    yield (
                        ON_RECORD if known_of else FAIL,
                        f"{where}, {row.row}, {quantity}: {numbers}{f' ({known_of})' if known_of else ''}",
                    )
        yield OK, f"{where}: trained numbers: {summary.counted(trained)}"
    for place in known:
        file = committed.root / failures.FILE
        yield FAIL, f"{file} has a failure that is none any more, remove it: {', '.join(place)}"


def claimed(committed: Committed) -> Iterator[Finding]:
    """What has been found of the paper's claims. Claims that lack their runs are incomplete; no verdict is a fault."""
    for where, evidence in committed.tiers():
        checked = [result for result in claims.check(evidence) if result.tier == evidence.tier]
        of_paper = [result.verdict for result in checked if result.claim.whose == "paper"]
        if of_paper:
            yield OK, f"{where}: claims of the paper: {summary.counted(of_paper)}"
        missing = [result.id for result in checked if result.verdict == "MISSING"]
        if missing:
            yield INCOMPLETE, f"{where}: not the runs for {', '.join(missing)}"


def notebooks(committed: Committed) -> Iterator[Finding]:
    """Notebooks are the generated skeletons; executed copies have no error, show the committed results, and their
    figures are there.
    """
    folder = repository() / "notebooks"
    for name in tables.names():
        file = folder / f"{name}.ipynb"
        if not file.exists() or file.read_text(encoding="utf-8") != notebook.skeleton_text(name):
            yield FAIL, f"{file} is not the generated one: run `python -m paper_repro.report.notebook`"
    executed = {(table, tier): problems for table, tier, _, problems in notebook.executed_for(committed.root, folder)}
    for _, evidence in committed.tiers():
        name, tier = evidence.table.name, evidence.tier
        pictures = [figures.path(evidence, figure) for figure in figures.names(evidence)]
        missing = [picture for picture in pictures if not picture.exists()]
        for file in [*([] if (name, tier) in executed else [Path("results", name, f"{tier}.ipynb")]), *missing]:
            yield INCOMPLETE, f"{file} is missing: run `make render TABLE={name} TIER={tier}`"
    for (name, tier), problems in executed.items():
        for problem in problems:
            yield FAIL, f"results/{name}/{tier}.ipynb {problem}"
        if not problems:
            yield OK, f"results/{name}/{tier}.ipynb shows these results"


def documents(committed: Committed) -> Iterator[Finding]:
    """Generated parts are current: the columns in results/schema.md, the numbers in README.md and docs/."""
    if update_schema_document(committed.root / "schema.md", check=True):
        yield OK, "results/schema.md is current"
    else:
        yield FAIL, "results/schema.md is not current: run `python -m paper_repro.evidence.lines`"
    for name, parts in page_parts.DOCUMENTS.items():
        file = committed.root.resolve().parent / name
        if not file.exists():
            yield INCOMPLETE, f"{file} is missing"
        elif page_parts.update(file, parts, committed.root, check=True):
            yield OK, f"the numbers of {name} are current"
        else:
            yield FAIL, f"the numbers of {name} are not current: run `python -m paper_repro.report.documents`"


CHECKS: tuple[Callable[[Committed], Iterable[Finding]], ...] = (
    reference_numbers, audits, balance, results_files, recipes, complete, clean_code, speed_figures, tolerated, claimed,
    notebooks, documents,
)  # fmt: skip


def check(root: Path) -> list[tuple[str, str, str]]:
    """(check, OK or INCOMPLETE or FAIL, sentence) of everything. A file that cannot be read fails each check that
    needs it.
    """
    committed = Committed(root)
    findings: list[tuple[str, str, str]] = []
    for one in CHECKS:
        try:
            findings += [(one.__name__, status, sentence) for status, sentence in one(committed)]
        except (UserError, OSError) as error:
            findings.append((one.__name__, FAIL, str(error)))
    return findings


def verdict(findings: Iterable[tuple[str, str, str]]) -> str:
    """The worst status."""
    statuses = {status for _, status, _ in findings}
    return next((status for status in (FAIL, INCOMPLETE) if status in statuses), OK)


def main(root: Path | None = None, complete: bool = False) -> int:
    """Print what every check finds in these results (the checkout's, unless given); the exit code: 1 on FAIL, and with
    ``complete`` on INCOMPLETE too.
    """
    of_repository("ci")
    root = root or repository() / "results"
    if not root.is_dir():
        raise UserError(f"there is no folder {root} with results to check")
    findings = check(root)
    for name, status, sentence in findings:
        print(f"{status:<11} {name}: {sentence}")
    final = verdict(findings)
    print(f"\nresults: {final}")
    return 1 if final == FAIL or (complete and final == INCOMPLETE) else 0
