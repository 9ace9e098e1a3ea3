"""Tools for parameters, gradients and sequences, under torch.nn.utils' names."""

from graphc.nn.utils import parametrizations as parametrizations
from graphc.nn.utils import parametrize as parametrize
from graphc.nn.utils import prune as prune
from graphc.nn.utils import rnn as rnn
from graphc.nn.utils.bare import *
from graphc.nn.utils.clip_grad import *
from graphc.nn.utils.fusion import *
from graphc.nn.utils.reparametrize import *
