"""Registers that a product still reads are not written: code that would is compiled otherwise."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("triton")
sys.path.insert(0, str(Path(__file__).parent.parent.parent / "benchmarks"))

from gpu_smoke import FOLDED

from graphc.codegen_gpu.hazards import overwrites
from graphc.codegen_gpu.library import GpuLibrary
from graphc.codegen_gpu.pool import Pool
from graphc.codegen_gpu.target import Target

LOOP = """\
$L__BB0_1:
{first}	wgmma.fence.sync.aligned;
	wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {{%f1,%f2}}, {{%r1,%r2}}, %rd1, 1;
	wgmma.commit_group.sync.aligned;
	wgmma.wait_group.sync.aligned {left};
{second}	wgmma.mma_async.sync.aligned.m64n8k16.f32.bf16.bf16 {{%f1,%f2}}, {{%r3,%r4}}, %rd2, 1;
	wgmma.commit_group.sync.aligned;
	wgmma.wait_group.sync.aligned {left};
	@%p1 bra 	$L__BB0_1;
"""
FIRST = "	ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%r1, %r2}, [%r9];\n"
SECOND = "	ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%r3, %r4}, [%r10];\n"
CAST = "	@%p2 cvt.rn.bf16x2.f32 %r4, %f8, %f9;\n"


COPIED = "	mov.b32 	%r1, %r7;\n"  # for the next trip
FLOATS = "	mov.b32 	%f4, %f8;\n"


@pytest.mark.parametrize(
    ("first", "second", "left", "found"),
    [
        (FIRST + SECOND, "", 1, True),
        (FIRST, SECOND, 1, False),
        (FIRST + SECOND, "", 0, False),
        (FIRST + CAST, "", 1, True),
        (FIRST, COPIED + SECOND, 1, True),
        (FIRST, COPIED + SECOND, 0, False),
    ],
)
def test_what_is_read_while_it_is_written(first: str, second: str, left: int, found: bool) -> None:
    assert overwrites(LOOP.format(first=first, second=second, left=left)) is found


def test_registers_of_any_kind_are_seen() -> None:
    text = LOOP.format(first=FIRST + FLOATS, second="", left=1)
    assert not overwrites(text)
    assert overwrites(text.replace("{%r3,%r4}", "{%f3,%f4}"))


def test_a_wait_before_the_product_leaves_it_for_the_next_trip() -> None:
    *body, wait, branch = LOOP.format(first=FIRST, second=SECOND, left=0).splitlines(True)
    waits_first = [body[0], wait, *(x for x in body[1:] if "wait_group" not in x), branch]
    assert not overwrites("".join(waits_first))
    waits_later = [x for x in waits_first if x != wait]
    waits_later.insert(3, wait)  # when registers of the trip before are written
    assert overwrites("".join(waits_later))
    assert overwrites("".join(x for x in waits_first if x != wait))


def test_no_image_has_it() -> None:
    """A left operand that is folded out of a box, as Triton 3.6 gets it wrong."""
    pool = Pool(1)
    (image,) = GpuLibrary(Target.named("sm_90a"), pool=pool).images([FOLDED])
    pool.close()
    ptx: Any = image.ptx
    assert not overwrites(ptx if isinstance(ptx, str) else ptx.decode())
