"""What a compiled step tells once it has run: where the time went, and the report of everything."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from graphc.frontend.places import place_on
from graphc.frontend.report.facts import Facts
from graphc.frontend.step.family import Backend
from graphc.frontend.step.inspect import places, seen
from graphc.frontend.step.inspect.inspection import Inspectable, Unit, device_of
from graphc.frontend.step.inspect.profile import Limits, Profile, Run, in_turns
from graphc.frontend.step.latched import Latched
from graphc.frontend.step.signature import signature
from graphc.frontend.tensor import Tensor


class Measured(Inspectable):
    """Calls that are timed, and what is written about them."""

    _backend: Backend
    _latch: Latched | None  # where it makes the next call
    _profiled: Profile | None = None
    _timed: bool = False  # while it is profiled: nothing is prepared for the next call
    _ready_at: float = 0.0  # when what runs was compiled or found, by the performance counter

    def __init__(self) -> None:
        seen.made(self)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """A call as users make it."""
        raise NotImplementedError

    def _call(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        raise NotImplementedError

    @property
    def ran(self) -> bool:
        """Whether it holds a program."""
        return bool(self._units())

    def _all_units(self) -> Sequence[Unit]:
        """The programs of every plan."""
        raise NotImplementedError

    def _guarded(self) -> Sequence[tuple[str, str, str, int]]:
        """The Python state that is compared at each call: what, its value, file and line."""
        raise NotImplementedError

    def profile(self, *args: Any, **kwargs: Any) -> Profile:
        """Call it, and tell where the time of this call went, in seconds, launch by launch; a first

        call compiles before it is timed.

        `profile.ms` is the call in milliseconds, `by("line")` its rows. Raises what the call
        raises.
        """
        self._profiled = self._profile(args, kwargs)
        return self._profiled

    def _profile(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Profile:
        latch = self._latch
        try:
            self._timed = True
            if latch is None or kwargs:
                with self._backend.timing() as runs:
                    begun = time.perf_counter()
                    result = self(*args, **kwargs)
                    ended = time.perf_counter()
            else:
                result, begun, ended, runs = latch.timed(self, args)
        finally:
            self._timed = False
        seconds = ended - max(begun, self._ready_at)
        same = latch if latch is self._latch else None  # a miss drops it
        device = device_of(self._units()) if same is None else same.device
        if device != "cpu":  # whose launches no call waits for
            seconds = 0.0
        return Profile(tuple(runs), partial(self._backend.peaks, device), result, seconds)

    def profile_over(self, batches: Iterable[Any]) -> Profile:
        """Call it once with each batch, a tuple of arguments or a single one, profiling each fourth
        call; gives the profile in the middle, in seconds, without its `result`.

        The machine is the same for calls with and without a profile, so `profile.beside` tells by
        how much they differ. Raises InvalidArgument for fewer than four batches.
        """

        def profiled(batch: Any) -> Profile:
            return replace(self._profile(_arguments(batch), {}), result=None)  # which is free again

        self._profiled = in_turns(batches, self._plain, profiled)
        return self._profiled

    def _plain(self, batch: Any) -> float:
        """The seconds of a call that is not profiled, with all that a GPU does for it."""
        leaves: list[Tensor] = []
        signature(args := _arguments(batch), {}, leaves)
        gpus = {place for x in leaves if (place := place_on(x.array)) is not None}
        for gpu in gpus:
            gpu.wait()
        begun = time.perf_counter()
        self(*args)
        for gpu in gpus:
            gpu.wait()
        return time.perf_counter() - begun

    def report(
        self, path: str | Path = "report.html", *batch: Any, assembly: bool = False, **kwargs: Any
    ) -> Path:
        """Write one HTML page of all that is known: source, stages, kernels, time and memory.

        With a `batch`, the step is called with it and timed; without one, times are those of the
        last `profile`, if there was one. `assembly`: of all kernels, not of the slowest alone. The
        page holds the text of your code and no weights.

        Returns the path; the page says times in ms and sizes in bytes. Raises InvalidState without
        a batch before the first call.
        """
        from graphc.frontend.report.write import write  # only who asks for one pays for it

        if batch or kwargs:
            self.profile(*batch, **kwargs)
        return write(path, self._ready(), self._facts(), assembly)

    def ir(self, stage: str = "memory", where: str = "") -> str:
        """The program after `stage`, as text; for graphs, `ir.text.parse` reads it back.

        `where`: only what belongs to a line, as in "net.py:12", or to a module, as in "layer2.0".

        Raises InvalidState before the first call, InvalidArgument for a stage or place that is not
        there.
        """
        if not where:
            return super().ir(stage)
        return places.Text(places.found_at(self._ready(), stage, where))

    def line(self, place: str, limit: int | None = places.SHOWN) -> str:
        """What became of a line, as in "net.py:12", or of a module: its time if the step was

        profiled, memory, kernels, buffers and values.

        `limit`: so many of each at most, the slowest kernels and the largest buffers; None: all.
        Times in ms, sizes in bytes. Raises InvalidState before the first call, InvalidArgument for
        a place of which nothing is left.
        """
        return places.Text(places.told(self._ready(), place, self._runs(), limit))

    def _runs(self) -> Sequence[Run]:
        """Of the last profile."""
        return self._profiled.runs if self._profiled is not None else ()

    def _facts(self) -> Facts:
        from graphc.frontend.report.write import environment, numbers

        return Facts(
            " + ".join(u.name for u in self._units()),
            numbers(self._units(), self.stats),
            environment(),
            self._recompiles,
            self._guarded(),
            self._sizes(),
            self._runs(),
            self._backend.peaks(device_of(self._units())),
        )


def _arguments(batch: Any) -> Sequence[Any]:
    return batch if isinstance(batch, (tuple, list)) else (batch,)


def facts_of(
    steps: Sequence[Measured], runs: Sequence[Run], peaks: Limits | None
) -> tuple[list[Unit], Facts]:
    """All programs of some steps, and what is known of them together."""
    from graphc.frontend.report.write import environment, numbers

    units = [u for s in steps for u in s._all_units()]
    told = Facts(
        " + ".join(dict.fromkeys(u.name for u in units)),
        numbers(units, *(s.stats for s in steps)),
        environment(),
        [r for s in steps for r in s._recompiles],
        [row for s in steps for row in s._guarded()],
        list(dict.fromkeys(row for s in steps for row in s._sizes())),
        runs,
        peaks,
    )
    return units, told
