"""Checkpoints: our own files, and readers of other formats that run no code."""
