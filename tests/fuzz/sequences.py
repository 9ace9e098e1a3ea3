"""`python -m tests.fuzz.sequences state 10000` runs random sequences of calls and changes.

The kinds are `state` (of Python) and `training` (of what a step trains). A third number is the
first seed; a sequence that fails prints its seed, its program and its changes.
"""

from __future__ import annotations

import sys

from tests.fuzz import state, training

KINDS = {"state": state.run, "training": training.run}


def main(kind: str, count: str, first: str = "0") -> None:
    for seed in range(int(first), int(first) + int(count)):
        KINDS[kind](seed)
    print(f"{count} sequences agree")


if __name__ == "__main__":
    main(*sys.argv[1:])
