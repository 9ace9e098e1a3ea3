"""torch.signal's names: windows."""

from graphc.signal import windows as windows
