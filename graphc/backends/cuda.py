"""torch.backends.cuda's switches."""

from __future__ import annotations

from graphc.frontend.switches import allow_tf32_products, precision


class _Matmul:
    """Products of matrices. `allow_tf32` is `float32_matmul_precision` as a flag."""

    @property
    def allow_tf32(self) -> bool:
        """Whether those of float32 on a GPU may round their operands to TF32."""
        return precision().matmul

    @allow_tf32.setter
    def allow_tf32(self, allowed: bool) -> None:
        allow_tf32_products(allowed)


matmul = _Matmul()


def is_built() -> bool:
    return False
