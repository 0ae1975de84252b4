"""The printed numbers of a table, each compared with what follows from the budgets and the architecture."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace

from paper_repro import tables
from paper_repro.audit.comparison import UNITS, Comparison, compared
from paper_repro.audit.conventions import other_readings, undecided
from paper_repro.audit.recompute import (
    Estimate,
    Network,
    network,
    params_at,
    under_budget,
    under_erk,
    under_uniform,
)
from paper_repro.audit.sizes import Size, size_of
from paper_repro.errors import UserError
from paper_repro.methods.distributions import BUDGETS
from paper_repro.paper import library
from paper_repro.paper.library import AVERAGE_POOL, TOTALS
from paper_repro.paper.printed import NetworkRow, QuotedRow, Row, SizeRow
from paper_repro.paper.quantity import Quantity, parse
from paper_repro.verdict import Verdict

FOLLOWS = "follows from the sparsity or the N:M pattern of the pruned layers, which its source prints alone"
UNDECIDED = "the overall sparsity; the row may print that of its pruned layers, and its FLOPs do not tell which"
Cells = Mapping[str, Mapping[str, Quantity]]  # budget name -> layer name, or a total -> printed sparsity in percent


def of_row(row: Row, cells: Cells) -> Iterator[Comparison]:
    """What follows from the row's budget; and a number that is printed in another table too must be the same there."""
    numbers = row.reported.printed
    if "sparsity_pct" in numbers:
        net = network(row.model, row.dataset)
        recomputed = estimates(net, row, cells)
        others = other_readings(net, row, _dense_params(row))
        for quantity, number in numbers.items():
            if quantity in recomputed:
                usual = replace(recomputed[quantity], note=row.note)
                line = _by_convention(row, quantity, number, usual, others.get(quantity, {}))
                if line.verdict is Verdict.FAIL and quantity == "sparsity_pct" and undecided(net, row):
                    line = replace(line, verdict=Verdict.INCONCLUSIVE, note=UNDECIDED)
                yield line
    elif row.pruned_layers_pct:  # its source counts sparsity over the pruned layers, and prints no other number
        rule = under_uniform(network(row.model, row.dataset), parse(row.pruned_layers_pct), row.keep_dense)
        for quantity in ("sparsity_pct", "macs_m"):
            place = (row.paper_table, row.id, quantity, UNITS[quantity])
            yield Comparison(*place, "", rule[quantity].value, math.nan, Verdict.UNTESTED, FOLLOWS)
    if row.same_as is not None:
        table, id = row.same_as
        there = tables.load(table).row(id)
        again = Estimate(there.reported.printed["top1_pct"].value, note=f"row {id} of {there.paper_table}")
        yield compared(row.paper_table, row.id, "top1_pct", numbers["top1_pct"], again)


def _by_convention(
    row: Row, quantity: str, number: Quantity, usual: Estimate, others: Mapping[str, Estimate]
) -> Comparison:
    """The number in the usual way, or in the first other one that gives it where the usual one does not."""
    comparison = compared(row.paper_table, row.id, quantity, number, usual)
    if comparison.verdict is not Verdict.FAIL:
        return comparison
    for convention, estimate in others.items():
        other = compared(row.paper_table, row.id, quantity, number, estimate)
        if other.verdict is Verdict.PASS:
            note = f"{other.note}; the usual count gives {usual.value:.5g}"
            return replace(other, convention=convention, note=note)
    return comparison


def _dense_params(row: Row) -> Quantity | None:
    """The parameters of the dense network of a row as they are printed, in the table that has its budgets."""
    for name, facts in library.tables().items():
        if (facts.model, facts.dataset, facts.budgets_of or name) == (row.model, row.dataset, name):
            dense = next((other for other in tables.load(name).rows if other.is_dense), None)
            return None if dense is None else dense.reported.printed.get("params_m")
    return None


def estimates(net: Network, row: Row, cells: Cells) -> dict[str, Estimate]:
    """What can be recomputed of a row, by how its sparsity is spread over the layers."""
    sparsity = row.reported.printed["sparsity_pct"]
    pruned = parse(row.pruned_layers_pct) if row.pruned_layers_pct else sparsity
    match row.distribution:
        case "budget":
            return under_budget(net, _budget(cells, row))
        case "nominal":
            return {"params_m": params_at(net, sparsity), "macs_m": under_budget(net, _budget(cells, row))["macs_m"]}
        case "erk":
            return under_erk(net, sparsity)
        case "dense" | "uniform":
            recomputed = under_uniform(net, pruned, row.keep_dense)
            if not row.keep_dense:
                del recomputed["sparsity_pct"]  # it is what the others were computed from
            return recomputed
        case _:
            return {"params_m": params_at(net, sparsity)}


