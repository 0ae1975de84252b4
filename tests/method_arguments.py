"""What a method is given in tests of all methods."""

from __future__ import annotations

from typing import Any

# those that are not named take a sparsity
ARGUMENTS: dict[str, dict[str, Any]] = {
    "dense": {},
    "str": {"s_init": -3.0},
    "str-gs": {"s_init": -3.0},
    "str-filter": {"s_init": -3.0},
    "str-weight": {"s_init": -3.0},
    "str-filter-pruning": {"s_init": -0.01, "g": "exp"},  # importances and scales begin at 1
    "str-bn": {"s_init": -0.01, "g": "exp"},
    "str-nm": {"s_init": -1.5, "slope": 2.0},
    "autosparse": {"s_init": -3.0},
    "s-lats": {"final_threshold": 0.1},
    "lats": {"final_threshold": 0.1},
    "binmask": {"pressure": 0.1},
    "continuous-sparsification": {"s_init": -0.01, "penalty": 0.1},
    "granet": {"sparsity_pct": 80.0},  # at 90 % channels die here, and what grows behind them stays at zero
    "gmp-nm": {},
    "sr-ste": {},
}


def arguments(method: str, sparsity_pct: float = 90.0) -> dict[str, Any]:
    """Those of a method by its name; the sparsity counts where it takes one and none is set above."""
    return ARGUMENTS.get(method, {"sparsity_pct": sparsity_pct})
