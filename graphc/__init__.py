"""graphc: a JIT compiler for whole training steps under PyTorch's names.

Each module lists in `__all__` what it adds to this namespace.
"""

from graphc import autograd as autograd
from graphc import errors as errors
from graphc import linalg as linalg
from graphc.frontend import random as random
from graphc.frontend.arrangements import *
from graphc.frontend.autograd import *
from graphc.frontend.compile import *
from graphc.frontend.conversion import *
from graphc.frontend.creation import *
from graphc.frontend.devices import *
from graphc.frontend.diagonals import *
from graphc.frontend.dtypes import *
from graphc.frontend.einsum import *
from graphc.frontend.elementwise import *
from graphc.frontend.functions import *
from graphc.frontend.indexing import *
from graphc.frontend.legacy import *
from graphc.frontend.limits import *
from graphc.frontend.linear import *
from graphc.frontend.logic import *
from graphc.frontend.matrices import *
from graphc.frontend.modes import *
from graphc.frontend.operands import *
from graphc.frontend.options import *
from graphc.frontend.printing import *
from graphc.frontend.promotion import *
from graphc.frontend.random import *
from graphc.frontend.reductions import *
from graphc.frontend.scans import *
from graphc.frontend.scatter import *
from graphc.frontend.serialization import *
from graphc.frontend.shapes import *
from graphc.frontend.size import *
from graphc.frontend.sorting import *
from graphc.frontend.strided import *
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
from graphc import nn as nn
from graphc import optim as optim
from graphc import utils as utils
from graphc.amp import autocast as autocast

__version__ = "0.1.0"
