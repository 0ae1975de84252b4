"""Everything known about one table at one tier, read once: what the paper prints, the runs, and the audit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pandas as pd

from paper_repro import tables
from paper_repro.data.catalog import dataset
from paper_repro.evidence import results, statistics
from paper_repro.evidence.provenance import repository
from paper_repro.evidence.statistics import Summary
from paper_repro.tables import AUDIT, FULL_SCALE

# what titles say of the options of a run: of those that change what is computed or read, and not its speed alone
SAID_OF_OPTIONS = {
    "autocast=bf16": "bf16",
    "autocast=fp16": "fp16",
    "loader=ffcv": "read by FFCV",
    "loader=dali": "read by DALI",
}


@dataclass(frozen=True)
class Evidence:
    """One table at one tier. Frames without lines where nothing has been run; ``load`` makes it."""

    table: tables.Table
    tier: str
    results_dir: Path
    runs: pd.DataFrame
    budgets: pd.DataFrame
    history: pd.DataFrame
    audit: pd.DataFrame
    # of rows that other tables hold
    audit_elsewhere: pd.DataFrame = field(default_factory=lambda: results.empty(AUDIT))
    epochs: pd.DataFrame = field(default_factory=lambda: results.empty("epochs"))
    # the balance of thresholds on the paper's own data, and what was tested of it
    balance: pd.DataFrame = field(default_factory=lambda: results.empty("balance"))
    balance_tests: pd.DataFrame = field(default_factory=lambda: results.empty("balance_tests"))

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
        computed and read: "Fashion-MNIST, width 16, bf16".
        """
        if self.plan is None:
            return "no training"
        ids = [row.id for row in self.table.rows]
        used = set(zip(self.runs["row"], self.runs["dataset"], strict=True))
        ordered = sorted(used, key=lambda pair: (ids.index(pair[0]), pair[1]))
        return self._titled(dict.fromkeys(data for _, data in ordered) or [self.plan.base.dataset], self.runs)

    def setting_of(self, row: str) -> str:
        """The same for one row: what its runs were measured on, which need not be the data set of its recipe."""
        runs = self.row_runs(row)
        if self.plan is None or not len(runs):
            return self.setting
        return self._titled(runs["dataset"].unique(), runs)

    def _titled(self, names: Iterable[str], runs: pd.DataFrame) -> str:
        assert self.plan is not None
        titles, width = " and ".join(dataset(name).title for name in names), self.plan.base.model_args.get("width")
        chosen = {option for text in runs["options"] for option in text.split()}
        options = [said for option, said in SAID_OF_OPTIONS.items() if option in chosen]
        return ", ".join([titles, *([] if width is None else [f"width {width}"]), *options])

    @property
    def trained_rows(self) -> tuple[str, ...]:
        """Ids of the rows that this tier has a recipe for, in table order."""
        return tuple(row.id for row in self.table.rows if self.plan is not None and row.id in self.plan.rows)

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
        for audit, id in ((self.audit, row.id), (self.audit_elsewhere, there)):
            found = audit[(audit["table"] == row.paper_table) & (audit["row"] == id) & (audit["quantity"] == quantity)]
            if len(found):
                break
        return found

    def borrowed(self, row: tables.Row) -> bool:
        """Whether the row is another table's, and stands here only for comparison."""
        return row.same_as is not None and row.paper_table not in self.table.audited

    @property
    def audits_are_there(self) -> bool:
        """Whether an audit has been written that this table's rows may be in."""
        return len(self.audit) + len(self.audit_elsewhere) > 0

    def row_runs(self, row: str) -> pd.DataFrame:
        """The runs of one row, by seed; no lines where there are none."""
        return self.runs[self.runs["row"] == row].sort_values("seed")

    def by_seed(self, row: str, column: str) -> dict[int, float]:
        """Seed -> value of one column, leaving out empty cells (diverged runs have no accuracy)."""
        frame = self.row_runs(row)
        pairs = zip(frame["seed"], frame[column], strict=True)
        return {int(seed): float(value) for seed, value in pairs if pd.notna(value)}

    def summary(self, row: str, column: str) -> Summary | None:
        """Mean over seeds with its interval; None where there is no value."""
        values = self.by_seed(row, column)
        return statistics.summarise(values.values()) if values else None

    def empty_layers(self, row: str) -> dict[int, list[str]]:
        """Seed -> the layers of the row's run of which no weight is left, in order; only seeds that have any."""
        gone = self.budgets[self.budgets["row"].eq(row) & self.budgets["sparsity_pct"].eq(100.0)]
        return {int(str(seed)): list(layers) for seed, layers in gone.groupby("seed")["layer"]}

    def epochs_at_ranks(self, row: str) -> pd.DataFrame:
        """The epochs of a row's runs at which they had its ranks; all of them for a row without ranks."""
        frame = self.epochs[self.epochs["row"] == row]
        ranks = self.table.row(row).ranks
        if not ranks:
            return frame
        rank_w, rank_u = map(int, ranks.split("/"))
        return frame[frame["rank_w"].eq(rank_w) & frame["rank_u"].eq(rank_u)]

    def best_over_epochs(self, row: str) -> dict[int, float]:
        """Seed -> the best accuracy at the end of any epoch with the row's ranks: chosen on the test set."""
        best = self.epochs_at_ranks(row).groupby("seed")["val_top1_pct"].max()
        return {int(seed): float(top1_pct) for seed, top1_pct in zip(best.index.to_list(), best, strict=True)}

    def seeds(self) -> list[int]:
        """Seeds that any row was trained with."""
        return sorted({int(seed) for seed in self.runs["seed"]})

    def run_budgets(self, method: str) -> Iterator[tuple[str, int, pd.DataFrame]]:
        """(row, seed, layers in order of definition) of every run of a method."""
        for row in self.trained_rows:
            if self.table.row(row).method == method:
                frame = self.budgets[self.budgets["row"] == row]
                for seed in sorted({int(seed) for seed in frame["seed"]}):
                    yield row, seed, frame[frame["seed"] == seed].reset_index(drop=True)


