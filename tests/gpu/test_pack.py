"""Packed parameters are the C struct of a kernel's parameters, and read back as what went in."""

from __future__ import annotations

import ctypes

import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_kernels import AXPY

from graphc.errors import InternalError
from graphc.ir.cuda_abi import GridDim, Param, ParamType, Source
from graphc.runtime.cuda import pack

C_TYPES: dict[ParamType, type] = {
    **{"pointer": ctypes.c_uint64, "i32": ctypes.c_int32, "i64": ctypes.c_int64},
    **{"f32": ctypes.c_float, "f64": ctypes.c_double},
}
VALUES: dict[ParamType, st.SearchStrategy[float]] = {
    "pointer": st.integers(0, (1 << 60) - 1),
    "i32": st.integers(-(1 << 31), (1 << 31) - 1),
    "i64": st.integers(-(1 << 63), (1 << 63) - 1),
    "f32": st.floats(width=32, allow_nan=False),
    "f64": st.floats(allow_nan=False),
}


def of(types: list[ParamType]) -> Source:
    params = tuple(Param(f"p{i}", t, "scalar", i) for i, t in enumerate(types))
    return Source("k", "", params, (), ())


@given(st.data())
def test_the_block_is_the_c_struct(data: st.DataObject) -> None:
    types = data.draw(st.lists(st.sampled_from([*C_TYPES]), max_size=12))
    values = [data.draw(VALUES[t]) for t in types]
    source = of(types)
    packed = pack.pack(source, values, (16, 32))
    fields = [(f"p{i}", C_TYPES[t]) for i, t in enumerate(types)]
    scratch = [(name, ctypes.c_uint64) for name in ("global_scratch", "profile_scratch")]
    struct = type("Params", (ctypes.Structure,), {"_fields_": [*fields, *scratch]})
    assert len(packed.block) == struct.p0.offset * 0 + _end(struct) if types else True
    start = ctypes.addressof(packed.block)
    names = [name for name, _ in struct._fields_]
    assert [p - start for p in packed.pointers] == [getattr(struct, n).offset for n in names]
    assert pack.read(source, packed.address) == (values, (16, 32))


def _end(struct: type[ctypes.Structure]) -> int:
    last = struct.profile_scratch
    return int(last.offset + last.size)


@pytest.mark.parametrize("value", [1 << 31, -(1 << 31) - 1])
def test_a_value_that_does_not_fit_is_refused(value: int) -> None:
    with pytest.raises(InternalError, match="does not fit in i32"):
        pack.pack(of(["i32"]), [value])


def test_a_missing_value_is_refused() -> None:
    with pytest.raises(InternalError, match="takes 4 values, not 2"):
        pack.pack(AXPY, [0, 0])


def test_values_are_bound_by_index() -> None:
    assert pack.bound(AXPY, [16, 32], [7], [2.5]) == [16, 32, 7, 2.5]


def test_the_grid_counts_blocks_up() -> None:
    source = Source("k", "", (), (), (GridDim(("n", 3), 64), GridDim(("m",))))
    assert pack.grid(source, {"n": 50, "m": 4}) == (12, 1, 1)
    assert pack.grid(source, {"n": 0, "m": 4}) == (0, 1, 1)
