"""Every load and store of a kernel, made to ask whether its buffer reaches that far.

A pass over the finished text of a function, so that no template can leave an access out: it follows
each pointer from the argument block (or scratch) through `getelementptr` and `select` to where
memory is touched, and refuses text that it does not understand. What lies outside is reported in
the error cell, as the ABI says (`ir/cpu_abi.py`), and touches a scratch line instead; masked lanes
are masked off. How large buffers are stands behind the scalars of the argument block: the plan of
the program says it, not the kernel.

For `GRAPHC_CHECK_BOUNDS=1`: two to ten times slower, with the same results.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from graphc.codegen_cpu.emitter import FLOAT_BITS, Emitter
from graphc.errors import InternalError
from graphc.ir.cpu_abi import OUTSIDE
from graphc.ir.kernel import Kernel

NAME = r"[%@][\w.]+"
PAST = r"(?:, !nontemporal !0)?"
ALIGN = r"(?:, align \d+)?"
LOAD = re.compile(rf"  (?P<to>{NAME}) = load (?P<type>.+), ptr (?P<at>{NAME})(?P<rest>{ALIGN})")
STORE = re.compile(rf"  store (?P<value>.+), ptr (?P<at>{NAME})(?P<rest>{ALIGN}{PAST})")
STEP = re.compile(rf"  (?P<to>{NAME}) = getelementptr [^,]+, ptr (?P<at>{NAME}), i64 (?P<by>.+)")
STEPS = re.compile(rf"  (?P<to>{NAME}) = getelementptr [^,]+, ptr (?P<at>{NAME}), <.+")
STACK = re.compile(rf"  (?P<to>{NAME}) = alloca (?P<type>[^,]+)(?:, i64 (?P<count>\d+))?{ALIGN}")
ROOM = re.compile(rf"  (?P<to>{NAME}) = getelementptr i8, ptr %room, i64 \d+ ; (?P<size>\d+) bytes")
EITHER = re.compile(rf"  (?P<to>{NAME}) = select i1 .+, ptr (?P<one>{NAME}), ptr (?P<other>{NAME})")
MASKED = re.compile(
    rf"  (?:{NAME} = )?call .+ @llvm\.masked\.(?:load|store|gather|scatter)\.[^(]+"
    rf"\((?:.+ .+, )??(?P<place>(?:ptr|<\d+ x ptr>) align (?P<size>\d+) (?P<at>{NAME})), "
    r"(?P<mask_type><(?P<lanes>\d+) x i1>) (?P<mask>%[\w.]+|splat \(i1 \w+\)|<[^>]+>)(?P<rest>.*)"
)
NUMBER = re.compile(rf"  {NAME} = ptrtoint ptr {NAME} to i64")
FETCH = re.compile(rf"  call void @llvm\.prefetch\.p0\(ptr {NAME}, .+")
EXCHANGE = re.compile(rf"  {NAME} = cmpxchg ptr (?P<at>{NAME}), .+")

SINK_BYTES = 512  # more than the widest vector
ELEMENT = re.compile(r"(?:[<\[](?P<count>\d+) x )?(?P<element>\w+)[>\]]?")


def size_of(t: str) -> int:
    """Bytes of an LLVM type as `Vec` prints it, or of an array."""
    found = ELEMENT.match(t)
    assert found is not None, t
    bits = FLOAT_BITS.get(found["element"]) or int(found["element"][1:])
    return int(found["count"] or 1) * bits // 8


@dataclass(frozen=True, slots=True)
class Region:
    """Memory that a pointer may lie in: where it begins, its bytes, its number in a report."""

    base: str
    extent: str
    number: int


Regions = tuple[Region, ...]  # a selected pointer lies in either
UNCHECKED: Regions = ()  # the argument block, the error cell, a constant table


@dataclass(slots=True)
class _Function:
    """What is known of the pointers of one function."""

    kernel: Kernel
    regions: dict[str, Regions] = field(default_factory=dict)
    cells: dict[str, int] = field(default_factory=dict)  # pointers to cells of the argument block
    lines: list[str] = field(default_factory=list)
    lanes: set[int] = field(default_factory=set)
    names: int = 0
    stacks: int = 0

    def fresh(self) -> str:
        self.names += 1
        return f"%bounds.{self.names}"

    def find(self, pointer: str) -> Regions:
        if pointer.startswith("@"):
            return UNCHECKED
        if pointer not in self.regions:
            raise InternalError(f"{self.kernel.name}: nobody knows where {pointer} points")
        return self.regions[pointer]


def checked(e: Emitter, kernel: Kernel) -> Emitter:
    """The function with every access checked, and what it calls declared."""
    f = _Function(kernel)
    f.regions["%args"] = UNCHECKED
    f.lines.append(f"  %sink = alloca [{SINK_BYTES} x i8], align 128")
    first = 1 + len(kernel.buffers) + len(kernel.sizes) + len(kernel.scalars)
    for k in range(len(kernel.buffers)):
        f.lines.append(f"  %extent.{k}.at = getelementptr i64, ptr %args, i64 {first + k}")
        f.lines.append(f"  %extent.{k} = load i64, ptr %extent.{k}.at")
    for line in e.lines:
        _line(f, line)
    out = Emitter()
    out.lines = f.lines
    out.declarations = e.declarations | {REPORT, INSIDE} | {_lanes_text(n) for n in f.lanes}
    out.declarations.add("declare i64 @llvm.cttz.i64(i64, i1)")
    return out


def _line(f: _Function, line: str) -> None:
    """Follow or check one instruction."""
    for form, rule in RULES.items():
        if (found := form.fullmatch(line)) is not None:
            rule(f, line, found)
            return
    if re.search(r"\bptr\b|@llvm\.(masked|mem)", line):
        raise InternalError(f"{f.kernel.name}: an access that nobody can check: {line.strip()}")
    f.lines.append(line)


# ---- pointers ----------------------------------------------------------------------------------


def _stepped(f: _Function, line: str, found: re.Match[str]) -> None:
    f.lines.append(line)
    f.regions[found["to"]] = f.find(found["at"])
    if found["at"] == "%args":
        f.cells[found["to"]] = int(found["by"])


def _spread(f: _Function, line: str, found: re.Match[str]) -> None:
    f.lines.append(line)
    f.regions[found["to"]] = f.find(found["at"])


def _reserved(f: _Function, line: str, found: re.Match[str]) -> None:
    """Room on the stack or the thread's, which has a number behind those of the buffers."""
    f.lines.append(line)
    parts = found.groupdict()
    size = parts.get("size") or size_of(found["type"]) * int(found["count"] or 1)
    number = len(f.kernel.buffers) + f.stacks
    f.stacks += 1
    f.regions[found["to"]] = (Region(found["to"], str(size), number),)


