"""profile: every number about a machine that a pass decides by, with its reason.

Passes hold no such number: each stage is a function of a graph and a `Profile`, which the back end
makes of its target (`codegen_cpu/profile.py`). Sizes are counted in elements where nothing else is
said; a batch counts with its typical size, so that another batch never is another decision.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from graphc.ir.extent import is_unknown
from graphc.ir.types import Shape

Side = Literal["window", "in", "out"]  # of a convolution's weight: taps, channels read and written
FEW_OUTPUTS: tuple[Side, ...] = ("out", "window", "in")


@dataclass(frozen=True, slots=True, kw_only=True)
class Winograd:
    """When a convolution by tiles of 4 by 4 outputs, with a quarter of the products, is faster."""

    run: int
    """Channels, of which there have to be whole runs on both sides: as many as go side by side, and
    enough that the products saved are more than what the transforms of a tile cost."""
    tiles: int
    """Tiles whose products are computed at a time: fewer, of a small image, cost as much."""
    samples: int
    """What a batch holds in training: enough tiles for any image."""
    rate: float
    """Its products a second, as a part of the plain sum's: what the transforms leave."""
    narrow_rate: float
    """The same of bfloat16: Winograd's products are float32's, the plain sum's may be faster."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Again:
    """When a kernel is run again rather than what it wrote being kept."""

    flops_a_byte: int
    """Of contractions that read it late, for each byte that it moves: beside so many, running it
    is not felt. An expensive op counts as the accesses that it is worth."""
    least_bytes: int
    """What has to be freed: less is not worth a launch, and stays in a cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What a target likes; a number's unit and reason stand beside it."""

    # ---- layout: how convolutions read --------------------------------------------------------

    weight_order: tuple[Side, ...]
    """How weights lie, outermost first. The last side is read side by side by the inner loop."""
    few_outputs: int
    """Output channels up to which a weight's input channels are the last side instead: the outputs
    would leave most lanes of the inner loop empty."""
    stored_halo: bool
    """Whether padding is stored around an input, so that inner loops have no borders; else it
    stays a guard of the convolution's loads."""
    run: int
    """Channels that are worth reading side by side: a weight whose rows are whole runs need not be
    packed, since the kernel turns them while it copies a panel."""
    few_channels: int = 0
    """Channels of images up to which samples may lie innermost instead; 0: they never do."""
    empty_lanes: float = 0.0
    """The part of the lanes that channels would leave empty, from which they do."""
    half_rate: float = 0.0
    """Multiply-adds a second in vectors of half the width, which leave fewer lanes empty, as a part
    of those in whole ones."""
    max_movement: int
    """Movement ops between two buffers: each lengthens every address behind it."""

    panel: int = 0
    """Columns that lie side by side of a matrix that a loop's trips multiply few rows by: whole
    register tiles. 0: it lies as it is."""

    # ---- split_reduce: work for all threads ---------------------------------------------------

    min_row: int
    """Elements for each step of the outermost dimension, from which its steps are shared out; less
    is done by one thread."""
    wide_row: int
    """Elements of a row that are enough outputs or lanes for all threads without a split."""
    min_elements: int
    """Elements from which a sum over narrower rows is cut into chunks all the same."""
    max_outputs: int
    """Above this the outputs alone give enough parallel work."""
    max_chunks: int
    """Parts of a cut sum: more threads than this find nothing to do in it."""
    partial_reductions: int
    """Points of an image, or of another step of the batch, from which a contraction's own tiles
    sum over them, so that nothing reads its result for that; 0: they never do."""

    # ---- fuse and materialise: loading or computing again -------------------------------------

    max_members: int
    """Values of one kernel: compile time and spilled registers grow with them."""
    small_row: int
    """Elements for each step of the batch that may be folded over it and be read again: they stay
    in the nearest cache meanwhile."""
    expensive: int
    """The cost of an op (`Op.cost`) from which computing it again is weighed like memory traffic;
    what is cheaper is hidden behind the loads."""
    cost_of_access: int
    """The cost that is as much as one access to memory; an expensive op counts as one at least."""
    max_inlined_ops: int
    """Ops of an expression that each reader computes again instead of loading its value."""
    short_ops: int
    """Ops of one that is computed again even for many more points than it has."""
    much: int
    """How many times larger makes a value that much larger than another: the small one then stays
    in cache, and costs nothing to read, but much to compute again at each point."""

    # ---- decompose: which of two ways to write an op ------------------------------------------

    many_taps: int
    """Taps of overlapping windows above which they are summed in a loop, not one by one."""
    short_axis: int
    """Places along an axis up to which a scatter of one of them is cheaper as a selection."""
    many_terms: int
    """float32 terms that a scatter may add to one place one by one, before float64 has to: the
    error of a chain grows with its length, and this target's scatter adds in one chain."""

    renewed: int = 0
    """Bytes of state below which a contraction knows that another kernel writes it anew: each
    processor still has in its own cache what it wrote in the last step; 0: none needs to know."""

    narrow: int = 0
    """Columns of a product from which rounding operands to bfloat16, where it may, is sooner done
    than what that saves; 0: it never is."""

    # ---- lower: what a kernel's text fixes ----------------------------------------------------

    small_extent: int
    """Extents up to this are literals, short enough to unroll: a window's loop, never the batch.
    Larger ones are arguments, so that kernels of other sizes are the same text."""

    bounded_terms: int = 0
    """Terms of an output of few channels' convolution, up to which the zeros above and below its
    images need not be stored: bounds of the loop over a window's rows leave them out."""
    many_zeros: float = 1 / 8
    """The share of products that such zeros have, from which that is done: bounds cost a little in
    each tile, and rows of an image are no longer rows of it."""
    parts_apart: bool = False
    """Whether what is done with an image that contractions interleave, as in the data gradient of a
    strided one, is done by each of them: where an epilogue's accesses may be any distance apart."""
    winograd: Winograd | None = None
    """When convolutions are computed by Winograd's algorithm; None: never."""
    attention: int = 0
    """How deep a head may be for the kernel of attention, whose blocks stay in a cache; 0: there is
    none, and softmax stays between two products."""
    attention_halves: bool = False
    """Whether that kernel takes half types, too."""
    attention_apart: bool = False
    """Whether the gradient of its queries is a kernel apart from that of keys and values, whose
    sums run along the other axis; else one kernel gives all three."""
    mixed_roles: bool = True
    """Whether loops of a contraction that every address crosses alike become one though they run
    over different things (a tap and the channels): fewer, longer loops. Else only those of one
    kind do, and each role is a loop that descriptors of tensors can name."""
    literal_strides: bool
    """Whether strides and offsets are part of a kernel's text, too, which is how a compiler that
    plans wide accesses knows what they are multiples of; else kernels of other sizes are one."""

    # ---- schedule: what is kept ---------------------------------------------------------------

    again: Again | None = None
    """When a kernel runs a second time, so that less is in use at once; None: never."""

    # ---- memory: the arena --------------------------------------------------------------------

    align: int
    """Bytes: where a buffer may begin. No two share what the machine moves at once."""
    enough: float
    """Bytes of a plan over the least that any needs, at which the search for a better one ends."""
    trials: int
    """Placements of single buffers spent on improving a plan: so small programs get many tries."""

    # ---- watch: of `compile(check=...)` ---------------------------------------------------------

    check: Literal["", "nan", "finite"] = ""
    """What must not be returned nor stored: kernels test what they store. Of no machine, but passes
    decide by it."""

    def __post_init__(self) -> None:
        if sorted(self.weight_order) != ["in", "out", "window"]:
            raise ValueError(f"not an order of a weight's sides: {self.weight_order}")

    def weight_dims(self, shape: Shape) -> Shape:
        """The dimensions of a weight [O, C, *K], outermost in memory first."""
        outputs, channels = shape[:2]
        few = not (is_unknown(outputs) or is_unknown(channels)) and outputs <= self.few_outputs
        return self.side_dims(len(shape), FEW_OUTPUTS if few and channels >= self.run else None)

    def side_dims(self, rank: int, order: tuple[Side, ...] | None = None) -> Shape:
        """The same of an order of the sides: of what a weight of many outputs has, if not given."""
        dims: dict[Side, Shape] = {"out": (0,), "in": (1,), "window": tuple(range(2, rank))}
        return tuple(k for side in order or self.weight_order for k in dims[side])

    def accesses(self, cost: int) -> int:
        """How many accesses to memory computing an op of this cost is worth."""
        return max(1, cost // self.cost_of_access) if cost >= self.expensive else 0
