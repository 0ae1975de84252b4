"""What CI checks about the committed results: each function below is one check, and CHECKS lists them all.

Run by `make check` and `.ci/run`. Prints a line per finding and ends with OK, INCOMPLETE (something has not been run
yet; nothing is wrong) or FAIL. Exits with 1 on FAIL, and on INCOMPLETE under `--complete`. ON RECORD is a number that
is known not to come out: its verdict stays FAIL wherever it is shown, results/failures.csv says what is known about it,
and when it does come out, that line must go. The numbers to hold results against are those of the paper
(paper_repro/paper), the recipes' targets (paper_repro/experiments), and ci/tolerances.toml.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from paper_repro import tables
from paper_repro.errors import UserError
from paper_repro.evidence import claims, results, tolerances, verdicts
from paper_repro.evidence import evidence as ev
from paper_repro.evidence.evidence import Evidence
from paper_repro.evidence.lines import KINDS, WITHOUT_NETWORK, GpuLine, update_schema_document
from paper_repro.evidence.provenance import of_repository, repository
from paper_repro.paper.printed import File, Name
from paper_repro.reading import read_rows
from paper_repro.report import documents as page_parts
from paper_repro.report import figures, notebook, summary
from paper_repro.tables import AUDIT

OK, INCOMPLETE, ON_RECORD, FAIL = "OK", "INCOMPLETE", "ON RECORD", "FAIL"
REQUIRED_TIERS = (
    "smoke",
)  # tiers whose results are committed for every table; others are checked where they are there
Finding = tuple[str, str]  # OK, INCOMPLETE, ON RECORD or FAIL, and a sentence


class Failure(File):
    """A line of results/failures.csv: a reproduced number that does not come out, and what is known about it."""

    table: Name
    tier: Name
    row: Name
    quantity: Name
    known: Name


def reference_numbers(root: Path) -> Iterator[Finding]:
    """The paper's numbers are those that were transcribed: nobody edited a table without a CHANGELOG entry."""
    tables.verify()
    yield OK, f"the paper's numbers of {len(tables.names())} tables are unchanged"


def audits(root: Path) -> Iterator[Finding]:
    """Reported numbers: every audit is there, is what the code computes now, and has no FAIL; the errata are valid."""
    from paper_repro.workflows.audit import audited  # the only check that needs torch

    for name in tables.names():
        if not tables.load(name).audited:
            continue
        file = results.path(root, name, AUDIT, AUDIT)
        if not file.exists():
            yield INCOMPLETE, f"{file} is missing: run `make audit`"
            continue
        frame = results.read(file, AUDIT)
        stored = [
            (line.table, line.row, line.quantity, line.printed, str(line.verdict), line.convention)
            for line in frame.itertuples()
        ]
        now = [
            (f.paper_table, f.row, f.quantity, f.printed, str(f.verdict), f.convention)
            for f in audited(name, root / "errata.csv")
        ]
        if stored != now:
            changed = next(
                (f"{a} now, {b} on file" for a, b in zip(now, stored, strict=False) if a != b), "its length differs"
            )
            yield FAIL, f"{file} is not what the audit finds now ({changed}): run `make audit`"
        failed = frame[frame["verdict"] == FAIL]
        for line in failed.itertuples():
            yield (
                FAIL,
                f"{line.table}, {line.row}, {line.quantity}: printed {line.printed}, "
                f"recomputed {line.recomputed:g}: {line.note}",
            )
        yield OK, f"{name} audit: {summary.counted(frame['verdict'])}"


def balance(root: Path) -> Iterator[Finding]:
    """The balance of thresholds on the paper's data is what the code computes now."""
    from paper_repro.workflows.audit import audited_balance

    for name in tables.names():
        for kind, now in audited_balance(name).items():
            file = results.path(root, name, AUDIT, kind)
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


def results_files(root: Path) -> Iterator[Finding]:
    """Schema: every file reads without a finding, and the files of a tier speak of the same runs and the same
    sparsity.
    """
    for found in _tiers(root):
        file = results.path(root, found.table.name, found.tier)
        runs = {(row, seed) for row, seed in zip(found.runs["row"], found.runs["seed"], strict=True)}
        alive = found.runs[~found.runs["status"].isin(WITHOUT_NETWORK)]
        trained = {(row, seed) for row, seed in zip(alive["row"], alive["seed"], strict=True)}
        recorded = set() if found.tier == tables.CHECKPOINT else trained  # what is not trained here has no history
        # of runs of one epoch there is no such file
        per_epoch = trained if results.path(root, found.table.name, found.tier, "epochs").exists() else set()
        for kind, frame, wanted in (
            ("budgets", found.budgets, trained),
            ("history", found.history, recorded),
            ("epochs", found.epochs, per_epoch),
        ):
            there = {(row, seed) for row, seed in zip(frame["row"], frame["seed"], strict=True)}
            for row, seed in sorted((wanted - there) | (there - runs)):
                yield (
                    FAIL,
                    f"{results.path(root, found.table.name, found.tier, kind)} does not fit {file.name} "
                    f"at {row}, seed {seed}",
                )
        for key, layers in found.budgets.groupby(["row", "seed"]):
            line = alive[(alive["row"] == key[0]) & (alive["seed"] == key[1])]
            overall = float((layers["params"] * layers["sparsity_pct"]).sum() / layers["params"].sum())
            stated = float(line["sparsity_pct"].iloc[0]) if len(line) else overall
            if abs(overall - stated) > 0.01:
                yield (
                    FAIL,
                    f"{file}: {key[0]}, seed {key[1]}: layers are {overall:.2f} % sparse, the row says {stated:.2f} %",
                )
        yield OK, f"{file}: {len(found.runs)} runs of {found.runs['row'].nunique()} rows"


