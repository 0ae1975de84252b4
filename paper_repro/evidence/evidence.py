"""Everything known about one table at one tier, read once: what the paper prints, the runs, and the audit."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from paper_repro import tables
from paper_repro.data.catalog import dataset
from paper_repro.evidence import results, statistics
from paper_repro.evidence.provenance import repository
from paper_repro.evidence.statistics import Summary
from paper_repro.tables import AUDIT, FULL_SCALE

# the options of a run that titles name: those that change what is computed or read, and not its speed alone
NAMED_OPTIONS = {
    "autocast=bf16": "bf16", "autocast=fp16": "fp16", "loader=ffcv": "read by FFCV", "loader=dali": "read by DALI",
}  # fmt: skip


@dataclass(frozen=True)
class Evidence:
    """One table at one tier. Frames without lines where nothing has been run; ``load`` makes it. What it has been asked
    is remembered, so its frames are not to be changed.
    """

    table: tables.Table
    tier: str
    results_dir: Path
    runs: pd.DataFrame
    budgets: pd.DataFrame
    history: pd.DataFrame
    epochs: pd.DataFrame
    audit: pd.DataFrame
    audit_elsewhere: pd.DataFrame  # of rows that other tables hold
    balance: pd.DataFrame  # of thresholds, on the paper's own data
    balance_tests: pd.DataFrame

    @property
    def plan(self) -> tables.TierPlan | None:
        """How this tier trains the table; None at tier audit."""
        return self.table.tiers.get(self.tier)

    @property
    def full_scale(self) -> bool:
        """Whether results of this tier may be compared with the paper's: its own protocol on its own network."""
        return self.plan is not None and self.tier in FULL_SCALE

    @property
    def setting(self) -> str:
        """Data sets of the runs, in table order, where it is not the paper's, the network, and how any of the runs
        computed and read: "Fashion-MNIST, width 16, bf16", or "partly bf16" where only some did.
        """
        if self.plan is None:
            return "no training"
        place = {row.id: at for at, row in enumerate(self.table.rows)}
        used = set(zip(self.runs["row"], self.runs["dataset"], strict=True))
        ordered = sorted(used, key=lambda pair: (place.get(pair[0], len(place)), pair[1]))
        return self._titled(dict.fromkeys(data for _, data in ordered) or [self.plan.base.dataset], self.runs)

    def setting_of(self, row: str) -> str:
        """The same for one row: what its runs were measured on, which need not be the data set of its recipe."""
        runs = self.row_runs(row)
        if self.plan is None or not len(runs):
            return self.setting
        return self._titled(runs["dataset"].unique(), runs)

    def _titled(self, names: Iterable[str], runs: pd.DataFrame) -> str:
        assert self.plan is not None
        titles, width = [dataset(name).title for name in names], self.plan.base.model_args.get("width")
        if len(titles) > 2:
            titles = [titles[0], f"{len(titles) - 1} other data sets"]
        chosen = [text.split() for text in runs["options"]]
        options = []
        for option, said in NAMED_OPTIONS.items():
            having = sum(option in of_run for of_run in chosen)
            if having:
                options.append(said if having == len(chosen) else f"partly {said}")
        return ", ".join([" and ".join(titles), *([] if width is None else [f"width {width}"]), *options])

    @property
    def trained_rows(self) -> tuple[str, ...]:
        """Ids of the rows that this tier has a recipe for, in table order."""
        return tuple(row.id for row in self.table.rows if self.plan is not None and row.id in self.plan.rows)

    @cached_property
    def recomputed(self) -> pd.DataFrame:
        """The lines of the audit that are of a printed number."""
        return self.audit[self.audit["printed"].ne("")]

    @cached_property
    def missing_rows(self) -> tuple[str, ...]:
        """Rows with a recipe and without a run."""
        there = set(self.runs["row"])
        return tuple(row for row in self.trained_rows if row not in there)

    @property
    def complete(self) -> bool:
        """Whether every row that this tier trains has a run, and the audit has been written where there is one."""
        return not self.missing_rows and (len(self.audit) > 0 or not self.table.audited)

    def audited(self, row: tables.Row, quantity: str) -> pd.DataFrame:
        """The audit's line for one printed number, wherever it is audited; no lines where it is not."""
        there = row.id if row.same_as is None else row.same_as[1]
        here, elsewhere = self._audited
        line = here.get((row.paper_table, row.id, quantity), elsewhere.get((row.paper_table, there, quantity)))
        return self.audit[:0] if line is None else line

    @cached_property
    def _audited(self) -> tuple[dict[object, pd.DataFrame], dict[object, pd.DataFrame]]:
        """Table, row and quantity -> line: of the own audit, and of others'."""
        key = ["table", "row", "quantity"]
        return dict(iter(self.audit.groupby(key))), dict(iter(self.audit_elsewhere.groupby(key)))

    def borrowed(self, row: tables.Row) -> bool:
        """Whether the row is another table's, and stands here only for comparison."""
        return row.same_as is not None and row.paper_table not in self.table.audited

    def row_runs(self, row: str) -> pd.DataFrame:
        """The runs of one row, by seed; no lines where there are none."""
        if row not in self._runs_of_rows:
            self._runs_of_rows[row] = self.runs.iloc[self._lines_of_rows.get(row, [])]
        return self._runs_of_rows[row]

    @cached_property
    def _runs_of_rows(self) -> dict[str, pd.DataFrame]:
        """What ``row_runs`` has given so far: rows are asked for several times a number."""
        return {}

    @cached_property
    def _lines_of_rows(self) -> dict[object, list[int]]:
        """Row -> where its runs stand, by seed."""
        runs = self.runs[["row", "seed"]].reset_index(drop=True).sort_values("seed")
        return {row: list(lines.index) for row, lines in runs.groupby("row")}

    @cached_property
    def lines_of_budgets(self) -> dict[object, dict[int, list[int]]]:
        """Row -> seed -> where the layers of its run stand in ``budgets``, in forward order."""
        places: dict[object, dict[int, list[int]]] = {}
        for line, (row, seed) in enumerate(zip(self.budgets["row"], self.budgets["seed"], strict=True)):
            places.setdefault(row, {}).setdefault(int(seed), []).append(line)
        return {row: dict(sorted(seeds.items())) for row, seeds in places.items()}

    def by_seed(self, row: str, column: str) -> dict[int, float]:
        """Seed -> value of one column, leaving out empty cells (diverged runs have no accuracy)."""
        lines = self._lines_of_rows.get(row, [])
        seeds, values = self.runs["seed"].iloc[lines], self.runs[column].iloc[lines]
        return {int(seed): value for seed, value in zip(seeds, values, strict=True) if not pd.isna(value)}

    def summary(self, row: str, column: str) -> Summary | None:
        """Mean over seeds with its interval; None where there is no value."""
        values = self.by_seed(row, column)
        return statistics.summarise(values.values()) if values else None

    def best_over_epochs(self, row: str) -> dict[int, float]:
        """Seed -> the best accuracy at the end of any epoch with the row's ranks, if it has some: chosen on the test
        set.
        """
        epochs = self.epochs[self.epochs["row"] == row]
        ranks = self.table.row(row).ranks
        if ranks:
            rank_w, rank_u = map(int, ranks.split("/"))
            epochs = epochs[epochs["rank_w"].eq(rank_w) & epochs["rank_u"].eq(rank_u)]
        best = epochs.groupby("seed")["val_top1_pct"].max()
        return {int(str(seed)): top1_pct for seed, top1_pct in best.items()}

    def seeds(self) -> list[int]:
        """Seeds that any row was trained with."""
        return sorted({int(seed) for seed in self.runs["seed"]})


