"""The methods and operators of Tensor: free functions, each bound under PyTorch's name."""

from __future__ import annotations

from graphc.frontend import (
    arrangements,
    autograd,
    conversion,
    indexing,
    inplace,
    linalg,
    linear,
    matrices,
    random,
    reductions,
    shapes,
    sorting,
)
from graphc.frontend.arithmetic import Arithmetic


class Methods(Arithmetic):
    """Everything a Tensor can do that is a function of it."""

    # ---- operators beside arithmetic ------------------------------------------------------------
    __matmul__ = linear.matmul
    __rmatmul__ = linear.rmatmul
    __getitem__ = indexing.getitem
    __setitem__ = indexing.setitem
    __hash__ = object.__hash__

    # ---- in place ------------------------------------------------------------------------------
    copy_ = inplace.copy_
    fill_ = inplace.fill_
    zero_ = inplace.zero_
    tril_ = arrangements.tril_
    triu_ = arrangements.triu_
    cumsum_ = arrangements.cumsum_
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
    cumsum = reductions.cumsum
    nansum = arrangements.nansum
    nanmean = arrangements.nanmean
    diff = arrangements.diff

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

    # ---- shape ---------------------------------------------------------------------------------
    reshape = shapes.reshape
    reshape_as = shapes.reshape_as
    view = shapes.view
    view_as = shapes.view_as
    flatten = shapes.flatten
    ravel = shapes.ravel
    unflatten = shapes.unflatten
    squeeze = shapes.squeeze
    unsqueeze = shapes.unsqueeze
    permute = shapes.permute
    transpose = swapaxes = swapdims = shapes.transpose
    t = shapes.t
    movedim = moveaxis = shapes.movedim
    flip = shapes.flip
    fliplr = arrangements.fliplr
    flipud = arrangements.flipud
    rot90 = arrangements.rot90
    roll = shapes.roll
    expand = shapes.expand
    expand_as = shapes.expand_as
    broadcast_to = shapes.broadcast_to
    repeat = shapes.repeat
    tile = shapes.tile
    repeat_interleave = shapes.repeat_interleave
    narrow = shapes.narrow
    select = shapes.select
    unbind = shapes.unbind
    split = shapes.split
    chunk = shapes.chunk
    unfold = shapes.unfold
    contiguous = shapes.contiguous
    tril = shapes.tril
    triu = shapes.triu
    diagonal = shapes.diagonal
    diag = shapes.diag
    T = property(shapes.reverse_dims)
    mT = property(shapes.matrix_transpose)

    # ---- products ------------------------------------------------------------------------------
    matmul = linear.matmul
    mm = linear.mm
    bmm = linear.bmm
    mv = linear.mv
    dot = vdot = linear.dot
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
    inverse = linalg.inv
    pinverse = matrices.pinverse
    cholesky = matrices.cholesky
    qr = matrices.qr
    svd = matrices.svd

    # ---- indexing ------------------------------------------------------------------------------
    gather = indexing.gather
    scatter = indexing.scatter
    scatter_ = indexing.scatter_
    scatter_add = indexing.scatter_add
    scatter_add_ = indexing.scatter_add_
    index_select = indexing.index_select
    index_add = indexing.index_add
    index_add_ = indexing.index_add_
    masked_select = indexing.masked_select
    take_along_dim = indexing.take_along_dim
    nonzero = indexing.nonzero
    argwhere = arrangements.argwhere

    # ---- conversion ----------------------------------------------------------------------------
    to = conversion.to
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
