"""Image data sets read from local files, under torchvision's names.

Nothing is downloaded unless `download=True` asks for it, and then its digest is checked.
"""

from graphc.datasets.cifar import *
from graphc.datasets.digits import *
from graphc.datasets.idx import *
