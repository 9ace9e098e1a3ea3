"""graphc: a JIT compiler for whole training steps under PyTorch's names.

Each module lists in `__all__` what it adds to this namespace.
"""

from graphc import autograd as autograd
from graphc import errors as errors
from graphc import linalg as linalg
from graphc import random as random
from graphc import return_types as return_types
from graphc import special as special
from graphc import version as version
from graphc.einops_backend import register as _register_with_einops
from graphc.frontend.annotations import complete as _complete
from graphc.frontend.api.arrangements import *
from graphc.frontend.api.assertions import *
from graphc.frontend.api.bessel import i0 as i0
from graphc.frontend.api.binomial import *
from graphc.frontend.api.conversion import *
from graphc.frontend.api.copies import *
from graphc.frontend.api.creation import *
from graphc.frontend.api.diagonals import *
from graphc.frontend.api.einsum import *
from graphc.frontend.api.elementwise import *
from graphc.frontend.api.foreach import *
from graphc.frontend.api.indexing import *
from graphc.frontend.api.kinds import *
from graphc.frontend.api.legacy import *
from graphc.frontend.api.limits import *
from graphc.frontend.api.linear import *
from graphc.frontend.api.logic import *
from graphc.frontend.api.lowrank import *
from graphc.frontend.api.matrices import *
from graphc.frontend.api.memory import *
from graphc.frontend.api.methods import in_place as _in_place
from graphc.frontend.api.neighbours import *
from graphc.frontend.api.numerics import *
from graphc.frontend.api.poisson import *
from graphc.frontend.api.public import namespace as _namespace
from graphc.frontend.api.quadrature import gammainc as igamma
from graphc.frontend.api.quadrature import gammaincc as igammac
from graphc.frontend.api.random import *
from graphc.frontend.api.reductions import *
from graphc.frontend.api.scans import *
from graphc.frontend.api.scatter import *
from graphc.frontend.api.segments import *
from graphc.frontend.api.shapes import *
from graphc.frontend.api.solvers import *
from graphc.frontend.api.sorting import *
from graphc.frontend.api.sparse import *
from graphc.frontend.api.special import *
from graphc.frontend.api.special import multigammaln as mvlgamma
from graphc.frontend.api.static import *
from graphc.frontend.api.statistics import *
from graphc.frontend.api.strided import *
from graphc.frontend.api.ternary import *
from graphc.frontend.api.whole_numbers import *
from graphc.frontend.api.windows import *
from graphc.frontend.autograd import *
from graphc.frontend.devices import *
from graphc.frontend.dtypes import *
from graphc.frontend.files.serialization import *
from graphc.frontend.modes import *
from graphc.frontend.options import *
from graphc.frontend.printing import *
from graphc.frontend.promotion import *
from graphc.frontend.settings import *
from graphc.frontend.size import *
from graphc.frontend.step.compile import *
from graphc.frontend.step.control import *
from graphc.frontend.step.inspect.verified import *
from graphc.frontend.storage import Storage as _Storage
from graphc.frontend.switches import *
from graphc.frontend.tensor import *
from graphc.frontend.trace import Trace as _Trace
from graphc.frontend.views import Chain as _Chain
from graphc.runtime.cpu.threads import get_num_threads as get_num_threads
from graphc.runtime.cpu.threads import set_flush_denormal as set_flush_denormal
from graphc.runtime.cpu.threads import set_num_threads as set_num_threads
from graphc.standin import *
from graphc.tracebacks import install as _install_tracebacks

