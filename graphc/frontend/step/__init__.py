"""A step: captured, compiled once for each signature, guarded, bound to state, and inspected."""
