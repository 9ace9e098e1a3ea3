"""Convolutions by Winograd's algorithm: fewer products, between transforms of tiles."""