def recipes(root: Path) -> Iterator[Finding]:
    """Every result was trained by the recipe that the table has now, on one version of each data set."""
    for found in _tiers(root):
        file = results.path(root, found.table.name, found.tier)
        now: dict[tuple[str, int], list[str]] = {}
        for row, spec in results.specs(found.table, found.tier, found.seeds(), set(found.runs["options"])):
            now.setdefault((row.id, spec.seed), []).append(spec.name)
        for line in found.runs.itertuples():
            wanted = now.get((str(line.row), int(str(line.seed))), ["none"])
            if line.spec not in wanted:
                yield (
                    FAIL,
                    f"{file}: {line.row}, seed {line.seed} is of run {line.spec}, not of the recipe's "
                    f"{' or '.join(wanted)}",
                )
        for name, group in found.runs.groupby("dataset"):
            if group["dataset_sha256"].nunique() > 1:
                yield FAIL, f"{file}: runs on different versions of {name}"


def complete(root: Path) -> Iterator[Finding]:
    """Every row that a committed tier trains is there, with enough seeds."""
    wanted_seeds = tolerances.load().seeds
    for name in tables.names():
        for tier in REQUIRED_TIERS:
            plan = tables.load(name).tiers.get(tier)
            if plan is not None and plan.rows and not results.path(root, name, tier).exists():
                yield (
                    INCOMPLETE,
                    f"{results.path(root, name, tier)} is missing: "
                    f"run `make reproduce TABLE={name} TIER={tier} SEEDS={wanted_seeds}`",
                )
    for found in _tiers(root):
        where = f"{found.table.name}, tier {found.tier}"
        wanted = 1 if found.tier == tables.CHECKPOINT else wanted_seeds
        if found.missing_rows:
            yield INCOMPLETE, f"{where}: no run of {', '.join(found.missing_rows)}"
        few = {row: len(found.row_runs(row)) for row in found.trained_rows if 0 < len(found.row_runs(row)) < wanted}
        if few:
            yield (
                INCOMPLETE,
                f"{where}: fewer than {wanted} seeds of {', '.join(f'{row} ({count})' for row, count in few.items())}",
            )


def clean_code(root: Path) -> Iterator[Finding]:
    """Every committed result comes from code that is a commit: rows of a dirty or unknown tree are refused."""
    for found in _tiers(root):
        for dirty, group in found.runs[found.runs["dirty"] != "false"].groupby("dirty"):
            rows = ", ".join(f"{row} seed {seed}" for row, seed in zip(group["row"], group["seed"], strict=True))
            yield (
                FAIL,
                f"{found.table.name}, tier {found.tier}: dirty is {dirty} for {rows}; commit, and run these again",
            )


def gpu_figures(root: Path) -> Iterator[Finding]:
    """What was timed on GPUs is of code that is a commit; goals that are missed are said."""
    file = root / GpuLine.FILE
    lines: list[GpuLine] = results.read_lines(file, GpuLine) if file.exists() else []
    for device in dict.fromkeys(line.device for line in lines):
        timed = [line for line in lines if line.device == device]
        if any(line.dirty != "false" for line in timed):
            yield FAIL, f"{file}: the code that {device} ran is no commit; commit, and run `make gpu-check` again"
        missed = [f"{line.what}: {line.compared} is {line.ratio:.3f}" for line in timed if not line.met]
        yield OK, f"{file}: {len(timed)} figures of {device}; goals missed: {'; '.join(missed) or 'none'}"


def tolerated(root: Path) -> Iterator[Finding]:
    """Trained numbers lie within their tolerance, or are on record as failures: sparsity of its target; at full scale
    everything of the printed number. What a tier cannot test is UNTESTED.
    """
    file = root / "failures.csv"
    key = ("table", "tier", "row", "quantity")
    listed = read_rows(file, Failure, *key, may_be_empty=True) if file.exists() else []
    known = {(line.table, line.tier, line.row, line.quantity): line.known for line in listed}
    for found in _tiers(root):
        trained = []
        for row in verdicts.comparisons(found):
            for quantity, judged in row.quantities.items():
                if judged.tier == AUDIT:
                    continue
                if judged.verdict == FAIL:
                    reason = known.pop((found.table.name, found.tier, row.row, quantity), None)
                    yield (
                        FAIL if reason is None else ON_RECORD,
                        f"{found.table.name}, tier {found.tier}, {row.row}, {quantity}: "
                        f"{judged.text} against {judged.reported}: {judged.reason}{f' ({reason})' if reason else ''}",
                    )
                trained.append(judged.verdict)
        yield OK, f"{found.table.name}, tier {found.tier}: trained numbers: {summary.counted(trained)}"
    for place in known:
        yield FAIL, f"{file} has a failure that is none any more, remove it: {', '.join(place)}"


