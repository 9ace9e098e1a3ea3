"""The interpreter first: Triton decides at its first import whether it compiles or interprets."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

import pytest

from graphc.backends import cudnn
from graphc.frontend.devices import ACCELERATORS
from graphc.runtime.cuda import device, probe
from graphc.runtime.cuda.device import Device

if find_spec("triton") is not None:
    import graphc.runtime.cuda.interp  # noqa: F401


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What runs on FakeDriver runs on a GPU as well."""
    for item in items:
        if "fake_gpu" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.gpu)


def on_real_gpu(config: pytest.Config) -> bool:
    """Whether GPU tests were asked for alone, on a machine that has one."""
    return config.option.markexpr == "gpu" and probe.mode() == "" and not probe.unavailable()


@pytest.fixture(autouse=True)
def exact(monkeypatch: pytest.MonkeyPatch) -> None:
    """Convolutions of float32, which PyTorch lets a GPU round to TF32, are exact: tests compare."""
    monkeypatch.setattr(cudnn, "allow_tf32", False)


@pytest.fixture
def fake_gpu(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[None]:
    """Inside, "cuda" is what FakeDriver plays, and where `pytest -m gpu` runs on a machine with a
    GPU, that GPU; it goes on to be what it was."""
    if not on_real_gpu(request.config):
        monkeypatch.setenv("GRAPHC_CUDA", "fake")
    before = list(ACCELERATORS)
    ACCELERATORS.clear()
    yield
    ACCELERATORS[:] = before


@pytest.fixture
def told_gpu(fake_gpu: None) -> Device:
    """A device whose driver tells what it was asked, and can be made to fail: FakeDriver's. Of a
    real one native code calls the library's own functions, of which Python sees nothing."""
    here = device.current()
    if here.driver.name != "fake":
        pytest.skip("what a GPU's driver does is not seen")
    return here
