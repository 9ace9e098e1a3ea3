"""Tensor's methods that move elements: shape, indexing, scatter; free functions bound by name."""

from __future__ import annotations

from graphc.frontend.api import (
    arrangements,
    diagonals,
    formats,
    indexing,
    memory,
    scatter,
    shapes,
    static,
    strided,
)
from graphc.frontend.api.arithmetic import Arithmetic
from graphc.frontend.api.refusals import refusing


class Movements(Arithmetic):
    """What a Tensor can do without arithmetic, and the sums over what is not NaN."""

    __getitem__ = refusing(indexing.getitem)
    __setitem__ = refusing(indexing.setitem)

    # ---- shape ---------------------------------------------------------------------------------
    reshape = shapes.reshape
    reshape_as = shapes.reshape_as
    view = memory.view
    resize_ = memory.resize_
    untyped_storage = memory.untyped_storage
    resize_as_ = memory.resize_as_
    view_as = shapes.view_as
    flatten = shapes.flatten
    ravel = shapes.ravel
    unflatten = shapes.unflatten
    squeeze = shapes.squeeze
    unsqueeze = shapes.unsqueeze
    permute = shapes.permute
    transpose = swapdims = shapes.transpose
    swapaxes = arrangements.swapaxes
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
    contiguous = formats.contiguous
    tensor_split = arrangements.tensor_split
    hsplit = arrangements.hsplit
    vsplit = arrangements.vsplit
    dsplit = arrangements.dsplit
    as_strided = strided.as_strided
    tril = diagonals.tril
    triu = diagonals.triu
    diagonal = diagonals.diagonal
    diag = diagonals.diag
    diagflat = diagonals.diagflat
    diag_embed = diagonals.diag_embed
    diagonal_scatter = diagonals.diagonal_scatter
    H = property(shapes.matrix_only_transpose)
    T = property(shapes.reverse_dims)
    mT = mH = property(shapes.matrix_transpose)
    adjoint = shapes.adjoint
    nansum = arrangements.nansum
    nanmean = arrangements.nanmean
    diff = arrangements.diff

    # ---- the same in place ---------------------------------------------------------------------
    squeeze_ = strided.squeeze_
    unsqueeze_ = strided.unsqueeze_
    transpose_ = swapaxes_ = swapdims_ = strided.transpose_
    t_ = strided.t_
    tril_ = diagonals.tril_
    triu_ = diagonals.triu_
    fill_diagonal_ = diagonals.fill_diagonal_

    # ---- indexing ------------------------------------------------------------------------------
    masked_select = indexing.masked_select
    nonzero = indexing.nonzero
    nonzero_static = static.nonzero_static
    argwhere = arrangements.argwhere
    index_put = indexing.index_put
    index_put_ = indexing.index_put_
    gather = scatter.gather
    take_along_dim = scatter.take_along_dim
    index_select = scatter.index_select
    take = scatter.take
    put = scatter.put
    put_ = scatter.put_
    scatter_ = scatter.scatter_
    scatter_add = scatter.scatter_add
    scatter_add_ = scatter.scatter_add_
    scatter_reduce = scatter.scatter_reduce
    index_reduce = scatter.index_reduce
    index_reduce_ = scatter.index_reduce_
    scatter_reduce_ = scatter.scatter_reduce_
    select_scatter = scatter.select_scatter
    slice_scatter = scatter.slice_scatter
    index_add = scatter.index_add
    index_add_ = scatter.index_add_
    index_copy = scatter.index_copy
    index_copy_ = scatter.index_copy_
    index_fill = scatter.index_fill
    index_fill_ = scatter.index_fill_
    masked_scatter = scatter.masked_scatter
    masked_scatter_ = scatter.masked_scatter_
    scatter = scatter.scatter
