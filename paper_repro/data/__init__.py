"""The data sets: find, fetch, verify, load.

Takes a name and a folder; gives arrays, images or loaders. Knows no model and no method.
"""
