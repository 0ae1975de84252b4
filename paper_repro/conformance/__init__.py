"""Does a method keep the protocol?

Takes a method, registered or a plug-in; gives what it does wrong, before hours are trained on it. Knows no table.
"""