def load(table: str, tier: str, results_dir: Path | None = None) -> Evidence:
    """Read what there is. Unknown tables and tiers, and damaged files, are UserErrors; missing files are not."""
    plan = tables.load(table)
    if tier != AUDIT:
        plan.tier(tier)
    folder = results_dir or repository() / "results"

    def read(name: str, kind: str) -> pd.DataFrame:
        return results.read_if_there(results.path(folder, name, tier, kind), kind)

    holders = {} if tier == AUDIT else tables.holders(plan, tier)

    def frame(kind: str) -> pd.DataFrame:
        """The table's own lines, and those of rows whose runs stand in another table's results."""
        if kind == AUDIT:
            return read(table, kind)
        if tier == AUDIT:
            return results.empty(kind)
        there = {name: read(name, kind) for name in {table, *(name for name, _ in holders.values())}}
        parts = [there[table]]
        for row, (name, id) in holders.items():
            if name != table:
                lines = there[name][there[name]["row"] == id]
                parts.append(lines.assign(row=row))
        return pd.concat([part for part in parts if len(part)] or parts[:1], ignore_index=True)

    others = [results.path(folder, other, AUDIT, AUDIT) for other in tables.sources(table) if other != table]
    elsewhere = [audit for audit in (results.read_if_there(file, AUDIT) for file in others) if len(audit)]
    return Evidence(
        plan,
        tier,
        folder,
        frame("runs"),
        frame("budgets"),
        frame("history"),
        frame("audit"),
        pd.concat(elsewhere, ignore_index=True) if elsewhere else results.empty(AUDIT),
        frame("epochs"),
        read(table, "balance"),
        read(table, "balance_tests"),
    )
