"""Views and other movements."""

from __future__ import annotations

from tests.op_table.rows import ErrorRow, In, shape_row

SHAPES = [
    shape_row("reshape", lambda T, x: x.reshape(4, -1)),
    shape_row("view", lambda T, x: x.view(6, 4)),
    shape_row("flatten", lambda T, x: x.flatten(1)),
    shape_row("unflatten", lambda T, x: x.unflatten(2, (2, -1))),
    shape_row("squeeze", lambda T, x: x.squeeze(1), In((2, 1, 3))),
    shape_row("unsqueeze", lambda T, x: x.unsqueeze(-1)),
    shape_row("transpose", lambda T, x: x.transpose(0, 2)),
    shape_row("t", lambda T, x: x.t(), In()),
    shape_row("T", lambda T, x: x.mT),
    shape_row("permute", lambda T, x: x.permute(2, 0, 1)),
    shape_row("permute_reshape", lambda T, x: x.permute(2, 0, 1).reshape(-1)),
    shape_row("movedim", lambda T, x: x.movedim((0, 1), (2, 0))),
    shape_row("expand", lambda T, x: x.expand(2, 3, -1), In((3, 1))),
    shape_row("repeat", lambda T, x: x.repeat(2, 1, 3)),
    shape_row("repeat_interleave", lambda T, x: x.repeat_interleave(3, 1)),
    shape_row("tile", lambda T, x: x.tile(2), In()),
    shape_row("flip", lambda T, x: x.flip(0, 2)),
    shape_row("roll", lambda T, x: x.roll((1, -2), (0, 2))),
    shape_row("cat", lambda T, x, y: T.cat([x, y, x], 1), In((2, 3)), In((2, 1))),
    shape_row("cat_one", lambda T, x: T.cat([x * 2], 1), In((2, 3))),
    shape_row("stack", lambda T, x, y: T.stack((x, y), -1), In(), In()),
    shape_row("split", lambda T, x: T.split(x, 2, 1)[1]),
    shape_row("chunk", lambda T, x: x.chunk(2, 2)[1] * x.chunk(2, 2)[0]),
    shape_row("unbind", lambda T, x: x.unbind(1)[2]),
    shape_row("narrow", lambda T, x: x.narrow(2, 1, 2)),
    shape_row("select", lambda T, x: x.select(1, -1)),
    shape_row("unfold", lambda T, x: x.unfold(1, 3, 2), In((2, 7))),
    shape_row("clone", lambda T, x: x.clone().contiguous()),
    shape_row("tril", lambda T, x: x.tril(-1)),
    shape_row("triu", lambda T, x: x.triu(1)),
    shape_row("diagonal", lambda T, x: x.diagonal(1, 0, 2)),
    shape_row("diag", lambda T, x: T.diag(x, -1), In((3,))),
]

ERRORS = [
    ErrorRow("reshape", lambda T, x: x.reshape(5, -1), RuntimeError, says="(3, 4)"),
    ErrorRow("unsqueeze", lambda T, x: x.unsqueeze(4), IndexError),
]
