"""Whose code a file is: installed packages lie in more places than one environment has."""

from __future__ import annotations

import os

import pytest

from graphc.frontend.step.python import code

HOME = os.path.expanduser("~")
INSTALLED = [
    f"{HOME}/.local/lib/python3.11/site-packages/timm/models/resnet.py",  # pip install --user
    "/usr/lib/python3/dist-packages/torchmetrics/metric.py",  # Debian's
    "/srv/shared/lib/python3.11/site-packages/kornia/core.py",  # of a .pth file
    os.__file__,
]


@pytest.mark.parametrize("file", INSTALLED)
def test_installed(file: str) -> None:
    pythons = file == os.__file__
    assert code.whose(file) == (code.LIBRARY if pythons else code.INSTALLED)
    assert code.is_pythons(file) is pythons


@pytest.mark.parametrize("file", ["/home/me/work/train.py", "/home/me/site-packages-of-mine/x.py"])
def test_ones_own(file: str) -> None:
    assert code.whose(file) == code.USERS
