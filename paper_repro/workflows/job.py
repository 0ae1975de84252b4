"""What a command was asked for: a table at a tier, some of its rows, and where things are kept."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from paper_repro import tables
from paper_repro.data.catalog import standing_in
from paper_repro.errors import UserError, require_known
from paper_repro.spec import Spec

ALL_ROWS = "all"


@dataclass(frozen=True)
class Job:
    """What a command works on: a table at a tier, with these seeds, in these folders."""

    table: str
    tier: str = "smoke"
    seeds: int = 1
    method: str | None = None
    rows: tuple[str, ...] = ()  # none: the headline rows, or all of ``method``; ALL_ROWS alone: all
    only: str | None = None  # the one run of this name, of any row
    jobs: int | None = None
    max_gpu_hours: float | None = None
    gpus: int = 1  # processes that train one run together
    options: str = ""  # of every run: see spec.OPTIONS
    model: str = ""  # a network of the user's in place of the table's: what ``models.plugins.find`` takes
    data_root: Path = field(default_factory=Path)
    runs: Path = Path("runs")
    results: Path = Path("results")
    checkpoints: Path = Path("checkpoints")

    def stand_ins(self) -> dict[str, str]:
        """Data set -> the one that stands in for it on this machine."""
        named = tables.load(self.table).tier(self.tier).stand_ins
        return standing_in(named, self.data_root)

    def specs(self) -> list[tuple[tables.Row, Spec]]:
        """The runs that this job asks for, in table order; UserError for a tier, method or row that does not exist."""
        table = tables.load(self.table)
        pairs = self.with_own_network(table.specs(self.tier, range(self.seeds), self.stand_ins()))
        pairs = [(row, spec.with_options(self.options)) for row, spec in pairs]
        known = {row.id for row, _ in pairs}
        for row in () if self.rows == (ALL_ROWS,) else self.rows:
            table.row(row)
            if row not in known:
                raise UserError(
                    f"row {row!r} is not trained at tier {self.tier}; these are: {', '.join(sorted(known))}"
                )
        wanted = self.wanted_rows()
        used = {row.method for row, _ in pairs}
        if self.method is not None:
            require_known(f"method in table {self.table} at tier {self.tier}", self.method, used)
        asked = [
            (row, spec)
            for row, spec in pairs
            if (not wanted or row.id in wanted) and self.method in (None, row.method) and self.only in (None, spec.name)
        ]
        if self.only and not asked:
            raise UserError(
                f"no run of table {self.table} at tier {self.tier} is called {self.only}, with these seeds and options "
                f"and the data sets in {self.data_root}: `plan` lists their names"
            )
        if not asked and self.method is not None:
            raise UserError(
                f"no row is both among {', '.join(wanted)} and of method {self.method}; leave out one of the two"
            )
        return asked

    def flags(self) -> list[str]:
        """The options of every run, as on the command line."""
        chosen = (option.split("=") for option in self.options.split())
        words = [word for name, value in chosen for word in (f"--{name.replace('_', '-')}", value)]
        return [word for word in words if word != "true"]

    def with_own_network(self, pairs: list[tuple[tables.Row, Spec]]) -> list[tuple[tables.Row, Spec]]:
        """These runs on the user's network, where the job names one (``own_network.runs``)."""
        if not self.model:
            return pairs
        from paper_repro.workflows import own_network  # only here: it imports torch

        named = () if self.rows == (ALL_ROWS,) else self.rows
        return own_network.runs(pairs, tables.load(self.table).tier(self.tier), self.model, named)

    def wanted_rows(self) -> tuple[str, ...]:
        """The rows that this job names, or the headline rows where it names none; empty for all of them."""
        if self.rows == (ALL_ROWS,) or (self.only and not self.rows):
            return ()
        if self.rows or self.method is not None:
            return self.rows
        return tables.load(self.table).tier(self.tier).headline
