"""Winograd's convolutions F(4x4, 3x3): what passes and back ends agree on.

A 4 by 4 tile of outputs takes a product at each of 36 points for a pair of channels, where the
plain sum has 144; `codegen_cpu/winograd/transforms.py` has the matrices.
"""

SIZE = 4  # outputs of a tile along each axis
TAPS = 3
POINTS = SIZE + TAPS - 1  # along each axis
