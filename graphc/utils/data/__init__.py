"""Data sets, samplers and the loader, under torch.utils.data's names."""

from graphc.frontend.aliases import module_of as _module_of
from graphc.utils.data import collate as _collate
from graphc.utils.data.collate import default_collate, default_convert
from graphc.utils.data.dataloader import DataLoader
from graphc.utils.data.dataset import (
    ChainDataset,
    ConcatDataset,
    Dataset,
    IterableDataset,
    StackDataset,
    Subset,
    TensorDataset,
    random_split,
)
from graphc.utils.data.distributed import DistributedSampler
from graphc.utils.data.sampler import (
    BatchSampler,
    RandomSampler,
    Sampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)
from graphc.utils.data.worker import WorkerInfo, get_worker_info

__all__ = [
    "BatchSampler",
    "ChainDataset",
    "ConcatDataset",
    "DataLoader",
    "Dataset",
    "DistributedSampler",
    "IterableDataset",
    "RandomSampler",
    "Sampler",
    "SequentialSampler",
    "StackDataset",
    "Subset",
    "SubsetRandomSampler",
    "TensorDataset",
    "WeightedRandomSampler",
    "WorkerInfo",
    "default_collate",
    "default_convert",
    "get_worker_info",
    "random_split",
]

_utils = _module_of(f"{__name__}._utils", {})
_utils.collate = _module_of(  # type: ignore[attr-defined]  # PyTorch's file of these names
    f"{__name__}._utils.collate",
    {
        "collate_tensor_fn": _collate.collate_tensor,
        "default_collate": default_collate,
        "default_collate_fn_map": _collate.default_collate_fn_map,
        "default_convert": default_convert,
        "np_str_obj_array_pattern": _collate.NO_NUMBERS,
    },
)
