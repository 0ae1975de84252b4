"""What the papers print, as data: rows, hyperparameters, budgets, sizes, curves, numbers of the text.

Takes the CSV files beside it; gives validated rows and quantities with the digits that are printed. Knows no training.
"""
