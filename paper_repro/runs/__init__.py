"""Many trainings, on one machine or on a cluster: processes, their messages, their progress and their cost.

Takes specs; gives finished run folders. Knows no table and no claim.
"""
