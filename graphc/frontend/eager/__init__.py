"""Eager mode's own rows: for ops whose plain meaning in NumPy would be slow (`rows.py`)."""
