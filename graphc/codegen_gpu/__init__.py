"""Kernel to Triton text to cubin."""
