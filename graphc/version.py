"""torch.version's names: which version this is, and the GPU libraries it was built with (none)."""

from __future__ import annotations

from graphc.torch_version import TorchVersion

__all__ = ["__version__", "cuda", "debug", "git_version", "hip", "xpu"]

__version__ = TorchVersion("0.1.0")
debug = False
git_version = ""
cuda: str | None = None
hip: str | None = None
xpu: str | None = None