def _chosen(f: _Function, line: str, found: re.Match[str]) -> None:
    f.lines.append(line)
    f.regions[found["to"]] = (*f.find(found["one"]), *f.find(found["other"]))


# ---- accesses ----------------------------------------------------------------------------------


def _loaded(f: _Function, line: str, found: re.Match[str]) -> None:
    at, regions = found["at"], f.find(found["at"])
    if found["type"] == "ptr":
        number = f.cells.get(at, 0) - 1  # of a buffer; cell 0 points to the error cell
        base = found["to"]
        f.regions[base] = UNCHECKED if number < 0 else (Region(base, f"%extent.{number}", number),)
    if not regions:
        f.lines.append(line)
        return
    safe = _inside(f, at, size_of(found["type"]), regions)
    f.lines.append(f"  {found['to']} = load {found['type']}, ptr {safe}{found['rest']}")


def _stored(f: _Function, line: str, found: re.Match[str]) -> None:
    regions = f.find(found["at"])
    if not regions:
        f.lines.append(line)
        return
    safe = _inside(f, found["at"], size_of(found["value"]), regions)
    f.lines.append(f"  store {found['value']}, ptr {safe}{found['rest']}")


def _inside(f: _Function, pointer: str, size: int, regions: Regions) -> str:
    """The pointer, or the sink where it reaches out of its region."""
    one, other = regions[0], regions[-1]
    safe = f.fresh()
    f.lines.append(
        f"  {safe} = call ptr @graphc.inside(ptr %args, ptr {pointer}, i64 {size}, ptr {one.base}, "
        f"i64 {one.extent}, ptr {other.base}, i64 {other.extent}, i64 {one.number}, ptr %sink)"
    )
    return safe


def _masked(f: _Function, line: str, found: re.Match[str]) -> None:
    """Lanes outside are masked off."""
    regions, n = f.find(found["at"]), int(found["lanes"])
    if not regions:
        f.lines.append(line)
        return
    region = regions[0]  # where the other one is chosen, that of zeros, no lane is live
    f.lanes.add(n)
    pointers, mask = found["at"], f.fresh()
    if found["place"].startswith("ptr"):
        steps = ", ".join(f"i64 {k}" for k in range(n))
        pointers = f.fresh()
        element = f"i{8 * int(found['size'])}"
        f.lines.append(
            f"  {pointers} = getelementptr {element}, ptr {found['at']}, <{n} x i64> <{steps}>"
        )
    f.lines.append(
        f"  {mask} = call <{n} x i1> @graphc.lanes.{n}(ptr %args, <{n} x ptr> {pointers}, "
        f"<{n} x i1> {found['mask']}, i64 {found['size']}, ptr {region.base}, "
        f"i64 {region.extent}, i64 {region.number})"
    )
    start, end = found.span("mask")
    f.lines.append(line[:start] + mask + line[end:])


def _exchanged(f: _Function, line: str, found: re.Match[str]) -> None:
    """Only the error cell is exchanged."""
    if f.find(found["at"]):
        raise InternalError(f"{f.kernel.name}: an exchange in a buffer: {line.strip()}")
    f.lines.append(line)


