"""torch.func's names: derivatives of functions, batches, and modules as functions."""

from graphc.func.batched import *
from graphc.func.derivatives import *
from graphc.func.modules import *
