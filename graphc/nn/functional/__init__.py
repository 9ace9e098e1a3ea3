"""The functions behind the layers: plain formulas over primitives, with PyTorch's signatures."""

from graphc.nn.functional.activation import *
from graphc.nn.functional.attention import *
from graphc.nn.functional.dropout import *
from graphc.nn.functional.linear import *
from graphc.nn.functional.losses import *
from graphc.nn.functional.normalization import *
from graphc.nn.functional.pooling import *
