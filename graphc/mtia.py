"""torch.mtia's names: Meta's accelerators, for which graphc has no back end."""

from typing import Any as _Any

from graphc.absent_device import functions as _functions
from graphc.errors import absent as _absent

globals().update(
    _functions(
        "mtia",
        no="is_available is_initialized is_bf16_supported",
        zero="device_count memory_allocated max_memory_allocated",
        lists="get_rng_state_all memory_stats",
        quiet="empty_cache manual_seed manual_seed_all seed seed_all reset_peak_memory_stats",
        refused="init current_device set_device get_device_capability get_device_properties "
        "synchronize get_rng_state set_rng_state initial_seed current_stream default_stream "
        "set_stream stream device",
    )
)


def __getattr__(name: str) -> _Any:
    """What is not there: an AttributeError that says so."""
    raise _absent(__name__, name)
