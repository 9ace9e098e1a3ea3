"""Target: what the generators need to know of a GPU; NVIDIA's, from compute capability 8.0 on."""

from __future__ import annotations

from dataclasses import dataclass

WARP = 32  # threads that run in step
ACCESS_BYTES = 16  # the widest access to memory of one thread


@dataclass(frozen=True, slots=True)
class Target:
    """A GPU: its architecture, multiprocessors, and what one of them has for its programs."""

    arch: str = "sm_90a"
    sms: int = 132
    shared_bytes: int = 227 << 10  # that one program may use
    registers: int = 65536
    descriptors: bool = True  # whether kernels may use them, where there are any

    @property
    def capability(self) -> int:
        """90 of "sm_90a"."""
        return int(self.arch.removeprefix("sm_").rstrip("abcdef"))

    @property
    def has_descriptors(self) -> bool:
        """Whether tiles move by tensor descriptors (TMA)."""
        return self.descriptors and self.capability >= 90

    @property
    def has_groups(self) -> bool:
        """Whether groups of warps compute products of halves and TF32 (wgmma), of tall tiles."""
        return self.capability >= 90

    @staticmethod
    def named(arch: str) -> Target:
        """A known GPU, to compile for without having it."""
        return NAMED[arch]


NAMED = {
    t.arch: t
    for t in (
        Target("sm_80", 108, 163 << 10),
        Target("sm_86", 84, 99 << 10),
        Target("sm_89", 128, 99 << 10),
        Target("sm_90a", 132, 227 << 10),
    )
}
