"""The figures of a table: every one legible on its own, and the same bytes for the same results.

To add a figure, write a function with ``@figure("name", needs=...)`` in one of these files, and name it in the TOML
file of the tables that show it. ``style`` has what all share, ``points`` the frame of accuracies. What was not measured
is not drawn.
"""

# importing a family of figures registers them
from paper_repro.report.figures import accuracy, balance, budgets, choices, published, ranks, training
from paper_repro.report.figures.registry import FIGURES, draw, names, nothing_to_draw, of_table, path, png, save

__all__ = ["FIGURES", "draw", "names", "nothing_to_draw", "of_table", "path", "png", "save"]
__all__ += ["accuracy", "balance", "budgets", "choices", "published", "ranks", "training"]
