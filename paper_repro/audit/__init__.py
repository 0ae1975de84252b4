"""Recompute what the paper prints from what else it prints: parameters, MACs, sizes, numbers of the text, curves and the balance of thresholds.

Takes the paper's numbers, the models and the accounting; gives lines with verdicts. Knows no training.
"""
