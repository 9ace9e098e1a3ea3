"""torch.backends' names: switches of libraries that graphc does not use. Those of precision are
read by programs on a GPU; all others may be set freely and change nothing."""

from graphc.backends import cuda as cuda
from graphc.backends import cudnn as cudnn
from graphc.backends import mps as mps
