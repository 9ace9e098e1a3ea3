"""torch.backends' names: switches of libraries that graphc does not use. They may be set freely."""

from graphc.backends import cuda as cuda
from graphc.backends import cudnn as cudnn
from graphc.backends import mps as mps
