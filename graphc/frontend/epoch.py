"""Counters that let compiled steps skip most checks: an equal number means nothing changed.

`modules` moves when any module, its hooks, mode or a `requires_grad` changes anywhere, `hooks` when
a tensor gets or loses a hook, `functions` when backward may come to run a function of a user's own
besides hooks, `groups` when groups of an optimizer change (but for one number to another of its
sign), `gradients` when a `.grad` is read, set or replaced: who holds one without that came by it
before.
"""

from __future__ import annotations

modules = 0
hooks = 0
functions = 0
groups = 0
gradients = 0


def modules_changed() -> None:
    global modules
    modules += 1


def hooks_changed() -> None:
    global hooks
    hooks += 1


def functions_changed() -> None:
    global functions
    functions += 1


def groups_changed() -> None:
    global groups
    groups += 1
