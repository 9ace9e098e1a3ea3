"""Layers, containers and losses under torch.nn's names; each module's `__all__` lists its own."""

from graphc.nn import functional as functional
from graphc.nn import init as init
from graphc.nn import utils as utils
from graphc.nn.activation import *
from graphc.nn.adaptive_softmax import *
from graphc.nn.containers import *
from graphc.nn.conv import *
from graphc.nn.dropout import *
from graphc.nn.embedding import *
from graphc.nn.fractional_pooling import *
from graphc.nn.lazy import *
from graphc.nn.linear import *
from graphc.nn.losses import *
from graphc.nn.module import *
from graphc.nn.more_losses import *
from graphc.nn.multihead import *
from graphc.nn.normalization import *
from graphc.nn.padding import *
from graphc.nn.parameter import *
from graphc.nn.parameter_containers import *
from graphc.nn.pooling import *
from graphc.nn.rnn import *
from graphc.nn.synchronized import *
from graphc.nn.transformer import *
from graphc.nn.vision import *

# isort: split
# Last: they use the names above.
from graphc.nn import attention as attention
from graphc.nn import common_types as common_types
from graphc.nn import parallel as parallel
from graphc.nn.parallel import *
from graphc.nn.rnn import _Cell as RNNCellBase

# isort: split
from graphc.nn import modules as modules
