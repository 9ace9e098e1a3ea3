"""torch.utils.model_zoo's one name."""

from graphc.hub import load_state_dict_from_url as load_url

__all__ = ["load_url"]
