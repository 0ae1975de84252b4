"""One file per verb that does more than one thing.

Takes a job, which says what was asked for. Calls training, evidence and report in order, and gives an exit code.
Decides no verdict and draws no figure: what it orders stands elsewhere.
"""
