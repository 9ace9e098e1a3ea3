"""Kernels keep what is large in their thread's room: a caller's stack may be small."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import threading
import graphc

conv = graphc.nn.Conv2d(512, 32, 3, padding=1, bias=False)
f = graphc.compile(lambda x: conv(x))
x = graphc.randn(1, 512, 8, 8)
want, found = f(x), []
threading.stack_size(160 << 10)
thread = threading.Thread(target=lambda: found.append(f(x)))
thread.start()
thread.join()
assert (found[0] == want).all()
"""


def test_a_thread_with_a_small_stack_runs_large_kernels() -> None:
    """A process of its own: on the stack, 3 MB of Winograd's tiles would end it."""
    subprocess.run([sys.executable, "-c", SCRIPT], check=True, timeout=120)
