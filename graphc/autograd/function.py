"""torch.autograd.function's names."""

from graphc.frontend.function import Context as FunctionCtx
from graphc.frontend.function import Function, once_differentiable

__all__ = ["Function", "FunctionCtx", "once_differentiable"]
