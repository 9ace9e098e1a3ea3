"""torch.autograd's names, so that `from graphc.autograd import Function` works."""

from graphc.autograd import function, functional, graph, profiler
from graphc.autograd.gradcheck import GradcheckError, gradcheck, gradgradcheck
from graphc.autograd.variable import Variable
from graphc.frontend.anomaly import detect_anomaly, is_anomaly_enabled, set_detect_anomaly
from graphc.frontend.autograd import backward, grad
from graphc.frontend.function import Function, once_differentiable
from graphc.frontend.modes import enable_grad, inference_mode, no_grad, set_grad_enabled

__all__ = [
    "Function",
    "GradcheckError",
    "Variable",
    "backward",
    "detect_anomaly",
    "enable_grad",
    "function",
    "functional",
    "grad",
    "gradcheck",
    "gradgradcheck",
    "graph",
    "inference_mode",
    "is_anomaly_enabled",
    "no_grad",
    "once_differentiable",
    "profiler",
    "set_detect_anomaly",
    "set_grad_enabled",
]
