"""The methods and operators of Tensor: free functions, each bound under PyTorch's name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from graphc.frontend import (
    autograd,
    conversion,
    indexing,
    inplace,
    linear,
    logic,
    random,
    reductions,
    shapes,
)
from graphc.frontend import elementwise as E
from graphc.ir.sugar import Sugar

if TYPE_CHECKING:
    from graphc.frontend.tensor import Tensor


class Methods(Sugar):
    """Everything a Tensor can do that is a function of it."""

    # ---- operators -----------------------------------------------------------------------------
    __add__ = E.add
    __radd__ = E.add
    __sub__ = E.sub
    __rsub__ = E.rsub
    __mul__ = E.mul
    __rmul__ = E.mul
    __truediv__ = E.div
    __rtruediv__ = E.rdiv
    __floordiv__ = E.floor_divide
    __rfloordiv__ = E.rfloordiv
    __mod__ = E.remainder
    __rmod__ = E.rrem
    __pow__ = E.pow
    __rpow__ = E.rpow
    __matmul__ = linear.matmul
    __rmatmul__ = linear.rmatmul
    __neg__ = E.neg
    __pos__ = E.positive
    __abs__ = E.abs
    __invert__ = logic.bitwise_not
    __and__ = logic.bitwise_and
    __rand__ = logic.bitwise_and
    __or__ = logic.bitwise_or
    __ror__ = logic.bitwise_or
    __xor__ = logic.bitwise_xor
    __rxor__ = logic.bitwise_xor
    __lshift__ = logic.bitwise_left_shift
    __rlshift__ = logic.rshl
    __rshift__ = logic.bitwise_right_shift
    __rrshift__ = logic.rshr
    __lt__ = logic.lt
    __le__ = logic.le
    __gt__ = logic.gt
    __ge__ = logic.ge
    __eq__ = logic.equals
    __ne__ = logic.differs
    __iadd__ = inplace.add_
    __isub__ = inplace.sub_
    __imul__ = inplace.mul_
    __itruediv__ = inplace.div_
    __ifloordiv__ = inplace.floor_divide_
    __imod__ = inplace.remainder_
    __ipow__ = inplace.pow_
    __iand__ = inplace.bitwise_and_
    __ior__ = inplace.bitwise_or_
    __ixor__ = inplace.bitwise_xor_
    __ilshift__ = inplace.bitwise_left_shift_
    __irshift__ = inplace.bitwise_right_shift_
    __getitem__ = indexing.getitem
    __setitem__ = indexing.setitem
    __hash__ = object.__hash__

    # ---- elementwise ---------------------------------------------------------------------------
    add = E.add
    sub = subtract = E.sub
    mul = multiply = E.mul
    div = divide = true_divide = E.div
    floor_divide = E.floor_divide
    remainder = E.remainder
    fmod = E.fmod
    pow = E.pow
    neg = negative = E.neg
    abs = absolute = E.abs
    sign = E.sign
    exp = E.exp
    exp2 = E.exp2
    expm1 = E.expm1
    log = E.log
    log2 = E.log2
    log10 = E.log10
    log1p = E.log1p
    sin = E.sin
    cos = E.cos
    tan = E.tan
    sinh = E.sinh
    cosh = E.cosh
    tanh = E.tanh
    sigmoid = E.sigmoid
    erf = E.erf
    erfc = E.erfc
    sqrt = E.sqrt
    rsqrt = E.rsqrt
    square = E.square
    reciprocal = E.reciprocal
    floor = E.floor
    ceil = E.ceil
    round = E.round
    trunc = E.trunc
    relu = E.relu
    clamp = clip = E.clamp
    clamp_min = E.clamp_min
    clamp_max = E.clamp_max
    maximum = E.maximum
    minimum = E.minimum
    fmax = E.fmax
    fmin = E.fmin
    lerp = E.lerp
    addcmul = E.addcmul
    addcdiv = E.addcdiv
    isnan = logic.isnan
    isinf = logic.isinf
    isfinite = logic.isfinite
    isclose = logic.isclose
    nan_to_num = E.nan_to_num
    eq = logic.eq
    ne = logic.ne
    lt = logic.lt
    le = logic.le
    gt = logic.gt
    ge = logic.ge
    bitwise_and = logic.bitwise_and
    bitwise_or = logic.bitwise_or
    bitwise_xor = logic.bitwise_xor
    bitwise_not = logic.bitwise_not
    logical_and = logic.logical_and
    logical_or = logic.logical_or
    logical_xor = logic.logical_xor
    logical_not = logic.logical_not
    masked_fill = E.masked_fill

    def where(self: Any, condition: Tensor, other: Any) -> Tensor:
        """self where the condition holds, else `other`."""
        return E.where(condition, self, other)

    # ---- in place ------------------------------------------------------------------------------
    add_ = inplace.add_
    sub_ = inplace.sub_
    mul_ = inplace.mul_
    div_ = inplace.div_
    floor_divide_ = inplace.floor_divide_
    remainder_ = inplace.remainder_
    pow_ = inplace.pow_
    neg_ = inplace.neg_
    abs_ = inplace.abs_
    exp_ = inplace.exp_
    log_ = inplace.log_
    sqrt_ = inplace.sqrt_
    rsqrt_ = inplace.rsqrt_
    reciprocal_ = inplace.reciprocal_
    sigmoid_ = inplace.sigmoid_
    tanh_ = inplace.tanh_
    relu_ = inplace.relu_
    floor_ = inplace.floor_
    ceil_ = inplace.ceil_
    round_ = inplace.round_
    trunc_ = inplace.trunc_
    clamp_ = clip_ = inplace.clamp_
    clamp_min_ = inplace.clamp_min_
    clamp_max_ = inplace.clamp_max_
    lerp_ = inplace.lerp_
    addcmul_ = inplace.addcmul_
    addcdiv_ = inplace.addcdiv_
    masked_fill_ = inplace.masked_fill_
    copy_ = inplace.copy_
    fill_ = inplace.fill_
    zero_ = inplace.zero_
    uniform_ = random.uniform_
    normal_ = random.normal_
    bernoulli_ = random.bernoulli_
    random_ = random.random_
    exponential_ = random.exponential_
    bernoulli = random.bernoulli

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
    transpose = swapaxes = shapes.transpose
    t = shapes.t
    movedim = moveaxis = shapes.movedim
    flip = shapes.flip
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
    dot = linear.dot
    outer = linear.outer
    addmm = linear.addmm

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
    new_zeros = conversion.new_zeros
    new_ones = conversion.new_ones
    new_full = conversion.new_full
    new_empty = conversion.new_empty
    new_tensor = conversion.new_tensor
    equal = conversion.equal
    allclose = conversion.allclose

    # ---- autograd ------------------------------------------------------------------------------
    backward = autograd.backward_of
    accumulate_grad = autograd.accumulate_grad
    requires_grad_ = autograd.requires_grad_
    detach = autograd.detach
    detach_ = autograd.detach_
    retain_grad = autograd.retain_grad
    register_hook = autograd.register_hook
    clone = autograd.clone
