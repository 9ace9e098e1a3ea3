"""Counters that let compiled steps skip most checks: an equal number means nothing changed.

`modules` moves when any module, its hooks, mode or a `requires_grad` changes anywhere, `hooks` when
a tensor gets or loses a hook, `functions` when backward may come to run a function of a user's own
besides hooks, `groups` when groups of an optimizer change (but for one number to another of its
sign), `places` when a tensor is given other memory or memory that a program has bound moves. With
each of these, and with a global switch that calls are told apart by, moves `moved`, which alone a
call looks at that is like the last one.

`gradients` moves when a `.grad` is read, set or replaced: who holds one without that came by it
before.
"""

from __future__ import annotations

modules = 0
hooks = 0
functions = 0
groups = 0
places = 0
moved = 0
gradients = 0


def modules_changed() -> None:
    global modules, moved
    modules += 1
    moved += 1


def switch_changed() -> None:
    global moved
    moved += 1


def hooks_changed() -> None:
    global hooks, moved
    hooks += 1
    moved += 1


def functions_changed() -> None:
    global functions, moved
    functions += 1
    moved += 1


def groups_changed() -> None:
    global groups, moved
    groups += 1
    moved += 1


def places_changed() -> None:
    global places, moved
    places += 1
    moved += 1
