"""How rows are trained: one TOML file per table, and the rows of this project's own experiments.

Takes the papers' numbers and the TOML files of this folder; gives tables. A row has one spec for each tier that trains
it. Knows no data, no training loop and no results.
"""
