"""One file per verb that does more than one thing.

Takes what was asked for (a job); calls training, evidence and report in order. What it orders stands elsewhere.
"""
