"""How a network becomes sparse: one file per method, all on the protocol of ``base.Method``.

Takes a plain network; gives one whose weights are reparametrized, and at the end a plain one with exact zeros. Knows no
training loop, no table and no data.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from paper_repro.errors import called, require_known

if TYPE_CHECKING:
    from paper_repro.methods.base import Method as Method


@dataclass(frozen=True)
class Entry:
    """Where a method is: the module in this package, its class, and the arguments that make this one of it. ``drops``
    says what it takes away: weights of any network, or ranks of one that has low-rank products.
    """

    module: str
    cls: str
    preset: Mapping[str, Any] = field(default_factory=dict)
    drops: str = "weights"

    def load(self) -> type[Method]:
        method: type[Method] = getattr(importlib.import_module(f"{__name__}.{self.module}"), self.cls)
        return method


METHODS = {
    "dense": Entry("dense", "Dense"),
    # a schedule decides how many weights go, their magnitude which
    "gmp": Entry("gmp", "GMP"),
    "gmp-global": Entry("gmp", "GMP", {"distribution": "global"}),
    "gmp-erk": Entry("gmp", "GMP", {"distribution": "erk"}),
    "gmp-balance": Entry("gmp", "GMP", {"distribution": "balance"}),
    "acdc": Entry("acdc", "ACDC"),
    # straight-through: pruned weights keep learning, and may come back
    "dnw": Entry("dnw", "DNW"),
    "dpf": Entry("dpf", "DPF"),
    "st3": Entry("st3", "ST3"),
    "st3-sigma": Entry("st3", "ST3", {"distribution": "sigma"}),
    "feather": Entry("feather", "Feather"),
    "s-lats": Entry("lats", "LATS"),
    "lats": Entry("lats", "LATS", {"epochs": 100}),
    "spartan": Entry("spartan", "Spartan"),
    "dual-averaging": Entry("spartan", "Spartan", {"soft": False}),
    # sparse from the first step: weights are dropped and grown elsewhere
    "set": Entry("set", "SET"),
    "rigl": Entry("rigl", "RigL"),
    "rigl-erk": Entry("rigl", "RigL", {"distribution": "erk"}),
    "snfs": Entry("snfs", "SNFS"),
    "snfs-erk": Entry("snfs", "SNFS", {"distribution": "erk"}),
    "dsr": Entry("dsr", "DSR"),
    "granet": Entry("granet", "GraNet"),
    # thresholds learnt by SGD: STR and its extensions
    "str": Entry("str", "STR"),
    "str-gs": Entry("str", "STR", {"granularity": "global"}),
    "str-filter": Entry("str", "STR", {"granularity": "filter"}),
    "str-weight": Entry("str", "STR", {"granularity": "weight"}),
    "str-filter-pruning": Entry("str_filter_pruning", "STRFilterPruning"),
    "str-bn": Entry("str_bn", "STRBatchNorm", {"s_init": -100.0}),
    "autosparse": Entry("autosparse", "AutoSparse"),
    # a learned score for each weight
    "optg": Entry("optg", "OptG"),
    "binmask": Entry("binmask", "BinMask"),
    "continuous-sparsification": Entry("continuous_sparsification", "ContinuousSparsification"),
    # N of every M weights
    "gmp-nm": Entry("gmp", "GMP", {"distribution": "2:4"}),
    "sr-ste": Entry("sr_ste", "SRSTE"),
    "str-nm": Entry("str_n_of_m", "STRNofM"),
    # ranks instead of weights: fixed, or learnt by STR
    "low-rank": Entry("dense", "Dense", drops="ranks"),
    "str-rank": Entry("str_low_rank", "STRLowRank", drops="ranks"),
}


PLUGINS: dict[str, type[Method]] = {}  # the methods of other people that ``plugins.load`` has loaded in this process


def get(name: str, **arguments: Any) -> Method:
    """The method called ``name``, with its arguments; a misspelt name or argument is an error that names the nearest
    known one.
    """
    if name in PLUGINS:
        return called(f"method {name}", PLUGINS[name], arguments)
    require_known("method", name, METHODS)
    return called(f"method {name}", METHODS[name].load(), {**METHODS[name].preset, **arguments})


def entry_points() -> dict[str, importlib.metadata.EntryPoint]:
    """The plug-ins that are installed, by name; those that have the name of a registered method cannot be reached."""
    installed = importlib.metadata.entry_points(group=__name__)
    return {point.name: point for point in installed if point.name not in METHODS}
