"""Target: what the generators need to know of a processor, from its features, not from its name.

The name lies in virtual machines (an AMX guest says `rocketlake`), so the CPU that LLVM tunes for
is derived from the features, which are passed explicitly. Needed at least: AVX2 with FMA, or NEON;
without them `llvm.fma` and the rounding intrinsics would call a C library that JIT code lacks.
"""

from __future__ import annotations

import functools
import platform
from dataclasses import dataclass

import llvmlite.binding as llvm

from graphc.ir.types import DType

LINE_BYTES = 64  # of cache, on every target

# The newest processor whose features are all there; first match wins. A tuning choice only.
TUNING = (
    ("sapphirerapids", ("amx-tile", "avx512fp16")),
    ("znver4", ("avx512bf16", "sse4a")),
    ("icelake-server", ("avx512vbmi2",)),
    ("skylake-avx512", ("avx512f", "avx512vl", "avx512bw", "avx512dq")),
    ("znver3", ("avx2", "fma", "sse4a")),
    ("haswell", ("avx2", "fma")),
)


@dataclass(frozen=True, slots=True)
class Target:
    """A processor: LLVM's triple, tuning CPU and features; its vector width and registers."""

    name: str
    triple: str
    cpu: str
    features: str
    vector_bytes: int
    registers: int

    def lanes(self, dtype: DType) -> int:
        """Elements of one vector; narrow types compute as wide as float32 does."""
        return self.vector_bytes // max(4, dtype.itemsize)

    def has(self, feature: str) -> bool:
        return f"+{feature}" in self.features.split(",")

    @property
    def has_masks(self) -> bool:
        """Whether masked loads and stores of every element type are single instructions."""
        return self.vector_bytes == 64

    @property
    def pairs(self) -> bool:
        """Whether one instruction multiplies pairs of bfloat16 and adds both to a float32."""
        return self.vector_bytes == 64 and self.has("avx512bf16")

    @property
    def halves(self) -> bool:
        """Whether two vectors of half the width take the time of one: units are only so wide."""
        known = self.cpu == "znver4" and not self.has("avx512vp2intersect")
        return known and self.vector_bytes == 64

    @staticmethod
    def host() -> Target:
        return _host()

    @staticmethod
    def named(name: str) -> Target:
        """A known processor, to compile for without having it."""
        return NAMED[name]


NAMED = {
    t.name: t
    for t in (
        Target("haswell", "x86_64-unknown-linux-gnu", "haswell", "+avx2,+fma,+f16c", 32, 16),
        Target("sapphirerapids", "x86_64-unknown-linux-gnu", "sapphirerapids", "", 64, 32),
        Target("neoverse-n1", "aarch64-unknown-linux-gnu", "neoverse-n1", "+neon", 16, 32),
    )
}


@functools.cache
def _host() -> Target:
    """The processor this process runs on (features after the operating system's mask)."""
    features = llvm.get_host_cpu_features()
    present = {name for name, there in features.items() if there}
    text = ",".join(("+" if features[name] else "-") + name for name in sorted(features))
    triple = llvm.get_process_triple()
    if platform.machine().lower() in ("aarch64", "arm64"):
        return Target("host", triple, "generic", text, 16, 32)
    cpu = next((name for name, needs in TUNING if present.issuperset(needs)), "x86-64")
    wide = present.issuperset(("avx512f", "avx512vl", "avx512bw", "avx512dq"))
    if wide:
        return Target("host", triple, cpu, text, 64, 32)
    return Target("host", triple, cpu, text, 32 if "avx2" in present else 16, 16)
