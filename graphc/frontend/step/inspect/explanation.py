"""`step.explain()`: why calls were traced again, and why each kernel ends where it ends."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from graphc.frontend import notebook, terminal
from graphc.frontend.step.inspect.predicted import size_text
from graphc.frontend.step.python.guards import Change

SPEC = re.compile(r"(?P<kind>\w+)\[(?P<sizes>[^\]]*)\](?P<more>.*)")  # of a tensor
SAVED = re.compile(r"(\d+) bytes through memory, which fusing on would save")
BYTES = re.compile(r"(\d+) of (\d+) bytes|(\d+) bytes|(?<=not )(\d+)(?= to store)")
NEEDED, READ = "needs its value", "read at each call"  # of a size; of a float
INTEGER = re.compile(r"-?\d+")
NUMBER = re.compile(r"-?(\d.*|inf|nan)")
SHOWN, ENDS = 12, 4  # kernels, and ends of each, that are printed


@dataclass(frozen=True, slots=True)
class Recompile:
    """Why a call was traced again, and what that cost."""

    change: Change
    ms: float

    @property
    def argument(self) -> str:
        return self.change.what

    @property
    def old(self) -> str:
        return self.change.old

    @property
    def new(self) -> str:
        return self.change.new

    @property
    def line(self) -> int:
        return self.change.line

    @property
    def fix(self) -> str:
        return remedy(self.change)

    def __str__(self) -> str:
        c = self.change
        at = f" ({c.file.rpartition('/')[2]}:{c.line})" if c.file else ""
        return f"{c.what}: {c.old} -> {c.new}{at}, {self.ms:.0f} ms; {self.fix}"


def remedy(change: Change) -> str:
    """What a person can do about a recompile."""
    if NEEDED in change.what:
        return "pad to few sizes, or do without the number there: an op in place of a loop"
    if READ in change.new:
        return "nothing: its value is read from now on"
    if change.what.startswith("argument"):
        return _of_argument(change.old, change.new)
    if change.what.startswith(("train", "mode", "condition")):
        return "both are kept; no further cost"
    return "keep it constant, or pass it as a tensor argument"


def _of_argument(old: str, new: str) -> str:
    """The same for an argument that had been `old`."""
    was, now = SPEC.fullmatch(old), SPEC.fullmatch(new)
    if was is None or now is None:
        return _of_plain(old, new)
    sizes = [m["sizes"].count(",") if m["sizes"] else -1 for m in (was, now)]
    if was["kind"] == now["kind"] and was["more"] == now["more"] and sizes[0] == sizes[1]:
        return "nothing: any size of it will do from now on, unless dynamic=False"
    return "pass one dtype and rank; a kind seen before costs nothing"


def _of_plain(old: str, new: str) -> str:
    """The same for one that is no tensor."""
    if INTEGER.fullmatch(old) and INTEGER.fullmatch(new):
        return "take a size from a tensor's shape, and pass a factor as a tensor or a float"
    if NUMBER.fullmatch(old) and NUMBER.fullmatch(new):
        return "pass it as a tensor; a float that keeps changing is read at each call"
    return "keep it constant; a value seen before costs nothing"


@dataclass(frozen=True, slots=True)
class Explanation:
    """`step.explain()`: prints as a report, and answers as attributes."""

    name: str
    programs: int
    kernels: int
    launches: int
    peak_bytes: int
    compile_seconds: float
    recompiles: tuple[Recompile, ...]
    unfused: tuple[tuple[str, str], ...]  # kernel, and why it ends where it ends
    callbacks: tuple[str, ...] = ()
    sizes: tuple[str, ...] = ()  # extents, and the conditions on them
    loops: tuple[str, ...] = ()  # their trips
    blocks: tuple[str, ...] = ()  # of each kernel of a GPU
    plans: str = ""  # how many sizes have a plan, and what these keep in memory
    lines: Mapping[str, str] = field(default_factory=dict)  # by kernel, what it is mainly for
    products: tuple[str, ...] = ()  # of half types on a CPU: how they are computed, by kernel

    def _repr_html_(self) -> str:
        return notebook.text(str(self), self.name)

    def __str__(self) -> str:
        head = (
            f"{self.name}: {_many(self.programs, 'program')} a call, "
            f"{_many(self.kernels, 'kernel')} in {_many(self.launches, 'launch', 'launches')}, "
            f"peak {size_text(self.peak_bytes)}, compiled in {self.compile_seconds:.2f} s"
        )
        rare = ("loops", self.loops), ("products", self.products), ("blocks", self.blocks)
        return "\n".join(
            [
                *terminal.wrapped(head, 4),
                *_section("recompiles", map(str, self.recompiles)),
                *_section("sizes", self.sizes),
                *_not_fused(self.unfused, self.lines),
                *(line for title, rows in rare if rows for line in _section(title, rows)),
                *_section("host callbacks", self.callbacks),
                *terminal.wrapped(f"plans: {self.plans}", 4),
            ]
        )


def _many(n: int, one: str, many: str = "") -> str:
    return f"{n} {one if n == 1 else many or one + 's'}"


def _section(title: str, rows: Iterable[str]) -> list[str]:
    rows = list(rows)
    lines = [line for row in rows for line in terminal.wrapped(f"  {row}", 4)]
    return [f"{title}: {len(rows) or 'none'}", *lines]


def _not_fused(ends: Sequence[tuple[str, str]], lines: Mapping[str, str]) -> list[str]:
    """The ends that cost most, by kernel; those that cost nothing are only counted."""
    costs = {row: sum(int(m[1]) for m in SAVED.finditer(row[1])) for row in ends}
    dear = sorted((row for row, cost in costs.items() if cost), key=lambda r: -costs[r])
    total = size_text(sum(costs.values()))
    whole = f"; fusing on would save {total} through memory, dearest first" if dear else ""
    rows = []
    for kernel, why in dear[:SHOWN]:
        line = f"  # {lines[kernel]}" if lines.get(kernel) else ""
        rows += [f"{kernel}: {size_text(costs[kernel, why])}{line}", *_ends(why)]
    if len(dear) > SHOWN:
        rows.append(f"... {len(dear) - SHOWN} that cost less: step.explain().unfused has all")
    free = [kernel for kernel, why in ends if not costs[kernel, why]]
    if free:
        rows.append(f"{len(free)} whose results are kept or cheaper stored: {', '.join(free)}")
    head = f"not fused: {_many(len(ends), 'kernel')}{whole}"
    return [
        *terminal.wrapped(head, 4),
        *(x for row in rows for x in terminal.wrapped(f"  {row}", 4)),
    ]


def _ends(why: str) -> list[str]:
    """Each result of a kernel, with the reason why it is not read in the same loop."""
    ends = [sizes_told(SAVED.sub(r"\1 bytes", end)) for end in why.split("; ")]
    more = [f"  ... {len(ends) - ENDS} more like these"] if len(ends) > ENDS else []
    return [*(f"  {end}" for end in ends[:ENDS]), *more]


def sizes_told(note: str) -> str:
    """A reason, its bytes as people read them."""
    return BYTES.sub(lambda m: " of ".join(size_text(int(n)) for n in m.groups() if n), note)
