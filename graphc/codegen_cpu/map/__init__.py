"""Everything that is no contraction: loop nests with vectors over one axis."""
