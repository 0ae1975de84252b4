"""What each method is called, and how it is drawn: one colour and marker wherever it appears.

Colours are Okabe and Ito's, made for colour-blind readers, and darker or lighter shades of them; methods of one kind
share a hue, and a marker tells them apart.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Look:
    """Name for people, colour, marker, and the kind of method that it is shown with."""

    name: str
    colour: str
    marker: str
    kind: str


DENSE, SCHEDULE, STRAIGHT, REGROWTH, LEARNED, LOW_RANK = (
    "dense",
    "pruned on a schedule",
    "straight-through gradients",
    "sparse from the first step",
    "STR and its extensions",
    "low rank",
)
KINDS = (SCHEDULE, STRAIGHT, REGROWTH, LEARNED)

LOOKS: Mapping[str, Look] = {
    "dense": Look("Dense", "#000000", "*", DENSE),
    "gmp": Look("GMP", "#D55E00", "s", SCHEDULE),
    "gmp-global": Look("GMP, global", "#8C3D00", "h", SCHEDULE),
    "gmp-erk": Look("GMP + ERK", "#E08214", "^", SCHEDULE),
    "gmp-balance": Look("GMP, balance", "#F4A582", "*", SCHEDULE),
    "dnw": Look("DNW", "#009E73", "^", STRAIGHT),
    "dpf": Look("DPF", "#666666", "X", STRAIGHT),
    "st3": Look("ST-3", "#E69F00", "p", STRAIGHT),
    "st3-sigma": Look("ST-3-sigma", "#8A6000", "H", STRAIGHT),
    "feather": Look("Feather", "#5B2A86", ">", STRAIGHT),
    "set": Look("SET", "#56B4E9", "P", REGROWTH),
    "rigl": Look("RigL", "#CC79A7", "D", REGROWTH),
    "rigl-erk": Look("RigL + ERK", "#8E3A6B", "d", REGROWTH),
    "snfs": Look("SNFS", "#A6761D", "v", REGROWTH),
    "snfs-erk": Look("SNFS + ERK", "#5E4210", "<", REGROWTH),
    "dsr": Look("DSR", "#2B7A78", "8", REGROWTH),
    "str": Look("STR", "#0072B2", "o", LEARNED),
    "str-gs": Look("STR-GS", "#D55E00", "s", LEARNED),
    "str-filter": Look("STR per filter", "#009E73", "^", LEARNED),
    "str-weight": Look("STR per weight", "#CC79A7", "D", LEARNED),
    "str-filter-pruning": Look("STR filter pruning", "#A6761D", "v", LEARNED),
    "str-bn": Look("STR-BN", "#666666", "X", LEARNED),
    "low-rank": Look("Low rank", "#D55E00", "s", LOW_RANK),
    "str-rank": Look("STR, learnt ranks", "#0072B2", "o", LOW_RANK),
    "search": Look("STR, by hand", "#D55E00", "s", LEARNED),
    "controller": Look("STR, controller", "#009E73", "^", LEARNED),
    "freeze": Look("STR, freeze", "#CC79A7", "D", LEARNED),
}
OTHER = ("#444444", "X", "another method")  # a plug-in
# what follows a method's name in the id of a row: whose budget it was given
BUDGETS = {"uniform": ("uniform budget", "s"), "erk": ("ERK budget", "^"), "str": ("STR's budget", "o")}


def look(series: str) -> Look:
    """The look of a method, or of a method with a budget ("dnw-str" is DNW with STR's budget)."""
    if series in LOOKS:
        return LOOKS[series]
    method, _, budget = series.rpartition("-")
    if method in LOOKS and budget in BUDGETS:
        words, marker = BUDGETS[budget]
        return replace(LOOKS[method], name=f"{LOOKS[method].name}, {words}", marker=marker)
    return Look(series, *OTHER)
