"""graphc: a JIT compiler for whole training steps under PyTorch's names.

Each module lists in `__all__` what it adds to this namespace.
"""

from graphc import autograd as autograd
from graphc import errors as errors
from graphc import linalg as linalg
from graphc import random as random
from graphc import return_types as return_types
from graphc.frontend.api.arrangements import *
from graphc.frontend.api.conversion import *
from graphc.frontend.api.creation import *
from graphc.frontend.api.diagonals import *
from graphc.frontend.api.einsum import *
from graphc.frontend.api.elementwise import *
from graphc.frontend.api.indexing import *
from graphc.frontend.api.legacy import *
from graphc.frontend.api.limits import *
from graphc.frontend.api.linear import *
from graphc.frontend.api.logic import *
from graphc.frontend.api.matrices import *
from graphc.frontend.api.out import TORCH as _TORCH
from graphc.frontend.api.out import accept_out as _accept_out
from graphc.frontend.api.public import public as _public
from graphc.frontend.api.random import *
from graphc.frontend.api.reductions import *
from graphc.frontend.api.scans import *
from graphc.frontend.api.scatter import *
from graphc.frontend.api.shapes import *
from graphc.frontend.api.sorting import *
from graphc.frontend.api.special import *
from graphc.frontend.api.statistics import *
from graphc.frontend.api.strided import *
from graphc.frontend.autograd import *
from graphc.frontend.devices import *
from graphc.frontend.dtypes import *
from graphc.frontend.files.serialization import *
from graphc.frontend.modes import *
from graphc.frontend.options import *
from graphc.frontend.printing import *
from graphc.frontend.promotion import *
from graphc.frontend.size import *
from graphc.frontend.step.compile import *
from graphc.frontend.switches import *
from graphc.frontend.tensor import *
from graphc.runtime.executor import set_flush_denormal as set_flush_denormal
from graphc.runtime.threads import get_num_threads as get_num_threads
from graphc.runtime.threads import set_num_threads as set_num_threads

# isort: split
# Last: they use the names above.
from graphc import amp as amp
from graphc import backends as backends
from graphc import cuda as cuda
from graphc import debug as debug
from graphc import nn as nn
from graphc import optim as optim
from graphc import utils as utils
from graphc.amp import autocast as autocast

__version__ = "0.1.0"

globals().update(_public(globals(), __name__))
_accept_out(globals(), _TORCH)
