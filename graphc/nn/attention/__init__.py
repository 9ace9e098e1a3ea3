"""torch.nn.attention's names: which kernel attention may use. Here there is one: the compiler's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from enum import IntEnum

from graphc.errors import InvalidState, InvalidType
from graphc.nn.attention import flex_attention as flex_attention

__all__ = ["SDPBackend", "sdpa_kernel"]


class SDPBackend(IntEnum):
    """The kernels of scaled_dot_product_attention that PyTorch tells apart."""

    ERROR = -1
    MATH = 0
    FLASH_ATTENTION = 1
    EFFICIENT_ATTENTION = 2
    CUDNN_ATTENTION = 3
    OVERRIDEABLE = 4


@contextmanager
def sdpa_kernel(
    backends: Sequence[SDPBackend] | SDPBackend, set_priority: bool = False
) -> Iterator[None]:
    """Changes nothing: all of them give what the compiler's own fused loops give."""
    given = [backends] if isinstance(backends, SDPBackend) else list(backends)
    for backend in given:
        if not isinstance(backend, SDPBackend):
            raise InvalidType(f"sdpa_kernel: an SDPBackend is expected, got {backend!r:.100}")
    if not given:
        raise InvalidState("sdpa_kernel: no backend is left", fix="name at least one")
    yield