def _untouched(f: _Function, line: str, found: re.Match[str]) -> None:
    """What a cache is asked for, or an address is told of, may lie anywhere: nothing is read."""
    f.lines.append(line)


RULES: dict[re.Pattern[str], Callable[[_Function, str, re.Match[str]], None]] = {
    ROOM: _reserved,
    STEP: _stepped,
    STEPS: _spread,
    STACK: _reserved,
    EITHER: _chosen,
    LOAD: _loaded,
    STORE: _stored,
    MASKED: _masked,
    EXCHANGE: _exchanged,
    FETCH: _untouched,
    NUMBER: _untouched,
}


# ---- what the checks call ----------------------------------------------------------------------

REPORT = f"""define internal void @graphc.report(ptr %args, i64 %offset, i64 %size, i64 %number) \
noinline nounwind {{
  %cell = load ptr, ptr %args
  %mark = add i64 %number, {OUTSIDE}
  %pair = cmpxchg ptr %cell, i64 0, i64 %mark seq_cst seq_cst
  %won = extractvalue {{ i64, i1 }} %pair, 1
  br i1 %won, label %write, label %done
write:
  %block.at = getelementptr i64, ptr %cell, i64 1
  %block = ptrtoint ptr %args to i64
  store i64 %block, ptr %block.at
  %offset.at = getelementptr i64, ptr %cell, i64 2
  store i64 %offset, ptr %offset.at
  %size.at = getelementptr i64, ptr %cell, i64 3
  store i64 %size, ptr %size.at
  br label %done
done:
  ret void
}}"""

INSIDE = """define internal i1 @graphc.holds(i64 %at, i64 %bytes, ptr %base, i64 %size) nounwind {
  %start = ptrtoint ptr %base to i64
  %offset = sub i64 %at, %start
  %last = sub i64 %size, %bytes
  %above = icmp sge i64 %offset, 0
  %below = icmp sle i64 %offset, %last
  %holds = and i1 %above, %below
  ret i1 %holds
}

define internal ptr @graphc.inside(ptr %args, ptr %p, i64 %bytes, ptr %one, i64 %one.size, \
ptr %other, i64 %other.size, i64 %number, ptr %sink) noinline nounwind {
  %at = ptrtoint ptr %p to i64
  %in.one = call i1 @graphc.holds(i64 %at, i64 %bytes, ptr %one, i64 %one.size)
  %in.other = call i1 @graphc.holds(i64 %at, i64 %bytes, ptr %other, i64 %other.size)
  %in = or i1 %in.one, %in.other
  br i1 %in, label %good, label %bad
good:
  ret ptr %p
bad:
  %start = ptrtoint ptr %one to i64
  %offset = sub i64 %at, %start
  call void @graphc.report(ptr %args, i64 %offset, i64 %one.size, i64 %number)
  ret ptr %sink
}"""


def _lanes_text(n: int) -> str:
    """The function that masks lanes off, for vectors of `n`."""
    wide, mask = f"<{n} x i64>", f"<{n} x i1>"

    def splat(name: str, scalar: str) -> str:
        return (
            f"  %{name}.one = insertelement {wide} poison, i64 {scalar}, i64 0\n"
            f"  %{name} = shufflevector {wide} %{name}.one, {wide} poison, "
            f"<{n} x i32> zeroinitializer\n"
        )

    return (
        f"define internal {mask} @graphc.lanes.{n}(ptr %args, <{n} x ptr> %ps, {mask} %live, "
        "i64 %bytes, ptr %base, i64 %size, i64 %number) noinline nounwind {\n"
        f"  %at = ptrtoint <{n} x ptr> %ps to {wide}\n"
        "  %start = ptrtoint ptr %base to i64\n" + splat("starts", "%start") +
        f"  %offsets = sub {wide} %at, %starts\n"
        "  %last = sub i64 %size, %bytes\n" + splat("lasts", "%last") +
        f"  %above = icmp sge {wide} %offsets, zeroinitializer\n"
        f"  %below = icmp sle {wide} %offsets, %lasts\n"
        f"  %in = and {mask} %above, %below\n"
        f"  %good = and {mask} %in, %live\n"
        f"  %wrong = xor {mask} %good, %live\n"
        f"  %bits = bitcast {mask} %wrong to i{n}\n"
        f"  %some = icmp ne i{n} %bits, 0\n"
        "  br i1 %some, label %bad, label %done\n"
        "bad:\n"
        f"  %wide = zext i{n} %bits to i64\n"
        "  %first = call i64 @llvm.cttz.i64(i64 %wide, i1 false)\n"
        f"  %offset = extractelement {wide} %offsets, i64 %first\n"
        "  call void @graphc.report(ptr %args, i64 %offset, i64 %size, i64 %number)\n"
        "  br label %done\n"
        "done:\n"
        f"  ret {mask} %good\n}}"
    )  # fmt: skip