def _budget(cells: Cells, row: Row) -> Mapping[str, Quantity]:
    if row.budget not in cells:
        raise UserError(f"row {row.row!r} names the budget {row.budget!r}, which is not one of: {', '.join(cells)}")
    return cells[row.budget]


def sizes(table: tables.Table) -> Iterator[Comparison]:
    """How large every row's recurrent network is, and what another paper prints of such networks."""
    hidden = {line.dataset: line.hidden for line in library.lines(table.name, NetworkRow)}
    if not hidden:
        return

    def size(data_set: str, ranks: str) -> Size:
        if data_set not in hidden:
            raise UserError(f"nothing says how many hidden units {table.model} has on {data_set} in table {table.name}")
        return size_of(table.model, data_set, hidden[data_set], ranks)

    for row in table.rows:
        own, note = size(row.dataset, row.ranks), "follows from the ranks; the paper prints none"
        for quantity, value in (("params", own.params), ("size_kb", own.kb), ("macs", own.macs)):
            place = (row.paper_table, row.id, quantity, UNITS[quantity])
            yield Comparison(*place, "", value, math.nan, Verdict.UNTESTED, note)
    for line in library.lines(table.name, SizeRow):
        estimate = Estimate(size(line.dataset, line.ranks).kb, note=line.source)
        yield compared(line.paper_table, line.network, "size_kb", parse(line.size_kb), estimate)


def quoted(table: tables.Table, net: Network) -> Iterator[Comparison]:
    """Numbers held against the papers that they were taken from."""
    for line in library.lines(table.name, QuotedRow):
        row, value = table.row(line.row), parse(line.value)
        quantity: str = line.quantity
        scale, of = 1.0, ""
        if quantity == "macs_ratio":
            quantity, scale, of = "macs_m", net.account.macs / 1e6, " of the dense FLOPs"
        estimate = Estimate(value.value * scale, value.half_unit * scale, f"{line.source} has {line.value}{of}")
        yield compared(row.paper_table, row.id, quantity, row.reported.printed[quantity], estimate)


def layers(table: tables.Table, net: Network) -> Iterator[Comparison]:
    """The dense counts, which are printed with the first budgets (Tables 6 and 8; Table 7 repeats those of Table 6)."""
    facts = library.tables()[table.name]
    paper_table = next(iter(facts.budget_tables.values()))
    total, backbone = net.account, net.account.backbone()
    pool = net.average_pool if facts.layers_count_average_pool else 0
    counted = "the average pool counts" if pool else "the average pool does not count"
    exact = {layer.name: (Estimate(layer.params), Estimate(layer.macs)) for layer in total.layers}
    exact["overall"] = (Estimate(total.params), Estimate(total.macs + pool, note=counted))
    exact["backbone"] = (Estimate(backbone.params), Estimate(backbone.macs))
    exact[AVERAGE_POOL] = (Estimate(0), Estimate(net.average_pool))
    for layer, row in library.layer_rows(table.name).items():
        if layer not in exact:
            raise UserError(f"{paper_table} has a layer {layer!r} that {table.model} has not")
        for quantity, printed, estimate in zip(("params", "macs"), (row.params, row.macs), exact[layer], strict=True):
            yield compared(paper_table, layer, quantity, Quantity(printed, 0.5, str(printed)), estimate)


def budgets(table: tables.Table, net: Network, cells: Cells) -> Iterator[Comparison]:
    """The totals of published budgets, and the cells of those that follow a rule."""
    facts, printed_in = library.tables()[table.name], library.budget_tables(table.name)
    for name, budget in cells.items():
        recomputed = under_budget(net, budget)
        for row, quantity in zip(TOTALS, ("sparsity_pct", "backbone_sparsity_pct"), strict=True):
            yield compared(printed_in[name], name, quantity, budget[row], recomputed[quantity])
        rule = facts.budget_rules.get(name)
        ruled = BUDGETS[rule.distribution](net.layers, rule.sparsity_pct, rule.keep_dense) if rule else {}
        for layer, sparsity_pct in ruled.items():
            quantity = f"sparsity_pct of {layer}"
            yield compared(printed_in[name], name, quantity, budget[layer], Estimate(sparsity_pct))
