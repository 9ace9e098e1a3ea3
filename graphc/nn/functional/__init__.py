"""The functions behind the layers: plain formulas over primitives, with PyTorch's signatures."""

from graphc.frontend.api.public import namespace as _namespace
from graphc.nn.functional.activation import *
from graphc.nn.functional.adaptive_pooling import *
from graphc.nn.functional.attention import *
from graphc.nn.functional.conv import *
from graphc.nn.functional.ctc import *
from graphc.nn.functional.distance import *
from graphc.nn.functional.dropout import *
from graphc.nn.functional.embedding import *
from graphc.nn.functional.folding import *
from graphc.nn.functional.fractional_pooling import *
from graphc.nn.functional.indexed_pooling import *
from graphc.nn.functional.linear import *
from graphc.nn.functional.losses import *
from graphc.nn.functional.margin_losses import *
from graphc.nn.functional.multihead import *
from graphc.nn.functional.normalization import *
from graphc.nn.functional.other_pooling import *
from graphc.nn.functional.padding import *
from graphc.nn.functional.pooling import *
from graphc.nn.functional.probability_losses import *
from graphc.nn.functional.sampling import *
from graphc.nn.functional.upsampling import *
from graphc.nn.functional.vision import *

globals().update(_namespace(globals(), __name__))