# isort: split
# Last: they use the names above.
from graphc import _dynamo as _dynamo
from graphc import _higher_order_ops as _higher_order_ops
from graphc import accelerator as accelerator
from graphc import amp as amp
from graphc import backends as backends
from graphc import compiler as compiler
from graphc import cpu as cpu
from graphc import cuda as cuda
from graphc import debug as debug
from graphc import distributed as distributed
from graphc import distributions as distributions
from graphc import elsewhere as _elsewhere
from graphc import fft as fft
from graphc import func as func
from graphc import futures as futures
from graphc import fx as fx
from graphc import hub as hub
from graphc import jit as jit
from graphc import library as library
from graphc import mps as mps
from graphc import mtia as mtia
from graphc import multiprocessing as multiprocessing
from graphc import nn as nn
from graphc import optim as optim
from graphc import overrides as overrides
from graphc import profiler as profiler
from graphc import refused as _refused
from graphc import serialization as serialization
from graphc import signal as signal
from graphc import sparse as sparse
from graphc import testing as testing
from graphc import torch_version as torch_version
from graphc import utils as utils
from graphc import xpu as xpu
from graphc.amp import GradScaler as GradScaler
from graphc.amp import autocast as autocast
from graphc.amp import (
    autocast_decrement_nesting,
    autocast_increment_nesting,
    clear_autocast_cache,
    get_autocast_cpu_dtype,
    get_autocast_dtype,
    get_autocast_gpu_dtype,
    is_autocast_cache_enabled,
    is_autocast_cpu_enabled,
    is_autocast_enabled,
    set_autocast_cache_enabled,
    set_autocast_cpu_dtype,
    set_autocast_cpu_enabled,
    set_autocast_dtype,
    set_autocast_enabled,
    set_autocast_gpu_dtype,
)
from graphc.cuda import Event as Event
from graphc.cuda import OutOfMemoryError as OutOfMemoryError
from graphc.cuda import Stream as Stream
from graphc.errors import CudaError as AcceleratorError
from graphc.func import vmap as vmap
from graphc.futures import Future as Future
from graphc.jit import ScriptFunction as ScriptFunction
from graphc.jit import ScriptModule as ScriptModule
from graphc.jit import fork as fork
from graphc.jit import wait as wait
from graphc.library import ops as ops
from graphc.nn.functional import (
    adaptive_avg_pool1d,
    avg_pool1d,
    bilinear,
    celu,
    channel_shuffle,
    conv1d,
    conv2d,
    conv3d,
    conv_transpose1d,
    conv_transpose2d,
    conv_transpose3d,
    cosine_similarity,
    dropout,
    group_norm,
    hardshrink,
    layer_norm,
    max_pool1d,
    max_pool2d,
    max_pool3d,
    pairwise_distance,
    pdist,
    pixel_shuffle,
    pixel_unshuffle,
    prelu,
    rms_norm,
    rrelu,
    selu,
    threshold,
)
from graphc.nn.kernels import *
from graphc.nn.numbered_losses import *

__version__ = version.__version__
_install_tracebacks()
_register_with_einops()


_complete(
    __name__,
    {"Tensor": Tensor, "Module": nn.Module, "Trace": _Trace, "Storage": _Storage, "Chain": _Chain},  # noqa: F405
)
_IN_PLACE = """
    abs_ acos_ acosh_ addmv_ arccos_ arccosh_ arcsin_ arcsinh_ arctan_ arctanh_ asin_ asinh_ atan_
    atanh_ ceil_ clamp_ clamp_max_ clamp_min_ clip_ cos_ cosh_ deg2rad_ detach_ erf_ erfc_ exp2_
    exp_ expm1_ fill_ fix_ floor_ frac_ gcd_ lcm_ ldexp_ log10_ log1p_ log2_ log_ logit_
    nan_to_num_ neg_ negative_ rad2deg_ reciprocal_ relu_ resize_as_ round_ rsqrt_ sigmoid_ sin_
    sinc_ sinh_ sqrt_ square_ tan_ tanh_ trunc_ xlogy_ zero_
"""
globals().update(_in_place(_IN_PLACE, __name__))
globals().update(_namespace(globals(), __name__))
_refused.install()
_elsewhere.install()


def __getattr__(name: str) -> object:
    """What is not there: an AttributeError that says so."""
    raise errors.absent(__name__, name)
