"""torch.autograd's names, so that `from graphc.autograd import Function` works."""

from graphc.frontend.autograd import (
    Function,
    backward,
    enable_grad,
    grad,
    inference_mode,
    no_grad,
    set_grad_enabled,
)

__all__ = [
    "Function",
    "backward",
    "enable_grad",
    "grad",
    "inference_mode",
    "no_grad",
    "set_grad_enabled",
]
