"""torch.utils.model_zoo's names."""

from tqdm.auto import tqdm

from graphc.hub import load_state_dict_from_url as load_url

__all__ = ["load_url", "tqdm"]
