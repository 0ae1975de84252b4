"""How the paper counts. Where the usual way does not give a printed number, the audit tries the others, named here.

The usual way: parameters are the weights of convolutions and of the classifier, sparsity is the share of them that is
zero, FLOPs are their multiply-adds. The others, each of which the paper uses in more than one row:

==================  =================================================================================================
batch norm counts   Parameters are those of batch norm too: the 25.6M of the dense ResNet50 in Table 1, and both numbers
                    of DPF's row at 82.60 %.
share of dense      Parameters are the dense network's, as printed, times the share that is left. The 25.6M of the
                    dense ResNet50 count batch norm, the sparsity does not.
pruned layers       Sparsity is that of the pruned layers alone, where others stay dense. A row counts so only if its
                    FLOPs follow from that reading and do not from the other: the sparsity itself would always fit.
                    Where they follow from neither or from both, the sparsity is INCONCLUSIVE.
==================  =================================================================================================

A number that one of these gives, and the usual way does not, is PASS, and says by which convention.

One more is no choice: whether overall FLOPs count the average pool, which ``paper/tables.toml`` says. What the paper
does only once is not in this list.
"""

from __future__ import annotations

from dataclasses import replace

from paper_repro.audit.recompute import Estimate, Network, under_uniform
from paper_repro.audit.ways import BATCH_NORM, PRUNED, SHARE
from paper_repro.paper.printed import Row
from paper_repro.paper.quantity import Quantity, parse

Readings = dict[str, dict[str, Estimate]]  # quantity -> convention -> what it gives


def other_readings(net: Network, row: Row, dense_params: Quantity | None) -> Readings:
    """What the other conventions give for the numbers of a row. ``dense_params``: as printed for the dense network."""
    readings: Readings = {}
    numbers, keep_dense = row.reported.printed, row.keep_dense
    sparsity = numbers["sparsity_pct"]
    pruned = parse(row.pruned_layers_pct) if row.pruned_layers_pct else sparsity
    if row.distribution in ("dense", "uniform"):
        counted = under_uniform(net, pruned, keep_dense, counts_batch_norm=True)
        readings["params_m"] = {BATCH_NORM: counted["params_m"]}
        if keep_dense:
            readings["sparsity_pct"] = {BATCH_NORM: counted["sparsity_pct"]}
    if dense_params is not None and sparsity.value > 0:
        left = 1.0 - sparsity.value / 100.0
        share = Estimate(dense_params.value * left, note=f"{dense_params.text} M x {left:.4f}")
        readings.setdefault("params_m", {})[SHARE] = share
    if _may_be_of_pruned_layers(row):
        alone, overall = _macs_of_both(net, row)
        macs = numbers["macs_m"]
        if macs.matches(alone) and not macs.matches(overall):
            note = f"its FLOPs follow from that reading; with {sparsity.text} % overall they would be {overall:.1f} M"
            readings["sparsity_pct"][PRUNED] = Estimate(sparsity.value, note=note)
    return readings


def undecided(net: Network, row: Row) -> bool:
    """Whether a row's sparsity may be overall or that of its pruned layers alone, and its FLOPs do not tell which: they
    follow from both, or from neither.
    """
    if not _may_be_of_pruned_layers(row):
        return False
    macs = row.reported.printed["macs_m"]
    alone, overall = _macs_of_both(net, row)
    return macs.matches(alone) == macs.matches(overall)


def _may_be_of_pruned_layers(row: Row) -> bool:
    """Whether the printed sparsity could be that of the pruned layers alone, by all but the FLOPs."""
    printed = row.reported.printed
    return row.distribution == "uniform" and bool(row.keep_dense) and not row.pruned_layers_pct and "macs_m" in printed


def _macs_of_both(net: Network, row: Row) -> tuple[float, float]:
    """Multiply-adds in millions, if the printed sparsity is that of the pruned layers alone, and if it is overall."""
    sparsity = row.reported.printed["sparsity_pct"]
    alone = under_uniform(net, sparsity, row.keep_dense)
    overall = under_uniform(net, _in_pruned_layers(sparsity, alone["sparsity_pct"]), row.keep_dense)
    return alone["macs_m"].value, overall["macs_m"].value


def _in_pruned_layers(overall: Quantity, at_that: Estimate) -> Quantity:
    """The sparsity of the pruned layers that makes the network ``overall`` sparse; ``at_that``: how sparse it is when
    the pruned layers are ``overall`` sparse.
    """
    return replace(overall, value=overall.value * overall.value / at_that.value)
