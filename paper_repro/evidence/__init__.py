"""From records of runs to verdicts.

Takes records, the audit and the paper's numbers; gives results files, statistics, contrasts, claims and verdicts.
Knows no figure, no notebook, and does not train.
"""
