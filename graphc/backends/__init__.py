"""torch.backends' names: switches of libraries that graphc does not use. Those of precision are
read by programs on a GPU; all others may be set freely and change nothing."""

from typing import Any

from graphc.backends import cuda as cuda
from graphc.backends import cudnn as cudnn
from graphc.backends import mps as mps
from graphc.frontend.aliases import module_of


def _no() -> bool:
    """False: graphc does not use it."""
    return False


ROWS: dict[str, dict[str, Any]] = {
    "cpu": {"get_cpu_capability": lambda: "DEFAULT"},
    "mkl": {"is_available": _no},
    "mkldnn": {"is_available": _no, "enabled": False, "deterministic": True},
    "openmp": {"is_available": _no},
    "opt_einsum": {"is_available": _no, "enabled": False, "strategy": "auto"},
    "quantized": {"engine": "none", "supported_engines": ["none"]},
}
globals().update({name: module_of(f"{__name__}.{name}", row) for name, row in ROWS.items()})
