"""Runs programs on the CPU: threads, arena, executor, and the cache of compiled kernels on disk."""
