"""What each op means, in plain NumPy: short and obviously right rather than fast.

A function here is the row of an op in `ir/ops.py`, and what every pass and back end must
reproduce. A file for each family of ops.
"""
