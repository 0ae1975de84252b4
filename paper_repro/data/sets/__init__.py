"""The data sets: a file for each, or for several with the same examples. ``sets.toml`` has their facts."""
