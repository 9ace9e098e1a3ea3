"""Reads names.txt, and says why a name is missing or ours alone."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

FILE = Path(__file__).with_name("names.txt")


def sections() -> dict[str, list[str]]:
    """The dotted names of each section, in the order of the file."""
    found: dict[str, list[str]] = {}
    blocks = FILE.read_text().split("\n# ")[1:]
    for block in blocks:
        title, _, rest = block.partition("\n")
        words = rest.split()
        starts = [k for k, word in enumerate(words) if word.endswith(":")]
        names = []
        for start, end in pairwise([*starts, len(words)]):
            prefix = words[start].replace("torch:", "").replace(":", ".")
            names += [prefix + word for word in words[start + 1 : end]]
        found[title] = names
    return found


SECTIONS = sections()

OURS = {
    "optim.Lion": "Chen et al. 2023",
    "optim.get_scheduler": "Hugging Face transformers has it",
    "datasets": "torchvision has it",
    "transforms": "torchvision has it",
    "utils.tensorboard": "PyTorch has it where the package tensorboard is installed",
}  # what torch itself does not have: names, or the first part of names

MISSING = {
    "nn.Module.share_memory": "tensors live in the memory of one process",
}  # the reason for each name that is not there

UNTESTED: set[str] = set()  # names that no test uses

# Arguments of torch that are left out everywhere (a name alone) or by one function.
ARGUMENTS: dict[str, tuple[str, ...]] = {
    "concatenate": ("axis",),
    "std_mean": ("out",),  # in the documentation only
    "var_mean": ("out",),
    "true_divide": ("dividend", "divisor"),  # input and other, as PyTorch itself takes them
    "linalg.norm": ("input",),  # A, as its documentation has it
    "set_num_threads": ("int",),  # a type in the documentation
    "save": ("_use_new_zipfile_serialization", "_disable_byteorder_record"),  # of its format
    "Tensor.type_as": ("tensor",),  # `other`, as PyTorch itself takes it
    "result_type": ("tensor1", "tensor2"),  # takes any number
    "searchsorted": ("values",),  # the documentation's `input`
}
