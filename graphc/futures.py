"""torch.futures' names: results that may come later, over Python's own futures."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable, Sequence
from typing import Any

from graphc.errors import InvalidState

__all__ = ["Future", "collect_all", "wait_all"]


class Future:
    """A result that `set_result` gives once."""

    def __init__(self, *, devices: Any = None) -> None:
        self._future: concurrent.futures.Future[Any] = concurrent.futures.Future()

    def done(self) -> bool:
        """Whether there is a result, or an error."""
        return self._future.done()

    def wait(self) -> Any:
        """The result; raises what `set_exception` was given."""
        return self._future.result()

    def value(self) -> Any:
        """The result, which must be there."""
        if not self.done():
            raise InvalidState("Future.value: there is no result yet", fix="wait()")
        return self.wait()

    def set_result(self, result: Any) -> None:
        """Give the result, once."""
        if self.done():
            raise InvalidState("Future: a result can be set only once")
        self._future.set_result(result)

    def set_exception(self, result: BaseException) -> None:
        """Give an error that `wait` raises."""
        if self.done():
            raise InvalidState("Future: a result can be set only once")
        self._future.set_exception(result)

    def add_done_callback(self, callback: Callable[[Future], Any]) -> None:
        """Call it with this future once it is done."""
        self._future.add_done_callback(lambda _: callback(self))

    def then(self, callback: Callable[[Future], Any]) -> Future:
        """A future of what `callback` gives of this one."""
        after = Future()

        def done(future: Future) -> None:
            try:
                after.set_result(callback(future))
            except Exception as e:
                after.set_exception(e)

        self.add_done_callback(done)
        return after


def collect_all(futures: Sequence[Future]) -> Future:
    """A future of the list, once all of them are done."""
    found, left = Future(), [len(futures)]

    def done(_: Future) -> None:
        left[0] -= 1
        if not left[0]:
            found.set_result(list(futures))

    if not futures:
        found.set_result([])
    for future in futures:
        future.add_done_callback(done)
    return found


def wait_all(futures: Sequence[Future]) -> list[Any]:
    """The results of all; raises the first error."""
    return [future.wait() for future in futures]
