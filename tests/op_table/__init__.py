"""One row per operation of the public API: a function over a namespace, and its inputs.

`fn(T, *tensors)` runs with `T` graphc or torch, so a row is its own reference. From each row come:
values against torch in f64 and f32, the gradient and the second derivative along random
directions, and the traced graph against eager (`tests/ops`). `low` and `high` bound the samples;
`kinks` are points the samples stay away from. An `ErrorRow` is a call that both must refuse.
"""

from tests.op_table import (
    elementwise,
    indexing,
    layer_errors,
    linalg,
    products,
    rarer,
    reductions,
    scans,
    scatter,
    shapes,
    sorting,
)
from tests.op_table.elementwise import ELEMENTWISE
from tests.op_table.indexing import INDEXING
from tests.op_table.layers import LAYERS
from tests.op_table.linalg import LINALG
from tests.op_table.products import PRODUCTS
from tests.op_table.rarer import RARER
from tests.op_table.reductions import REDUCTIONS
from tests.op_table.rows import Array, ErrorRow, In, OpRow
from tests.op_table.scans import SCANS
from tests.op_table.scatter import SCATTER
from tests.op_table.shapes import SHAPES
from tests.op_table.sorting import SORTING

PARTS = [
    elementwise,
    reductions,
    scans,
    scatter,
    shapes,
    indexing,
    products,
    sorting,
    linalg,
    layer_errors,
    rarer,
]
TABLE = [
    *ELEMENTWISE,
    *REDUCTIONS,
    *SCANS,
    *SCATTER,
    *SHAPES,
    *INDEXING,
    *PRODUCTS,
    *SORTING,
    *LINALG,
    *LAYERS,
    *RARER,
]
ERRORS = [row for part in PARTS for row in part.ERRORS]

__all__ = ["ERRORS", "TABLE", "Array", "ErrorRow", "In", "OpRow"]
