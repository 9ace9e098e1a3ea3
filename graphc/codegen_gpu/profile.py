"""The numbers of a GPU that passes decide by: its `Profile`."""

from __future__ import annotations

from graphc.codegen_gpu.target import Target
from graphc.passes.profile import Profile

LANES = 128  # threads of a program that work on a column each


def profile(target: Target) -> Profile:
    """What this GPU likes."""
    return Profile(
        weight_order=("out", "window", "in"),  # what a tile reads is innermost: channels in
        few_outputs=0,
        stored_halo=False,  # an access outside is masked, or the descriptor gives zero
        run=8,  # 16 bytes of half floats
        max_movement=32,
        min_row=1 << 8,
        wide_row=LANES * target.sms,
        min_elements=1 << 15,
        max_outputs=LANES * target.sms,
        max_chunks=4 * target.sms,
        partial_reductions=512,  # of an image's points; tiles of fewer would be padding by a tenth
        attention=256,
        attention_halves=True,
        attention_apart=True,
        max_members=64,
        small_row=1 << 8,
        expensive=8,  # operations cost less beside memory than on a CPU
        cost_of_access=60,
        max_inlined_ops=24,
        short_ops=4,
        much=4,
        many_taps=16,
        short_axis=64,
        many_terms=1 << 12,
        small_extent=1 << 12,  # rows up to here are held in registers, their length a literal
        literal_strides=True,
        align=256,
        enough=1.01,
        trials=40000,
    )
