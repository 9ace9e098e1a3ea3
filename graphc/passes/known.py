"""Schedules for one target: found where an earlier process left them, or made and left there."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple, Protocol

from graphc import config
from graphc.errors import FileFormatError
from graphc.ir.fingerprint import symbols_of
from graphc.ir.graph import Graph
from graphc.ir.kernel import Kernel
from graphc.ir.program import Program
from graphc.ir.sizes import HINTS, Evaluation
from graphc.ir.symbols import Symbol
from graphc.passes.late import LateStage, late_stages
from graphc.passes.pipeline import StageRecord, compile_graph
from graphc.passes.profile import Profile
from graphc.passes.schedule import Schedule
from graphc.passes.stored import check_stored, key_of, restored, stored


class Cache(Protocol):
    """Bytes that outlive the process; `runtime.disk_cache.DiskCache` is one."""

    def get(self, key: str) -> bytes | None: ...
    def put(self, key: str, data: bytes) -> None: ...


class Known(NamedTuple):
    """What compiling a graph gives, or finding what it gave."""

    schedule: Schedule
    program: Program  # for the sizes seen
    stages: tuple[LateStage | StageRecord, ...]
    found: bool
    symbols: frozenset[Symbol]  # its sizes that are extents

    def at(self, sizes: Evaluation) -> Program:
        seen = all(sizes.of(s) == s.hint for s in self.symbols)
        return self.program if seen else self.schedule.at(sizes)


def _nothing(kernel: Kernel) -> None:
    """Nobody waits for it."""


class Schedules:
    """What passes make of graphs for a profile."""

    def __init__(self, cache: Cache, profile: Profile) -> None:
        self._cache, self._profile = cache, profile

    def find(self, graph: Graph) -> tuple[Known | None, str]:
        """What an earlier process made of an equal graph, and the key that finds it."""
        if config.verify_graphs():  # what is verified is what passes make now
            return None, ""
        start = time.perf_counter()
        key = key_of(graph, self._profile)
        data = self._cache.get(key)
        if data is None:
            return None, key
        try:
            schedule = restored(data, graph, self._profile)
        except FileFormatError:
            return None, key
        program = schedule.at(HINTS)
        ms = 1e3 * (time.perf_counter() - start)
        stages = late_stages(graph, self._profile, program, ms)
        return Known(schedule, program, stages, True, frozenset(symbols_of(graph))), key

    def make(self, graph: Graph, key: str, begin: Callable[[Kernel], None] = _nothing) -> Known:
        """What passes make of it now, which is kept by `key`. `begin` is told of each kernel that
        the program will have, most of them while others are still lowered."""
        compiled = compile_graph(graph, self._profile, made=begin)
        for kernel in compiled.program.kernels():
            begin(kernel)
        data = stored(compiled.schedule, graph)
        if config.verify_graphs():
            check_stored(data, compiled.schedule, graph)
        elif data is not None:
            self._cache.put(key, data)
        made = compiled.schedule, compiled.program, compiled.stages
        return Known(*made, found=False, symbols=frozenset(symbols_of(graph)))

    def of(self, graph: Graph) -> Known:
        found, key = self.find(graph)
        return found or self.make(graph, key)
