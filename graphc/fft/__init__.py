"""torch.fft's names: frequencies, shifts and what has a real result; the rest is refused."""

from graphc.frontend.api.public import namespace as _namespace
from graphc.frontend.api.spectra import *
from graphc.frontend.api.spectra import __all__ as __all__

globals().update(_namespace(globals(), __name__))
