"""The data sets: a file for each, or for several with the same examples. ``catalog.MODULES`` names them."""
