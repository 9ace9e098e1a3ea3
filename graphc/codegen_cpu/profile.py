"""The numbers of a CPU that passes decide by: its `Profile`.

They are measured on x86 with AVX2 and AVX-512; where a reason names a part of the machine that a
`Target` knows, the number is made of it.
"""

from __future__ import annotations

from graphc.codegen_cpu.target import LINE_BYTES, Target
from graphc.passes.profile import Again, Profile, Winograd

FLOAT_BYTES = 4


def profile(target: Target) -> Profile:
    """What this processor likes."""
    together = max(LINE_BYTES, target.vector_bytes)  # bytes read side by side
    return Profile(
        weight_order=("window", "in", "out"),  # output channels are the lanes of a tile
        few_outputs=4,  # a quarter of a vector; half of one is as wide as some units are
        stored_halo=True,
        run=together // FLOAT_BYTES,
        few_channels=20,  # windows of more are no longer in the nearest cache
        empty_lanes=1 / 6,  # more than what short rows and single places cost
        half_rate=0.8,
        max_movement=32,
        panel=64,  # four vectors at most, of any target
        min_row=1 << 10,
        wide_row=1 << 8,
        min_elements=1 << 20,
        max_outputs=1 << 12,
        max_chunks=32,
        partial_reductions=48,  # fewer leave tiles of few rows, which are not shared by images
        max_members=64,
        small_row=1 << 8,
        expensive=4,  # a division
        cost_of_access=30,
        max_inlined_ops=12,
        short_ops=2,
        much=4,
        many_taps=16,
        short_axis=64,
        many_terms=1 << 14,
        narrow=64 if target.pairs else 0,  # which save more than a rounded copy takes
        renewed=1 << 20,  # what stays in the second-level caches of two threads beside all else
        small_extent=16,
        literal_strides=False,
        parts_apart=True,
        bounded_terms=1 << 12,  # of one chain, so that no tile goes along chunks of it
        winograd=Winograd(
            run=32,  # the widest register tile's
            tiles=4,
            samples=32,
            rate=0.7,
            narrow_rate=0.3 if target.pairs else 0.7,
        ),
        again=Again(
            flops_a_byte=320,  # at 2 to 8 a byte that memory moves, a hundredth or two
            least_bytes=1 << 20,
        ),
        attention=512,  # blocks of 2 MB
        align=together,
        enough=1.01,
        trials=40000,  # at most 0.15 s, where the first plans are not near enough
    )
