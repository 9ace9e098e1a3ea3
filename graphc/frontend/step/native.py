"""What a plan asks of a compiled program, whichever machine runs it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from graphc.frontend.step.inspect.profile import Run
from graphc.ir.program import Program
from graphc.ir.sizes import Evaluation
from graphc.ir.types import Array, Scalar, Shape


class Template(Protocol):
    """A compiled program for any sizes that its trace allows."""

    def at(self, sizes: Evaluation) -> Native: ...


class Native(Protocol):
    """A compiled program for given sizes; see `runtime.cpu.executor.Executable`."""

    @property
    def done(self) -> bool:
        """Whether the last run went to its end, and no check that is known by now failed."""
        ...

    @property
    def program(self) -> Program: ...
    @property
    def orders(self) -> Sequence[Shape]: ...
    @property
    def table_bytes(self) -> int:
        """What it keeps in memory for these sizes alone, code and arena aside."""
        ...

    def bind_state(self, pointers: Sequence[int]) -> None: ...
    def doubt(self) -> None:
        """Others may have written the state."""
        ...

    def run(
        self, args: Sequence[int], outs: Sequence[int] = (), scalars: Sequence[Scalar] = ()
    ) -> None: ...
    def settle(self) -> None:
        """Raise what the last run may still fail with, where `run` does not wait for that."""
        ...

    def watch(self, words: Array) -> bool:
        """Have `again` compare these words first; False where that cannot be done."""
        ...

    def again(self, pointers: Sequence[int], scalars: Sequence[Scalar] = ()) -> bool:
        """`run` once more, in the turn (`storage.running`) that the caller has."""
        ...

    def latch(self, cells: Mapping[str, int], keep: object) -> Latch | None:
        """A builtin that makes a whole call (`cpu_abi.LATCH`); None where that cannot be."""
        ...


class Latch(Protocol):
    """A call as one builtin; see `runtime.latch.Latch`."""

    run: Any
    timed: Callable[..., tuple[Any, float, float, Sequence[Run]]]

    def put(self, name: str, value: int) -> None:
        """Write a cell."""
        ...

    def words(self) -> list[tuple[int, int]] | None:
        """Have it run as the program was run last, and what tells that this is right."""
        ...

    @property
    def ways(self) -> int:
        """Moves when a call that has missed would not miss again."""
        ...

    @property
    def left(self) -> int:
        """The result of the job that it has left open, or less than 0."""
        ...

    def resume(self, raised: BaseException) -> None:
        """End that job, as `Native.run` would."""
        ...
