"""Special functions under torch.special's names."""

from graphc.frontend.api.bessel import *
from graphc.frontend.api.bessel import i0 as modified_bessel_i0
from graphc.frontend.api.bessel import i1 as modified_bessel_i1
from graphc.frontend.api.elementwise import erf as erf
from graphc.frontend.api.elementwise import erfc as erfc
from graphc.frontend.api.elementwise import exp2 as exp2
from graphc.frontend.api.elementwise import expm1 as expm1
from graphc.frontend.api.elementwise import log1p as log1p
from graphc.frontend.api.elementwise import sigmoid as expit
from graphc.frontend.api.polynomials import *
from graphc.frontend.api.public import namespace as _namespace
from graphc.frontend.api.quadrature import erfcx as erfcx
from graphc.frontend.api.quadrature import gammainc as gammainc
from graphc.frontend.api.quadrature import gammaincc as gammaincc
from graphc.frontend.api.quadrature import log_ndtr as log_ndtr
from graphc.frontend.api.quadrature import ndtri as ndtri
from graphc.frontend.api.reductions import log_softmax as log_softmax
from graphc.frontend.api.reductions import logsumexp as logsumexp
from graphc.frontend.api.reductions import softmax as softmax
from graphc.frontend.api.special import (
    digamma as digamma,
)
from graphc.frontend.api.special import digamma as psi
from graphc.frontend.api.special import (
    entr as entr,
)
from graphc.frontend.api.special import (
    erfinv as erfinv,
)
from graphc.frontend.api.special import lgamma as gammaln
from graphc.frontend.api.special import (
    logit as logit,
)
from graphc.frontend.api.special import (
    multigammaln as multigammaln,
)
from graphc.frontend.api.special import (
    ndtr as ndtr,
)
from graphc.frontend.api.special import (
    polygamma as polygamma,
)
from graphc.frontend.api.special import (
    round as round,
)
from graphc.frontend.api.special import (
    sinc as sinc,
)
from graphc.frontend.api.special import (
    xlog1py as xlog1py,
)
from graphc.frontend.api.special import (
    xlogy as xlogy,
)

globals().update(_namespace(globals(), __name__))
