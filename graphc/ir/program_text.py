"""Programs as text, one line a launch; `parse(show(p), kernels) == p`.

    program step arena=5120 bound=5120 align=64 {
      %x: f32[128,64] at arg 0 live 0..1
      %6: f32[128,10] at arena+0x0000 size 5120 live 0..1    # bw train.py:14 train_step
      %9: f32[10,64] at state 0 live 1..1                    # opt train.py:16 fc.weight
      check 0: "embedding" at "net.py":9 in "forward"
      0: launch dot_sub__fc(128; %x, %fc.weight; 2.0) -> %6
         barrier
         commit
      1: launch dot_mul__fc.weight(128; %6, %9; ) -> %9
      return %9
    }

A launch lists sizes; what it reads; scalars; and after the arrow what it writes (a buffer that is
both stands on both sides), each in the order of the kernel's signature. `alias` notes a slot at
exactly the place of an earlier one; the parser needs it not. `within` names the buffer of a loop
that a slot is one trip's share of. `order` says how a state that is not
row-major lies: its dimensions, outermost first. `assume state 3: 0.0 to 1e12` says what a float
state is taken to lie in. Words that are not plain are quoted
as in JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import cast

from graphc.errors import FileFormatError
from graphc.ir.kernel import Kernel
from graphc.ir.program import Assumption, CheckSite, Launch, Program, Slot, Space
from graphc.ir.text import ORDER, escaped, read_order, read_type, show_order, unescaped
from graphc.ir.types import Scalar, Shape

NAME = r'(?:[\w.\-/]+|"(?:[^"\\]|\\.)*")'
NAME_PATTERN = re.compile(NAME)
HEADER = re.compile(rf"program ({NAME}) arena=(\d+) bound=(\d+) align=(\d+) {{")
SLOT = re.compile(
    rf"%({NAME}): (\w+\[[\d,]*\]) at (\w+)(?:\+0x([0-9a-f]+) size \d+| (\d+)) "
    rf"live (-?\d+)\.\.(-?\d+)(?: within %({NAME}))?{ORDER}(?: alias %{NAME})?(?: +# (.*))?"
)
RAISES = rf"(?: raises ({NAME}) fix ({NAME}))?"
CHECK = re.compile(rf"check \d+: ({NAME}) at ({NAME}):(\d+) in ({NAME}){RAISES}")
ASSUME = re.compile(r"assume state (\d+): (\S+) to (\S+)")
LAUNCH = re.compile(rf"\d+: launch ({NAME})\((.*)\)(?: -> (.*))?")
OPERAND = re.compile(rf"%?{NAME}")
COMMENT_COLUMN = 56


def show(program: Program) -> str:
    """The text of a program."""
    head = f"program {_word(program.name)} arena={program.arena_bytes} bound={program.bound_bytes}"
    lines = [f"{head} align={program.align} {{", *_slot_lines(program)]
    for i, c in enumerate(program.checks):
        file, line, function = c.where
        raises = f" raises {_word(c.error)} fix {_word(c.fix)}" if c.error else ""
        place = f"at {_word(file)}:{line} in {_word(function)}"
        lines.append(f"  check {i}: {_word(c.what)} {place}{raises}")
    lines += [f"  assume state {a.state}: {a.lo!r} to {a.hi!r}" for a in program.assumed]
    for i, launch in enumerate(program.launches):
        if launch.barrier:
            lines.append("     barrier")
        if i == program.commit:
            lines.append("     commit")
        lines.append(f"  {i}: {_launch(launch)}")
    if program.commit == len(program.launches):
        lines.append("     commit")
    lines += [f"  return {_operands(program.outs)}".rstrip(), "}"]
    return "\n".join(lines) + "\n"


def _slot_lines(program: Program) -> Iterator[str]:
    there: dict[tuple[str, int], str] = {}
    for s in program.slots:
        at = f"{s.space}+0x{s.index:04x} size {s.size_bytes}" if s.space == "arena" else ""
        text = f"  %{_word(s.name)}: {s.spec} at {at or f'{s.space} {s.index}'}"
        text += f" live {s.first}..{s.last}"
        if s.within:
            text += f" within %{_word(s.within)}"
        if s.space == "state" and s.index < len(program.orders):
            text += show_order(program.orders[s.index])
        earlier = there.setdefault((s.space, s.index), s.name)
        if earlier != s.name and s.space != "arena":  # in the arena the offsets say it
            text += f" alias %{_word(earlier)}"
        yield f"{text:<{COMMENT_COLUMN - 1}} # {escaped(s.where)}" if s.where else text


def _launch(launch: Launch) -> str:
    sides = list(zip(launch.slots, launch.kernel.buffers, strict=True))
    reads = _operands(tuple(s for s, b in sides if "r" in b.access))
    writes = _operands(tuple(s for s, b in sides if "w" in b.access))
    sizes, scalars = (", ".join(map(repr, v)) for v in (launch.sizes, launch.scalars))
    arrow = f" -> {writes}" if writes else ""
    return f"launch {_word(launch.kernel.name)}({sizes}; {reads}; {scalars}){arrow}"


def _operands(names: tuple[str, ...]) -> str:
    return ", ".join(f"%{_word(n)}" for n in names)


def _word(text: str) -> str:
    """As it is where it is plain, else quoted."""
    return text if NAME_PATTERN.fullmatch(text) and text[0] != '"' else json.dumps(text)


def _unword(text: str) -> str:
    return str(json.loads(text)) if text.startswith('"') else text


# ---- reading ------------------------------------------------------------------------------------


def parse(text: str, kernels: Mapping[str, Kernel]) -> Program:
    """The program that `show` wrote. Raises FileFormatError with the line that does not fit."""
    lines = iter(text.split("\n"))
    name, arena, bound, align = _match(HEADER, next(lines, ""))
    slots: list[Slot] = []
    orders: dict[int, Shape] = {}
    checks: list[CheckSite] = []
    launches: list[Launch] = []
    assumed: list[Assumption] = []
    barrier, commit = False, 0
    for line in map(str.strip, lines):
        if line.startswith("return"):
            outs = tuple(_names(line.removeprefix("return")))
            head = _unword(name), tuple(slots), tuple(launches), commit, outs
            lies = tuple(orders[k] for k in sorted(orders))
            sizes = int(arena), int(bound)
            return Program(*head, *sizes, tuple(checks), lies, int(align), tuple(assumed))
        if line == "barrier":
            barrier = True
        elif line == "commit":
            commit = len(launches)
        elif line.startswith("%"):
            slot, order = _slot(line)
            slots.append(slot)
            if slot.space == "state":
                orders.setdefault(slot.index, order)
        elif line.startswith("check"):
            what, file, at, function, error, fix = _match(CHECK, line)
            place = _unword(file), int(at), _unword(function)
            checks.append(CheckSite(_unword(what), place, _unword(error), _unword(fix)))
        elif line.startswith("assume"):
            state, lo, hi = _match(ASSUME, line)
            assumed.append(Assumption(int(state), float(lo), float(hi)))
        else:
            launches.append(_parse_launch(line, kernels, barrier))
            barrier = False
    raise FileFormatError("program text ends before its return")


def _match(pattern: re.Pattern[str], line: str) -> tuple[str, ...]:
    found = pattern.fullmatch(line)
    if found is None:
        raise FileFormatError(f"not a line of a program: {line!r}")
    return found.groups(default="")


def _slot(line: str) -> tuple[Slot, Shape]:
    """A buffer, and how it lies in memory."""
    name, type_, space, offset, number, first, last, within, order, where = _match(SLOT, line)
    index = int(offset, 16) if offset else int(number)
    live = int(first), int(last)
    place = read_type(type_), cast(Space, space), index
    slot = Slot(_unword(name), *place, *live, unescaped(where), _unword(within))
    return slot, read_order(order, len(slot.spec.shape))


def _names(text: str) -> Iterator[str]:
    return (_unword(word.removeprefix("%")) for word in OPERAND.findall(text))


def _parse_launch(line: str, kernels: Mapping[str, Kernel], barrier: bool) -> Launch:
    name, inside, writes = _match(LAUNCH, line)
    kernel = kernels.get(_unword(name))
    if kernel is None:
        raise FileFormatError(f"the program launches {name}, of which there is no kernel")
    sizes, rest = inside.split("; ", 1)
    reads, scalars = rest.rsplit("; ", 1)
    read, written = _names(reads), _names(writes)
    slots = []
    for buffer in kernel.buffers:
        taken = [
            next(side) for side, mark in ((read, "r"), (written, "w")) if mark in buffer.access
        ]
        slots.append(taken[0])
    numbers = tuple(_scalar(s) for s in scalars.split(", ") if s)
    return Launch(kernel, tuple(slots), tuple(map(int, filter(None, sizes.split(", ")))), numbers,
                  barrier)  # fmt: skip


def _scalar(text: str) -> Scalar:
    if text in ("True", "False"):
        return text == "True"
    return int(text) if text.lstrip("-").isdigit() else float(text)
