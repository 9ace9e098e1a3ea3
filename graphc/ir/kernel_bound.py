"""How large a stored float may be, and how a kernel's text says so.

store b3[d0*128 + d1] = %5 within 262144.0 by c0    larger or NaN: stops at the commit point
store b5[d0] = %6 noted within 1e12 by c1           behind that: is said, and stops nothing
"""

from __future__ import annotations

from dataclasses import dataclass

PATTERN = r"(?: (noted )?within (\S+) by (\S+))?"


@dataclass(frozen=True, slots=True)
class Bound:
    """What is larger than `limit`, or NaN, is reported for `site`, an i64 argument; `late`: where
    the program has committed already."""

    limit: float
    site: str
    late: bool = False

    def __str__(self) -> str:
        return f" {'noted ' if self.late else ''}within {self.limit!r} by {self.site}"


def parsed(late: str | None, limit: str | None, site: str | None) -> Bound | None:
    """Of the groups of `PATTERN`."""
    return Bound(float(limit), site, bool(late)) if limit and site else None
