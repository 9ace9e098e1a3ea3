"""How reprs name the package: graphc, or torch where it has been put in torch's place."""

from __future__ import annotations

_roots = ["graphc"]


def spelled(name: str) -> str:
    """`float32` as `graphc.float32`."""
    return f"{_roots[0]}.{name}"


def spell_as(root: str) -> None:
    """Let reprs begin with `root` from now on."""
    _roots[0] = root
