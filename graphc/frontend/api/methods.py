"""The methods and operators of Tensor: free functions, each bound under PyTorch's name."""

from __future__ import annotations

from graphc.frontend import autograd, inplace
from graphc.frontend.api import (
    conversion,
    legacy,
    linalg,
    linear,
    matrices,
    operators,
    random,
    reductions,
    scans,
    sorting,
    statistics,
)
from graphc.frontend.api.arithmetic import Arithmetic
from graphc.frontend.api.movements import Movements
from graphc.frontend.api.public import public


class Methods(Movements):
    """Everything a Tensor can do that is a function of it."""

    # ---- operators beside arithmetic ------------------------------------------------------------
    __matmul__ = operators.matrix_operator(linear.matmul)
    __rmatmul__ = operators.matrix_operator(linear.rmatmul)
    __int__ = operators.as_int
    __float__ = operators.as_float
    __array_wrap__ = operators.array_wrap
    __reversed__ = operators.reverse
    __hash__ = object.__hash__

    # ---- in place ------------------------------------------------------------------------------
    copy_ = inplace.copy_
    fill_ = inplace.fill_
    zero_ = inplace.zero_
    cumsum_ = scans.cumsum_
    cumprod_ = scans.cumprod_
    uniform_ = random.uniform_
    normal_ = random.normal_
    bernoulli_ = random.bernoulli_
    random_ = random.random_
    exponential_ = random.exponential_
    geometric_ = random.geometric_
    log_normal_ = random.log_normal_
    cauchy_ = random.cauchy_
    bernoulli = random.bernoulli
    multinomial = random.multinomial

    # ---- reductions ----------------------------------------------------------------------------
    sum = reductions.sum
    prod = reductions.prod
    mean = reductions.mean
    var = reductions.var
    std = reductions.std
    norm = reductions.norm
    max = reductions.max
    min = reductions.min
    amax = reductions.amax
    amin = reductions.amin
    argmax = reductions.argmax
    argmin = reductions.argmin
    all = reductions.all
    any = reductions.any
    count_nonzero = reductions.count_nonzero
    logsumexp = reductions.logsumexp
    softmax = reductions.softmax
    log_softmax = reductions.log_softmax
    cumsum = scans.cumsum
    cumprod = scans.cumprod
    cummax = scans.cummax
    cummin = scans.cummin
    logcumsumexp = scans.logcumsumexp
    aminmax = reductions.aminmax
    dist = reductions.dist
    cov = statistics.cov
    corrcoef = statistics.corrcoef

    # ---- sorting -------------------------------------------------------------------------------
    sort = sorting.sort
    argsort = sorting.argsort
    msort = sorting.msort
    topk = sorting.topk
    kthvalue = sorting.kthvalue
    median = sorting.median
    nanmedian = sorting.nanmedian
    mode = sorting.mode
    quantile = sorting.quantile
    nanquantile = sorting.nanquantile
    histc = sorting.histc
    unique = sorting.unique
    unique_consecutive = sorting.unique_consecutive
    bincount = sorting.bincount

    # ---- products ------------------------------------------------------------------------------
    matmul = linear.matmul
    mm = linear.mm
    bmm = linear.bmm
    mv = linear.mv
    dot = linear.dot
    vdot = linear.vdot
    outer = ger = linear.outer
    inner = linear.inner
    kron = linear.kron
    cross = linear.cross
    trace = linear.trace
    addmm = linear.addmm
    addmv = linear.addmv
    addr = linear.addr
    addbmm = linear.addbmm
    baddbmm = linear.baddbmm
    addmm_ = inplace.inplace(linear.addmm)
    addmv_ = inplace.inplace(linear.addmv)
    addr_ = inplace.inplace(linear.addr)
    addbmm_ = inplace.inplace(linear.addbmm)
    baddbmm_ = inplace.inplace(linear.baddbmm)
    det = linalg.det
    slogdet = linalg.slogdet
    logdet = linalg.logdet
    matrix_power = linalg.matrix_power
    matrix_exp = linalg.matrix_exp
    inverse = linalg.inv
    pinverse = matrices.pinverse
    cholesky = matrices.cholesky
    qr = matrices.qr
    svd = matrices.svd

    # ---- conversion ----------------------------------------------------------------------------
    to = conversion.to
    type = legacy.type_of
    new = legacy.new
    type_as = conversion.type_as
    float = conversion.float
    double = conversion.double
    half = conversion.half
    bfloat16 = conversion.bfloat16
    long = conversion.long
    int = conversion.int
    short = conversion.short
    char = conversion.char
    byte = conversion.byte
    bool = conversion.bool
    cpu = conversion.cpu
    cuda = conversion.cuda
    pin_memory = conversion.pin_memory
    new_tensor = conversion.new_tensor
    new_zeros = conversion.new_zeros
    new_ones = conversion.new_ones
    new_full = conversion.new_full
    new_empty = conversion.new_empty
    equal = conversion.equal
    allclose = conversion.allclose

    # ---- autograd ------------------------------------------------------------------------------
    backward = autograd.backward_of
    accumulate_grad = autograd.accumulate_grad
    requires_grad_ = autograd.requires_grad_
    detach = autograd.detach
    detach_ = autograd.detach_
    retain_grad = autograd.retain_grad
    retains_grad = property(autograd.retains_grad)
    output_nr = property(autograd.output_nr)
    register_hook = autograd.register_hook
    register_post_accumulate_grad_hook = autograd.register_post_accumulate_grad_hook
    clone = autograd.clone


for kind in (Methods, Movements, Arithmetic):
    for name, function in public(vars(kind), kind.__module__).items():
        setattr(kind, name, function)