def load(table: str, tier: str, results_dir: Path | None = None) -> Evidence:
    """Read what there is. Unknown tables and tiers, and damaged files, are UserErrors; missing files are not."""
    plan = tables.load(table)
    holders = {} if tier == AUDIT else tables.holders(plan, plan.tier(tier).name)
    folder = results_dir or repository() / "results"

    def read(name: str, kind: str) -> pd.DataFrame:
        return results.read_if_there(results.path(folder, name, tier, kind), kind)

    def of_runs(kind: str) -> pd.DataFrame:
        """The table's own lines, and those of rows whose runs stand in another table's results."""
        if tier == AUDIT:
            return results.empty(kind)
        parts = [read(table, kind)]
        for row, (name, id) in holders.items():
            if name != table:
                lines = read(name, kind)
                parts.append(lines[lines["row"] == id].assign(row=row))
        return _joined(parts)

    elsewhere = [read(name, AUDIT) for name in tables.sources(table) if name != table]
    return Evidence(
        plan,
        tier,
        folder,
        **{kind: of_runs(kind) for kind in results.OF_RUNS},
        audit=read(table, AUDIT),
        audit_elsewhere=_joined([results.empty(AUDIT), *elsewhere]),
        balance=read(table, "balance"),
        balance_tests=read(table, "balance_tests"),
    )


def _joined(frames: list[pd.DataFrame]) -> pd.DataFrame:
    return pd.concat([frame for frame in frames if len(frame)] or frames[:1], ignore_index=True)
