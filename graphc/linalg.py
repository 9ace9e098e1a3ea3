"""Linear algebra under torch.linalg's names."""

from graphc.frontend.api.linalg import *  # noqa: F403  what it lists is this module
