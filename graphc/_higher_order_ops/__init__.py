"""Control flow under the names that PyTorch's higher-order ops have."""

from graphc.frontend.step.control import cond as cond
from graphc.frontend.step.control import scan as scan
from graphc.frontend.step.control import while_loop as while_loop
