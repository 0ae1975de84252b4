"""One file per verb that does more than one thing.

Takes what was asked for (a job); calls training, evidence and report in order, and gives an exit code. Decides no
verdict and draws no figure: what it orders stands elsewhere.
"""
