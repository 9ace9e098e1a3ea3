"""`compile(check=...)`: a step that tests what it stores, and asks at length where a test fails.

Its program is the ordinary one, whose kernels test that what they store is not too large
(`passes/watch.py`). Where a test fails nothing has been written; the same call then goes to a twin,
whose program checks each value itself and copies state once all are good (`finiteness.py`), and
names the op that was to blame (`finite.py`). If all is good after all, only large, the twin has
made the call; a step of which that happens again and again becomes like its twin.

So does one that cannot be tested so: on a GPU, or with a backward that runs later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from graphc.errors import NotFinite
from graphc.frontend.places import Place
from graphc.frontend.step.compiled import Compiled, CompiledFunction, CompiledModule
from graphc.frontend.step.family import Backend
from graphc.frontend.step.finite import CheckedRun
from graphc.frontend.step.finiteness import Exactly, Kind

OFTEN = 4  # calls in a row, about, that were large and good
NEAR = 16  # calls between two such that are a row


class CheckedBackend:
    """A backend whose programs test what they store."""

    def __init__(self, backend: Backend, kind: Kind) -> None:
        self._backend, self._kind = backend, kind

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def on(self, place: Place) -> Backend:
        return self._backend.on(place).checking(self._kind)


class Checked(Compiled):
    """What checked functions and modules share."""

    __slots__ = ()
    _options: dict[str, Any]

    def _checking(self, kind: Kind | None) -> None:
        """Test what is stored, at first."""
        self._kind = kind
        self._twin: Compiled | None = None
        self._large = self._failed = 0
        self._large_at = -NEAR
        if kind is not None:
            self._backend: Backend = CheckedBackend(self._backend, kind)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._check is not None:
            return super().__call__(*args, **kwargs)
        try:
            return super().__call__(*args, **kwargs)
        except NotFinite:
            pass
        except Exactly:
            self._become_exact()
            return super().__call__(*args, **kwargs)
        return self._at_length(args, kwargs)

    def _exact(self) -> Compiled:
        """A function or module like this one that checks each value."""
        raise NotImplementedError

    def _at_length(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
        """Make a call whose tests have failed."""
        made = sum(e.plan.clock.ticks for entries in self._entries.values() for e in entries)
        if self._twin is None:
            self._twin = self._exact()
            self._twin._spare = self._spare
        entry, _ = self._twin.entry(args, kwargs)
        if isinstance(entry.run, CheckedRun):
            entry.run.calls = made + self._failed
        self._failed += 1
        out = self._twin(*args, **kwargs)
        near = made - self._large_at < NEAR
        self._large, self._large_at = self._large * near + 1, made
        if self._large == OFTEN:
            self._become_exact()
        return out

    def _become_exact(self) -> None:
        """From now on, check each value."""
        self._check, self._backend, self._twin = self._kind, self._given, None
        self._unprepare()
        self._entries.clear()
        self._families.clear()


class CheckedFunction(Checked, CompiledFunction):
    """A compiled function whose `check` is set."""

    def __init__(self, function: Any, backend: Backend, **options: Any) -> None:
        super().__init__(function, backend, **{**options, "check": None})
        self._options = options
        self._checking(options["check"])

    def _exact(self) -> Compiled:
        return CompiledFunction(self._function, self._given, **self._options)


class CheckedModule(Checked, CompiledModule):
    """What a compiled module whose `check` is set is called through."""

    def __init__(self, module: Any, backend: Backend, **options: Any) -> None:
        super().__init__(module, backend, **{**options, "check": None})
        self._options = options
        self._checking(options["check"])

    def _exact(self) -> Compiled:
        return CompiledModule(self.module, self._given, **self._options)
