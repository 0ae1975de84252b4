"""How rows are trained: one TOML file per table, and the rows of this project's own experiments.

Takes what the papers print and the TOML files beside it; gives tables whose rows have a spec at every tier. Knows no
data, no training loop and no results.
"""
