"""Contractions: dot and convolution as register tiles over packed panels."""