def claimed(root: Path) -> Iterator[Finding]:
    """What has been found of the paper's claims. Claims that lack their runs are incomplete; no verdict is a fault."""
    for found in _tiers(root):
        where = f"{found.table.name}, tier {found.tier}"
        checked = [result for result in claims.check(found) if result.tier == found.tier]
        of_paper = [result.verdict for result in checked if result.claim.whose == "paper"]
        if of_paper:
            yield OK, f"{where}: claims of the paper: {summary.counted(of_paper)}"
        missing = [result.id for result in checked if result.verdict == "MISSING"]
        if missing:
            yield INCOMPLETE, f"{where}: not the runs for {', '.join(missing)}"


def notebooks(root: Path) -> Iterator[Finding]:
    """Notebooks are the generated skeletons; executed copies have no error, show the committed results, and their
    figures are there.
    """
    folder = repository() / "notebooks"
    for name in tables.names():
        file = folder / f"{name}.ipynb"
        if not file.exists() or file.read_text(encoding="utf-8") != notebook.skeleton_text(name):
            yield FAIL, f"{file} is not the generated one: run `python -m paper_repro.report.notebook`"
    executed = {(table, tier): problems for table, tier, _, problems in notebook.executed_for(root, folder)}
    for found in _tiers(root):
        key = (found.table.name, found.tier)
        again = f"run `make render TABLE={key[0]} TIER={key[1]}`"
        if key not in executed:
            yield INCOMPLETE, f"results/{key[0]}/{key[1]}.ipynb is missing: {again}"
        for name in figures.names(found):
            if not figures.path(found, name).exists():
                yield INCOMPLETE, f"{figures.path(found, name)} is missing: {again}"
    for (table, tier), problems in executed.items():
        for problem in problems:
            yield FAIL, f"results/{table}/{tier}.ipynb {problem}"
        if not problems:
            yield OK, f"results/{table}/{tier}.ipynb shows these results"


def documents(root: Path) -> Iterator[Finding]:
    """Generated parts are current: the columns in results/schema.md, the numbers in README.md and docs/."""
    if update_schema_document(root / "schema.md", check=True):
        yield OK, "results/schema.md is current"
    else:
        yield FAIL, "results/schema.md is not current: run `python -m paper_repro.evidence.lines`"
    for name, parts in page_parts.DOCUMENTS.items():
        file = root.resolve().parent / name
        if not file.exists():
            yield INCOMPLETE, f"{file} is missing"
        elif page_parts.update(file, parts, root, check=True):
            yield OK, f"the numbers of {name} are current"
        else:
            yield FAIL, f"the numbers of {name} are not current: run `python -m paper_repro.report.documents`"


CHECKS: tuple[Callable[[Path], Iterable[Finding]], ...] = (
    reference_numbers,
    audits,
    balance,
    results_files,
    recipes,
    complete,
    clean_code,
    gpu_figures,
    tolerated,
    claimed,
    notebooks,
    documents,
)


def _tiers(root: Path) -> Iterator[Evidence]:
    """Every table and tier that has results."""
    for name in tables.names():
        for tier in tables.load(name).tiers:
            if results.path(root, name, tier).exists():
                yield ev.load(name, tier, root)


def check(root: Path) -> list[tuple[str, str, str]]:
    """(check, OK or INCOMPLETE or FAIL, sentence) of everything. A file that cannot be read fails each check that
    needs it.
    """
    found: list[tuple[str, str, str]] = []
    for one in CHECKS:
        try:
            found += [(one.__name__, status, sentence) for status, sentence in one(root)]
        except (UserError, OSError) as error:
            found.append((one.__name__, FAIL, str(error)))
    return found


def verdict(found: Iterable[tuple[str, str, str]]) -> str:
    """The worst status."""
    statuses = {status for _, status, _ in found}
    return FAIL if FAIL in statuses else INCOMPLETE if INCOMPLETE in statuses else OK


def main(root: Path | None = None, complete: bool = False) -> int:
    """Print what every check finds in these results (the checkout's, unless given); the exit code: 1 on FAIL, and with
    ``complete`` on INCOMPLETE too.
    """
    of_repository("ci")
    root = root or repository() / "results"
    if not root.is_dir():
        raise UserError(f"there is no folder {root} with results to check")
    found = check(root)
    for name, status, sentence in found:
        print(f"{status:<11} {name}: {sentence}")
    final = verdict(found)
    print(f"\nresults: {final}")
    return 1 if final == FAIL or (complete and final == INCOMPLETE) else 0
