"""Learning-rate schedules: Python floats on the host, written to each group's "lr".

A compiled step reads "lr" at each call, so a schedule never recompiles anything. `step()` inside
one runs on the host after every call that succeeds.
"""

from graphc.optim.lr_scheduler.base import *
from graphc.optim.lr_scheduler.combined import *
from graphc.optim.lr_scheduler.cycles import *
from graphc.optim.lr_scheduler.epochs import *
from graphc.optim.lr_scheduler.plateau import *
