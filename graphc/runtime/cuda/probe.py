"""Whether this machine can run GPU kernels, and if not what is missing, without touching it twice.

Nothing is imported before it is needed: a machine without libcuda is told by the loader alone.
"""

from __future__ import annotations

import ctypes
import os
import sys
from functools import cache
from importlib import metadata

from graphc import config
from graphc.errors import CudaError, DeviceUnavailable, InvalidArgument
from graphc.runtime.cuda.driver import DeviceAttribute, Driver

LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
LEAST_DRIVER = 12000  # CUDA 12.0, NVIDIA's driver 525: loads what ptxas 12.9 makes
TRITON = (3, 6), (3, 10)  # from, and below
LEAST_ARCH = 8, 0
MODES = ("", "fake", "off")
EXTRA = "pip install 'graphc[gpu]'"


def mode() -> str:
    """GRAPHC_CUDA, checked."""
    found = config.cuda()
    if found not in MODES:
        raise InvalidArgument(f"GRAPHC_CUDA={found!r:.100}", fix='use "fake", "off" or nothing')
    return found


def unavailable() -> DeviceUnavailable | None:
    """What keeps GPU kernels from running here; None where they do."""
    missing = _missing(mode())
    if missing is not None:
        return DeviceUnavailable(missing[0], why=missing[1], fix=missing[2])
    return forked() if _chosen().forked else None


Missing = tuple[str, str, str]


def forked() -> DeviceUnavailable:
    """The error of a process whose parent uses the driver."""
    return DeviceUnavailable(
        "Cannot re-initialize CUDA in forked subprocess",
        why="CUDA does not follow into a process that is forked after it has begun",
        fix="start processes by the 'spawn' method, or fork before the GPU is used",
    )


def _in_child() -> None:
    """What a parent has of its driver is of no use here, and to ask it may never end."""
    for made in (real, fake):
        if made.cache_info().currsize:
            made().forked = True


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)


@cache
def _missing(chosen: str) -> Missing | None:
    """What is missing, why it is needed, and how to get it."""
    if chosen == "off":
        why = "the switch says that no GPU is to be used"
        return "no CUDA device: GRAPHC_CUDA=off", why, "unset GRAPHC_CUDA"
    if chosen == "fake":
        return triton_missing()
    return _driver_missing() or triton_missing() or _device_missing(real())


def triton_missing() -> Missing | None:
    """Asked of the package's metadata: the main process never imports Triton."""
    why = "GPU kernels are compiled by Triton"
    try:
        version = metadata.version("triton")
    except metadata.PackageNotFoundError:
        return "no CUDA device: Triton is not installed", why, EXTRA
    number = tuple(int(n) for n in version.split(".")[:2])
    if not TRITON[0] <= number < TRITON[1]:
        wanted = "triton>={}.{},<{}.{}".format(*TRITON[0], *TRITON[1])
        what = f"no CUDA device: Triton {version} is installed, {wanted} is needed"
        return what, why, f"pip install '{wanted}'"
    return None


def _driver_missing() -> Missing | None:
    why = "GPUs are reached through NVIDIA's driver"
    try:
        ctypes.CDLL(LIBRARY)
    except OSError:
        fix = 'install NVIDIA\'s driver, 525 or later, or use device="cpu"'
        return f"no CUDA device: {LIBRARY} is not there", why, fix
    try:
        driver = real()
    except ImportError:
        return "no CUDA device: cuda-bindings is not installed", why, EXTRA
    try:
        driver.Init()
        version = driver.DriverGetVersion()
    except (CudaError, RuntimeError) as e:
        what = e.what if isinstance(e, CudaError) else str(e)
        return f"no CUDA device: {what}", why, "see whether nvidia-smi lists the GPU"
    if version < LEAST_DRIVER:
        what = f"no CUDA device: the driver is for CUDA {cuda_version(driver)}, 12.0 is needed"
        return what, why, "install NVIDIA's driver, 525 or later"
    return None


def _device_missing(driver: Driver) -> Missing | None:
    if not driver.DeviceGetCount():
        why = "the driver lists none"
        return "no CUDA device: this machine has none", why, 'use device="cpu"'
    major, minor = capability(driver, driver.DeviceGet(0))
    if (major, minor) < LEAST_ARCH:
        name = driver.DeviceGetName(driver.DeviceGet(0))
        what = f"no CUDA device: {name} is sm_{major}{minor}, sm_80 is needed"
        why = "kernels use bfloat16 and asynchronous copies, which came with sm_80 (Ampere)"
        return what, why, 'use a newer GPU, or device="cpu"'
    return None


def cuda_version(driver: Driver) -> str:
    """The newest CUDA that the driver knows: "12.4"."""
    version = driver.DriverGetVersion()
    return f"{version // 1000}.{version % 1000 // 10}"


def capability(driver: Driver, device: int) -> tuple[int, int]:
    major, minor = (
        DeviceAttribute.COMPUTE_CAPABILITY_MAJOR,
        DeviceAttribute.COMPUTE_CAPABILITY_MINOR,
    )
    return driver.DeviceGetAttribute(major, device), driver.DeviceGetAttribute(minor, device)


@cache
def real() -> Driver:
    from graphc.runtime.cuda.bindings import CudaDriver

    return CudaDriver()


@cache
def fake() -> Driver:
    from graphc.runtime.cuda.fake import FakeDriver

    return FakeDriver()


def _chosen() -> Driver:
    return fake() if mode() == "fake" else real()


def driver() -> Driver:
    """The driver that GRAPHC_CUDA chooses, initialised. Raises DeviceUnavailable."""
    missing = unavailable()
    if missing is not None:
        raise missing
    return _chosen()
