"""One run: data in, steps, a record out.

Takes a spec; gives a trained network and the record of its training. Knows no method by name, no table and no claim.
"""
