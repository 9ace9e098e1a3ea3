"""One counter that lets compiled steps skip most checks: an equal number means no module changed.

It moves when any module, hook, mode or `requires_grad` changes anywhere.
"""

from __future__ import annotations

modules = 0


def modules_changed() -> None:
    global modules
    modules += 1
