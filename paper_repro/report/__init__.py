"""What people look at: figures, notebooks, the text on the terminal, the report of `regress`.

Takes evidence; gives pictures and text. Decides nothing: a verdict is the evidence's.
"""
