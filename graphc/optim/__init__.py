"""Optimizers under torch.optim's names."""

from graphc.optim import lr_scheduler, swa_utils
from graphc.optim.adafactor import Adafactor
from graphc.optim.adam import Adam, AdamW
from graphc.optim.adaptive import Adadelta, Adagrad, Adamax, NAdam, RAdam, RMSprop
from graphc.optim.asgd import ASGD
from graphc.optim.lbfgs import LBFGS
from graphc.optim.muon import Muon
from graphc.optim.optimizer import Optimizer
from graphc.optim.schedules import get_scheduler
from graphc.optim.sgd import SGD
from graphc.optim.signs import Lion, Rprop

__all__ = [
    "ASGD",
    "LBFGS",
    "SGD",
    "Adadelta",
    "Adafactor",
    "Adagrad",
    "Adam",
    "AdamW",
    "Adamax",
    "Lion",
    "Muon",
    "NAdam",
    "Optimizer",
    "RAdam",
    "RMSprop",
    "Rprop",
    "get_scheduler",
    "lr_scheduler",
    "swa_utils",
]
