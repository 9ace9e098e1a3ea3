"""Linear algebra under torch.linalg's names."""

from graphc.frontend.linalg import *  # noqa: F403  what it lists is this module
