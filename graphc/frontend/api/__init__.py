"""PyTorch's functions over tensors: each module lists in `__all__` what torch's namespace gets."""
