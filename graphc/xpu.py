"""torch.xpu's names: Intel's GPUs, for which graphc has no back end."""

from typing import Any as _Any

from graphc.absent_device import functions as _functions
from graphc.errors import absent as _absent

globals().update(
    _functions(
        "xpu",
        no="is_available is_initialized is_bf16_supported is_tf32_supported "
        "is_current_stream_capturing",
        zero="device_count memory_allocated max_memory_allocated memory_reserved "
        "max_memory_reserved",
        lists="get_rng_state_all get_arch_list memory_stats memory_stats_as_nested_dict",
        quiet="empty_cache manual_seed manual_seed_all seed seed_all reset_peak_memory_stats "
        "reset_accumulated_memory_stats set_rng_state_all",
        refused="init current_device set_device get_device_name get_device_capability "
        "get_device_properties mem_get_info synchronize get_rng_state set_rng_state initial_seed "
        "current_stream set_stream stream Stream Event device utilization",
    )
)


def __getattr__(name: str) -> _Any:
    """What is not there: an AttributeError that says so."""
    raise _absent(__name__, name)
