"""Recompute what the paper prints from what else it prints.

Parameters, MACs, sizes, numbers of the running text, curves, and the balance of thresholds. Takes the paper's numbers,
the models and the accounting; gives lines with verdicts. Knows no training.
"""
