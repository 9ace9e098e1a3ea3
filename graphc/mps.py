"""torch.mps's names: Apple's GPUs, for which graphc has no back end."""

from typing import Any as _Any

from graphc.absent_device import functions as _functions
from graphc.errors import absent as _absent

globals().update(
    _functions(
        "mps",
        no="is_available",
        zero="device_count current_allocated_memory driver_allocated_memory",
        lists="",
        quiet="empty_cache manual_seed seed set_per_process_memory_fraction",
        refused="synchronize get_rng_state set_rng_state recommended_max_memory Event "
        "compile_shader load_metallib",
    )
)


def __getattr__(name: str) -> _Any:
    """What is not there: an AttributeError that says so."""
    raise _absent(__name__, name)
