"""Tensor's methods for type checkers; `python -m tests.frontend.stub` writes this."""

import builtins
from collections.abc import Callable, Sequence
from typing import Any, Literal, overload

import graphc.return_types
from graphc.frontend.api.arrangements import Pieces
from graphc.frontend.api.generator import Generator
from graphc.frontend.api.memory import UntypedStorage
from graphc.frontend.autograd import RemovableHandle, Tensors
from graphc.frontend.dims import Dims
from graphc.frontend.operands import Operand
from graphc.frontend.tensor import Tensor
from graphc.ir.sugar import Sugar
from graphc.ir.types import Array, DType, Scalar
from graphc.passes.autodiff import Hook

class Methods(Sugar):
    def contiguous(self, memory_format: Any = ...) -> Tensor:
        """x itself if its elements lie row by row, or in the order of the format given; else a copy."""
    def reshape(self, *sizes_: Any, shape: Any = None) -> Tensor:
        """The same elements in another shape: a view if the strides allow, else a copy."""
    def view_as(self, other: Tensor) -> Tensor:
        """A view of the shape of `other`; ShapeMismatch where it needs a copy."""
    def reshape_as(self, other: Tensor) -> Tensor:
        """`reshape` to the shape of `other`."""
    def flatten(self, start_dim: builtins.int = 0, end_dim: builtins.int = -1) -> Tensor:
        """[B, C, H] -> [B*C*H], or [B, C*H] from 1 on; a view if strides allow, else a copy."""
    def ravel(self) -> Tensor:
        """[...] of N elements -> [N], in row-major order; a view of what lies so already."""
    def unflatten(self, dim: builtins.int, sizes: Sequence[builtins.int]) -> Tensor:
        """[..., N, ...] -> [..., *sizes, ...], one of which may be -1."""
    def squeeze(self, dim: Dims | None = None, *dims: builtins.int) -> Tensor:
        """Without the dimensions of size 1, of all or of those named (a list, or one after another);
        a view.

        [..., 1, ...] -> [...].
        """
    def squeeze_(self, dim: Dims | None = None, *dims: builtins.int) -> Tensor: ...
    def unsqueeze(self, dim: builtins.int) -> Tensor:
        """A view [..., 1, ...] with a dimension of size 1 at `dim`, -rank - 1 to rank."""
    def unsqueeze_(self, dim: builtins.int) -> Tensor: ...
    def permute(self, *sizes_: Any, dims: Any = None) -> Tensor:
        """A view with the dimensions in this order: [A, B, C] -> [B, C, A] for (1, 2, 0)."""
    def transpose(self, dim0: builtins.int, dim1: builtins.int) -> Tensor:
        """A view with two dimensions exchanged. [A, B, C] -> [C, B, A] for (0, 2)."""
    def swapdims(self, dim0: builtins.int, dim1: builtins.int) -> Tensor:
        """A view with two dimensions exchanged. [A, B, C] -> [C, B, A] for (0, 2)."""
    def transpose_(self, dim0: builtins.int, dim1: builtins.int) -> Tensor: ...
    def swapdims_(self, dim0: builtins.int, dim1: builtins.int) -> Tensor: ...
    def t(self) -> Tensor:
        """A view of a matrix [n, m] as [m, n]; of lower rank x itself; ShapeMismatch above."""
    def t_(self) -> Tensor: ...
    def movedim(self, source: Dims, destination: Dims) -> Tensor:
        """A view in which dimensions `source` stand at `destination`, the others in their order. [A, B,
        C] -> [B, C, A] for (0, 2).
        """
    def moveaxis(self, source: Dims, destination: Dims) -> Tensor:
        """A view in which dimensions `source` stand at `destination`, the others in their order. [A, B,
        C] -> [B, C, A] for (0, 2).
        """
    @property
    def mT(self) -> Tensor:
        """A view with the last two dimensions exchanged; ShapeMismatch for a vector."""
    @property
    def mH(self) -> Tensor:
        """A view with the last two dimensions exchanged; ShapeMismatch for a vector."""
    def adjoint(self) -> Tensor:
        """[..., N, M] -> [..., M, N], a view: of real numbers, the conjugate transpose."""
    @property
    def H(self) -> Tensor:
        """A view of a matrix [n, m] as [m, n]; ShapeMismatch for other ranks but 0."""
    @property
    def T(self) -> Tensor:
        """A view with the dimensions in reverse order."""
    def flip(self, *sizes_: Any, dims: Any = None) -> Tensor:
        """A copy with the elements in reverse order along these dimensions. The shape stays."""
    def roll(self, shifts: Dims, dims: Dims | None = None) -> Tensor:
        """Elements move on by `shifts`, past the end to the start. The shape stays."""
    def expand(self, *sizes_: Any, size: Any = None) -> Tensor:
        """A view with size-1 dimensions repeated; -1 keeps a size."""
    def expand_as(self, other: Tensor) -> Tensor:
        """A view of the shape of `other`, dimensions of size 1 repeated."""
    def broadcast_to(self, *sizes_: Any, size: Any = None, shape: Any = None) -> Tensor:
        """A view of this shape, dimensions of size 1 repeated."""
    def repeat(self, *sizes_: Any, repeats: Any = None) -> Tensor:
        """Tile: x.repeat(2, 3) stands 2 by 3 copies of x side by side."""
    def tile(self, *sizes_: Any, dims: Any = None) -> Tensor:
        """`repeat`, where missing counts are 1 in front. [N, M] -> [N * a, M * b]."""
    def narrow(self, dim: builtins.int, start: builtins.int, length: builtins.int) -> Tensor:
        """A view [..., length, ...] from `start` on along a dimension; negative ones count back."""
    def select(self, dim: builtins.int, index: builtins.int) -> Tensor:
        """[..., N, ...] -> [...], without `dim`: at `index` along it; a view."""
    def unbind(self, dim: builtins.int = 0) -> tuple[Tensor, ...]:
        """[..., N, ...] -> N of [...]: views of each index along a dimension."""
    def split(
        self, split_size: builtins.int | Sequence[builtins.int], dim: builtins.int = 0
    ) -> tuple[Tensor, ...]:
        """`split`, whose sizes have another name as a method."""
    def chunk(self, chunks: builtins.int, dim: builtins.int = 0) -> tuple[Tensor, ...]:
        """At most `chunks` views [..., M, ...], equal in size but for the last."""
    def unfold(self, dimension: builtins.int, size: builtins.int, step: builtins.int) -> Tensor:
        """Windows along a dimension, appended as a last dimension."""
    def copy_(self, src: Any, non_blocking: builtins.bool = False) -> Tensor:
        """Write the elements of `src`, cast and broadcast; or a number everywhere."""
    def fill_(self, value: Any) -> Tensor:
        """Write a number, or a tensor without dimensions, everywhere."""
    def zero_(self) -> Tensor:
        """Write zeros everywhere."""
    def backward(
        self,
        gradient: Tensor | None = None,
        retain_graph: builtins.bool | None = None,
        create_graph: builtins.bool = False,
        inputs: Tensors | None = None,
    ) -> None:
        """Add to the `.grad` of every leaf its gradient of x (a scalar, or weighted by `gradient`)."""
    def accumulate_grad(self, g: Tensor) -> None:
        """x.grad = g, or x.grad += g in place; two tensors never share one gradient's memory."""
    def requires_grad_(self, requires_grad: builtins.bool = True) -> Tensor:
        """Start or stop to record what is computed from x; x itself is returned."""
    def detach(self) -> Tensor:
        """The same memory without history."""
    def detach_(self) -> Tensor:
        """Drop x's history, in place; AutogradError for a view."""
    def retain_grad(self) -> None:
        """Keep `.grad` on a tensor that is no leaf."""
    @property
    def retains_grad(self) -> builtins.bool:
        """Whether it is no leaf and `retain_grad()` was called on it."""
    @property
    def output_nr(self) -> builtins.int:
        """Which output of `grad_fn` it is."""
    def register_hook(self, hook: Hook) -> RemovableHandle:
        """Call `hook` with the gradient of x whenever it is computed; a result replaces it."""
    def register_post_accumulate_grad_hook(self, hook: Callable[[Tensor], None]) -> RemovableHandle:
        """Call `hook(x)` each time a gradient has been added to x.grad; leaves only."""
    def clone(self, *, memory_format: Any = None) -> Tensor:
        """A copy in memory of its own, which lies as `input` does unless a memory format is given;
        gradients pass through.
        """
    def __deepcopy__(self, memo: dict[builtins.int, Any]) -> Any:
        """A leaf's copy in memory of its own, with its attributes and `.grad`."""
    def __reduce__(self) -> Any:
        """How x is pickled: its elements, and where they are unless on the CPU."""
    def __int__(self) -> builtins.int: ...
    def __float__(self) -> builtins.float: ...
    def __array_wrap__(
        self, array: Array, context: Any = None, return_scalar: builtins.bool = False
    ) -> Tensor: ...
    def __reversed__(self) -> Tensor: ...
    def isnan(self) -> Tensor:
        """Where x is NaN, as bools."""
    def isinf(self) -> Tensor:
        """Where x is infinite, as bools."""
    def isfinite(self) -> Tensor:
        """Where x is neither infinite nor NaN, as bools."""
    def lt(self, other: Operand) -> Tensor:
        """Where x < y, as bools; operands promote and broadcast. NaN is less than nothing."""
    def less(self, other: Operand) -> Tensor:
        """Where x < y, as bools; operands promote and broadcast. NaN is less than nothing."""
    def __lt__(self, other: Operand) -> Tensor: ...
    def lt_(self, other: Operand) -> Tensor: ...
    def less_(self, other: Operand) -> Tensor: ...
    def le(self, other: Operand) -> Tensor:
        """Where x <= y, as bools; operands promote and broadcast."""
    def less_equal(self, other: Operand) -> Tensor:
        """Where x <= y, as bools; operands promote and broadcast."""
    def __le__(self, other: Operand) -> Tensor: ...
    def le_(self, other: Operand) -> Tensor: ...
    def less_equal_(self, other: Operand) -> Tensor: ...
    def gt(self, other: Operand) -> Tensor:
        """Where x > y, as bools; operands promote and broadcast."""
    def greater(self, other: Operand) -> Tensor:
        """Where x > y, as bools; operands promote and broadcast."""
    def __gt__(self, other: Operand) -> Tensor: ...
    def gt_(self, other: Operand) -> Tensor: ...
    def greater_(self, other: Operand) -> Tensor: ...
    def ge(self, other: Operand) -> Tensor:
        """Where x >= y, as bools; operands promote and broadcast."""
    def greater_equal(self, other: Operand) -> Tensor:
        """Where x >= y, as bools; operands promote and broadcast."""
    def __ge__(self, other: Operand) -> Tensor: ...
    def ge_(self, other: Operand) -> Tensor: ...
    def greater_equal_(self, other: Operand) -> Tensor: ...
    def eq(self, other: Operand) -> Tensor:
        """Where x equals y, as bools; operands promote and broadcast. NaN equals nothing."""
    def __eq__(self, other: Operand) -> Tensor: ...  # type: ignore[override]
    def eq_(self, other: Operand) -> Tensor: ...
    def ne(self, other: Operand) -> Tensor:
        """Where x differs from y, as bools; operands promote and broadcast. NaN differs from all."""
    def not_equal(self, other: Operand) -> Tensor:
        """Where x differs from y, as bools; operands promote and broadcast. NaN differs from all."""
    def __ne__(self, other: Operand) -> Tensor: ...  # type: ignore[override]
    def ne_(self, other: Operand) -> Tensor: ...
    def not_equal_(self, other: Operand) -> Tensor: ...
    def isposinf(self) -> Tensor:
        """Where x is +inf, as bools."""
    def isneginf(self) -> Tensor:
        """Where x is -inf, as bools."""
    def isreal(self) -> Tensor:
        """True everywhere: there are no complex tensors."""
    def bitwise_and(self, other: Operand) -> Tensor:
        """x & y of integers, or of bools; DTypeNotImplemented for floats."""
    def __and__(self, other: Operand) -> Tensor: ...
    def __rand__(self, other: Operand) -> Tensor: ...
    def bitwise_and_(self, other: Operand) -> Tensor: ...
    def __iand__(self, other: Operand) -> Tensor: ...
    def bitwise_or(self, other: Operand) -> Tensor:
        """x | y of integers, or of bools; DTypeNotImplemented for floats."""
    def __or__(self, other: Operand) -> Tensor: ...
    def __ror__(self, other: Operand) -> Tensor: ...
    def bitwise_or_(self, other: Operand) -> Tensor: ...
    def __ior__(self, other: Operand) -> Tensor: ...
    def bitwise_xor(self, other: Operand) -> Tensor:
        """x ^ y of integers, or of bools; DTypeNotImplemented for floats."""
    def __xor__(self, other: Operand) -> Tensor: ...
    def __rxor__(self, other: Operand) -> Tensor: ...
    def bitwise_xor_(self, other: Operand) -> Tensor: ...
    def __ixor__(self, other: Operand) -> Tensor: ...
    def bitwise_not(self) -> Tensor:
        """~x of integers, `not x` of bools; DTypeNotImplemented for floats."""
    def bitwise_not_(self) -> Tensor: ...
    def __invert__(self) -> Tensor: ...
    def bitwise_left_shift(self, other: Operand) -> Tensor:
        """x << y of integers; DTypeNotImplemented for bools."""
    def __lshift__(self, other: Operand) -> Tensor: ...
    def bitwise_left_shift_(self, other: Operand) -> Tensor: ...
    def __ilshift__(self, other: Operand) -> Tensor: ...
    def bitwise_right_shift(self, other: Operand) -> Tensor:
        """x >> y of integers, which keeps the sign; DTypeNotImplemented for bools."""
    def __rshift__(self, other: Operand) -> Tensor: ...
    def bitwise_right_shift_(self, other: Operand) -> Tensor: ...
    def __irshift__(self, other: Operand) -> Tensor: ...
    def __rlshift__(self, y: Operand) -> Tensor: ...
    def __rrshift__(self, y: Operand) -> Tensor: ...
    def logical_and(self, other: Tensor) -> Tensor:
        """Where both are nonzero, as bools."""
    def logical_and_(self, other: Tensor) -> Tensor: ...
    def logical_or(self, other: Tensor) -> Tensor:
        """Where either is nonzero, as bools."""
    def logical_or_(self, other: Tensor) -> Tensor: ...
    def logical_xor(self, other: Tensor) -> Tensor:
        """Where just one is nonzero, as bools."""
    def logical_xor_(self, other: Tensor) -> Tensor: ...
    def logical_not(self) -> Tensor:
        """Where x is zero, as bools."""
    def logical_not_(self) -> Tensor: ...
    def isclose(
        self,
        other: Tensor,
        rtol: builtins.float = 1e-05,
        atol: builtins.float = 1e-08,
        equal_nan: builtins.bool = False,
    ) -> Tensor:
        """|x - y| <= atol + rtol * |y|, infinities only to themselves."""
    def exp(self) -> Tensor:
        """Elementwise exp; integers become floats."""
    def exp_(self) -> Tensor: ...
    def expm1(self) -> Tensor:
        """Elementwise expm1; integers become floats."""
    def expm1_(self) -> Tensor: ...
    def log(self) -> Tensor:
        """Elementwise log; integers become floats."""
    def log_(self) -> Tensor: ...
    def log1p(self) -> Tensor:
        """Elementwise log1p; integers become floats."""
    def log1p_(self) -> Tensor: ...
    def sin(self) -> Tensor:
        """Elementwise sin; integers become floats."""
    def sin_(self) -> Tensor: ...
    def cos(self) -> Tensor:
        """Elementwise cos; integers become floats."""
    def cos_(self) -> Tensor: ...
    def sinh(self) -> Tensor:
        """Elementwise sinh; integers become floats."""
    def sinh_(self) -> Tensor: ...
    def cosh(self) -> Tensor:
        """Elementwise cosh; integers become floats."""
    def cosh_(self) -> Tensor: ...
    def tanh(self) -> Tensor:
        """Elementwise tanh; integers become floats."""
    def tanh_(self) -> Tensor: ...
    def sigmoid(self) -> Tensor:
        """Elementwise sigmoid; integers become floats."""
    def sigmoid_(self) -> Tensor: ...
    def erf(self) -> Tensor:
        """Elementwise erf; integers become floats."""
    def erf_(self) -> Tensor: ...
    def erfc(self) -> Tensor:
        """Elementwise erfc; integers become floats."""
    def erfc_(self) -> Tensor: ...
    def sqrt(self) -> Tensor:
        """Elementwise sqrt; integers become floats."""
    def sqrt_(self) -> Tensor: ...
    def rsqrt(self) -> Tensor:
        """Elementwise rsqrt; integers become floats."""
    def rsqrt_(self) -> Tensor: ...
    def floor(self) -> Tensor:
        """Elementwise floor; integers are what they are."""
    def floor_(self) -> Tensor: ...
    def ceil(self) -> Tensor:
        """Elementwise ceil; integers are what they are."""
    def ceil_(self) -> Tensor: ...
    def trunc(self) -> Tensor:
        """Elementwise trunc; integers are what they are."""
    def fix(self) -> Tensor:
        """Elementwise trunc; integers are what they are."""
    def trunc_(self) -> Tensor: ...
    def fix_(self) -> Tensor: ...
    def round(self, *, decimals: builtins.int | None = None) -> Tensor:
        """To the nearest integer, half to even; with `decimals`, floats to that many places."""
    def round_(self, *, decimals: builtins.int | None = None) -> Tensor: ...
    def neg(self) -> Tensor:
        """-x; DTypeMismatch for bools."""
    def negative(self) -> Tensor:
        """-x; DTypeMismatch for bools."""
    def __neg__(self) -> Tensor: ...
    def neg_(self) -> Tensor: ...
    def negative_(self) -> Tensor: ...
    def positive(self) -> Tensor:
        """x itself; DTypeMismatch for bools."""
    def __pos__(self) -> Tensor: ...
    def abs(self) -> Tensor:
        """|x|, with derivative 0 at 0; DTypeMismatch for bools."""
    def absolute(self) -> Tensor:
        """|x|, with derivative 0 at 0; DTypeMismatch for bools."""
    def __abs__(self) -> Tensor: ...
    def abs_(self) -> Tensor: ...
    def absolute_(self) -> Tensor: ...
    def sign(self) -> Tensor:
        """-1, 0 or 1; 0 for NaN."""
    def sign_(self) -> Tensor: ...
    def relu(self) -> Tensor:
        """max(input, 0), keeping NaN; its derivative is 0 at 0."""
    def relu_(self) -> Tensor: ...
    def square(self) -> Tensor:
        """x * x, in x's dtype."""
    def square_(self) -> Tensor: ...
    def reciprocal(self) -> Tensor:
        """1 / x; integers become floats."""
    def reciprocal_(self) -> Tensor: ...
    def log2(self) -> Tensor:
        """The logarithm to base 2; integers become floats."""
    def log2_(self) -> Tensor: ...
    def log10(self) -> Tensor:
        """The logarithm to base 10; integers become floats."""
    def log10_(self) -> Tensor: ...
    def exp2(self) -> Tensor:
        """2^x; integers become floats."""
    def exp2_(self) -> Tensor: ...
    def tan(self) -> Tensor:
        """The tangent of an angle in radians; integers become floats."""
    def tan_(self) -> Tensor: ...
    def nan_to_num(
        self,
        nan: builtins.float | None = None,
        posinf: builtins.float | None = None,
        neginf: builtins.float | None = None,
    ) -> Tensor:
        """Replace NaN and infinities by numbers (0, the dtype's largest and smallest by default)."""
    def nan_to_num_(
        self,
        nan: builtins.float | None = None,
        posinf: builtins.float | None = None,
        neginf: builtins.float | None = None,
    ) -> Tensor: ...
    def add(self, other: Operand, scaled: Tensor | None = None, *, alpha: Scalar = 1) -> Tensor:
        """x + alpha * y; bools add as `or`. add(x, alpha, y) is the order of old."""
    def __add__(self, other: Operand) -> Tensor: ...
    def __radd__(self, other: Operand) -> Tensor: ...
    def add_(
        self, other: Operand, scaled: Tensor | None = None, *, alpha: Scalar = 1
    ) -> Tensor: ...
    def __iadd__(self, other: Operand) -> Tensor: ...
    def sub(self, other: Operand, scaled: Tensor | None = None, *, alpha: Scalar = 1) -> Tensor:
        """x - alpha * y; sub(x, alpha, y) is the order of old."""
    def subtract(
        self, other: Operand, scaled: Tensor | None = None, *, alpha: Scalar = 1
    ) -> Tensor:
        """x - alpha * y; sub(x, alpha, y) is the order of old."""
    def __sub__(self, other: Operand) -> Tensor: ...
    def sub_(
        self, other: Operand, scaled: Tensor | None = None, *, alpha: Scalar = 1
    ) -> Tensor: ...
    def subtract_(
        self, other: Operand, scaled: Tensor | None = None, *, alpha: Scalar = 1
    ) -> Tensor: ...
    def __isub__(self, other: Operand) -> Tensor: ...
    def __rsub__(self, other: Operand) -> Tensor: ...
    def mul(self, other: Operand) -> Tensor:
        """x * y, of the promoted dtype; shapes broadcast. Bools multiply as `and`."""
    def multiply(self, other: Operand) -> Tensor:
        """x * y, of the promoted dtype; shapes broadcast. Bools multiply as `and`."""
    def __mul__(self, other: Operand) -> Tensor: ...
    def __rmul__(self, other: Operand) -> Tensor: ...
    def mul_(self, other: Operand) -> Tensor: ...
    def multiply_(self, other: Operand) -> Tensor: ...
    def __imul__(self, other: Operand) -> Tensor: ...
    def div(self, other: Operand, *, rounding_mode: str | None = None) -> Tensor:
        """x / y in floating point; "floor" and "trunc" keep integers integer."""
    def divide(self, other: Operand, *, rounding_mode: str | None = None) -> Tensor:
        """x / y in floating point; "floor" and "trunc" keep integers integer."""
    def true_divide(self, other: Operand, *, rounding_mode: str | None = None) -> Tensor:
        """x / y in floating point; "floor" and "trunc" keep integers integer."""
    def __truediv__(self, other: Operand) -> Tensor: ...
    def div_(self, other: Operand, *, rounding_mode: str | None = None) -> Tensor: ...
    def divide_(self, other: Operand, *, rounding_mode: str | None = None) -> Tensor: ...
    def true_divide_(self, other: Operand, *, rounding_mode: str | None = None) -> Tensor: ...
    def __itruediv__(self, other: Operand) -> Tensor: ...
    def __rtruediv__(self, y: Operand) -> Tensor: ...
    def floor_divide(self, other: Operand) -> Tensor:
        """x / y rounded down, of the promoted dtype; DTypeMismatch for bools alone."""
    def __floordiv__(self, other: Operand) -> Tensor: ...
    def floor_divide_(self, other: Operand) -> Tensor: ...
    def __ifloordiv__(self, other: Operand) -> Tensor: ...
    def __rfloordiv__(self, y: Operand) -> Tensor: ...
    def remainder(self, other: Operand) -> Tensor:
        """Remainder with the divisor's sign."""
    def __mod__(self, other: Operand) -> Tensor: ...
    def remainder_(self, other: Operand) -> Tensor: ...
    def __imod__(self, other: Operand) -> Tensor: ...
    def __rmod__(self, y: Operand) -> Tensor: ...
    def fmod(self, other: Operand) -> Tensor:
        """Remainder with the dividend's sign."""
    def fmod_(self, other: Operand) -> Tensor: ...
    def pow(self, exponent: Operand) -> Tensor:
        """x^y, of the promoted dtype; shapes broadcast. DTypeMismatch for an integer to a negative
        number, or bools alone.
        """
    def __pow__(self, exponent: Operand) -> Tensor: ...
    def pow_(self, exponent: Operand) -> Tensor: ...
    def __ipow__(self, exponent: Operand) -> Tensor: ...
    def __rpow__(self, y: Operand) -> Tensor: ...
    def maximum(self, other: Tensor) -> Tensor:
        """The larger, NaN if either is; on a tie each gets half the gradient."""
    def minimum(self, other: Tensor) -> Tensor:
        """The smaller, NaN if either is; on a tie each gets half the gradient."""
    def fmax(self, other: Tensor) -> Tensor:
        """The larger, ignoring NaN; on a tie the first gets the gradient."""
    def fmin(self, other: Tensor) -> Tensor:
        """The smaller, ignoring NaN; on a tie the first gets the gradient."""
    def where(self, condition: Tensor, other: Operand) -> Tensor:
        """self where the condition holds, else `other`."""
    def sum(
        self, dim: Dims | None = None, keepdim: builtins.bool = False, *, dtype: DType | None = None
    ) -> Tensor:
        """Of all elements, or along `dim`; an empty sum is 0.

        [...] -> [], or without the dimensions `dim` (each 1 with `keepdim`).
        """
    def prod(
        self,
        dim: builtins.int | None = None,
        keepdim: builtins.bool = False,
        *,
        dtype: DType | None = None,
    ) -> Tensor:
        """The product over a dimension, or over all; of integers and bools in int64.

        [...] -> [], or without dimension `dim` (1 with `keepdim`).
        """
    def mean(
        self, dim: Dims | None = None, keepdim: builtins.bool = False, *, dtype: DType | None = None
    ) -> Tensor:
        """The arithmetic mean; NaN of nothing.

        [...] -> [], or without the dimensions `dim` (each 1 with `keepdim`).
        """
    def var(
        self,
        dim: Any = None,
        unbiased: builtins.bool = True,
        keepdim: builtins.bool = False,
        *,
        correction: Scalar | None = None,
    ) -> Tensor:
        """Variance about the mean.

        [...] -> [], or without the dimensions `dim` (each 1 with `keepdim`).
        """
    def std(
        self,
        dim: Any = None,
        unbiased: builtins.bool = True,
        keepdim: builtins.bool = False,
        *,
        correction: Scalar | None = None,
    ) -> Tensor:
        """The square root of `var`; its gradient at 0 is 0.

        [...] -> [], or without the dimensions `dim` (each 1 with `keepdim`).
        """
    def norm(
        self,
        p: builtins.float | str = ...,
        dim: Dims | None = None,
        keepdim: builtins.bool = False,
        *,
        dtype: DType | None = None,
    ) -> Tensor:
        """(sum |x|^p)^(1/p); p may be inf, -inf or 0 (the number of nonzeros).

        [...] -> [], or without the dimensions `dim` (each 1 with `keepdim`).
        """
    def amax(self, dim: Dims | None = None, keepdim: builtins.bool = False) -> Tensor:
        """The largest, NaN if any is; ties share the gradient equally.

        [...] -> [], or without the dimensions `dim` (each 1 with `keepdim`).
        """
    def amin(self, dim: Dims | None = None, keepdim: builtins.bool = False) -> Tensor:
        """The smallest over dimensions, or over all; NaN if there is one. Ties share the gradient.

        [...] -> [], or without the dimensions `dim` (each 1 with `keepdim`).
        """
    @overload
    def max(self, dim: None = None) -> Tensor:
        """Of all elements; along `dim` with indices; or, given a tensor, the elementwise maximum."""
    @overload
    def max(self, dim: Tensor) -> Tensor:
        """Of all elements; along `dim` with indices; or, given a tensor, the elementwise maximum."""
    @overload
    def max(self, *, other: Tensor) -> Tensor:
        """Of all elements; along `dim` with indices; or, given a tensor, the elementwise maximum."""
    @overload
    def max(self, dim: builtins.int, keepdim: builtins.bool = False) -> graphc.return_types.max:
        """Of all elements; along `dim` with indices; or, given a tensor, the elementwise maximum."""
    @overload
    def min(self, dim: None = None) -> Tensor:
        """The smallest of all; with `dim` a named tuple of values and indices (int64); of two tensors
        `minimum`.
        """
    @overload
    def min(self, dim: Tensor) -> Tensor:
        """The smallest of all; with `dim` a named tuple of values and indices (int64); of two tensors
        `minimum`.
        """
    @overload
    def min(self, *, other: Tensor) -> Tensor:
        """The smallest of all; with `dim` a named tuple of values and indices (int64); of two tensors
        `minimum`.
        """
    @overload
    def min(self, dim: builtins.int, keepdim: builtins.bool = False) -> graphc.return_types.min:
        """The smallest of all; with `dim` a named tuple of values and indices (int64); of two tensors
        `minimum`.
        """
    def argmax(self, dim: builtins.int | None = None, keepdim: builtins.bool = False) -> Tensor:
        """Index of the first largest element (the first NaN, if any).

        [...] -> [], or without dimension `dim` (1 with `keepdim`).
        """
    def argmin(self, dim: builtins.int | None = None, keepdim: builtins.bool = False) -> Tensor:
        """The index (int64) of the smallest along a dimension, or of all in row-major order.

        [...] -> [], or without dimension `dim` (1 with `keepdim`).
        """
    def aminmax(
        self, *, dim: builtins.int | None = None, keepdim: builtins.bool = False
    ) -> graphc.return_types.aminmax:
        """`amin` and `amax` in one. [...] -> two of [], or without `dim` (1 with `keepdim`)."""
    def dist(self, other: Tensor, p: builtins.float = 2) -> Tensor:
        """The p-norm of the difference. Shapes that broadcast -> []."""
    def any(self, dim: Dims | None = None, keepdim: builtins.bool = False) -> Tensor:
        """Whether some element is nonzero; False of nothing.

        [...] -> [], or without the dimensions `dim` (each 1 with `keepdim`).
        """
    def all(self, dim: Dims | None = None, keepdim: builtins.bool = False) -> Tensor:
        """Whether no element is zero; True of nothing.

        [...] -> [], or without the dimensions `dim` (each 1 with `keepdim`).
        """
    def count_nonzero(self, dim: Dims | None = None, *dims: builtins.int) -> Tensor:
        """How many elements are not zero, in all or along dimensions: a list, or one after another.

        [...] -> [], or without the dimensions.
        """
    def logsumexp(self, dim: Dims, keepdim: builtins.bool = False) -> Tensor:
        """log(sum(exp(x))) without overflow; -inf of nothing, and of only -inf.

        [...] -> without the dimensions `dim` (each 1 with `keepdim`).
        """
    def softmax(self, dim: builtins.int, dtype: DType | None = None) -> Tensor:
        """exp(x) over its sum along `dim`, shifted by the maximum. The shape stays."""
    def log_softmax(self, dim: builtins.int, dtype: DType | None = None) -> Tensor:
        """input minus its logsumexp along `dim`, shifted by the maximum. The shape stays."""
    def asin(self) -> Tensor:
        """Elementwise asin; integers become floats."""
    def arcsin(self) -> Tensor:
        """Elementwise asin; integers become floats."""
    def asin_(self) -> Tensor: ...
    def arcsin_(self) -> Tensor: ...
    def acos(self) -> Tensor:
        """Elementwise acos; integers become floats."""
    def arccos(self) -> Tensor:
        """Elementwise acos; integers become floats."""
    def acos_(self) -> Tensor: ...
    def arccos_(self) -> Tensor: ...
    def atan(self) -> Tensor:
        """Elementwise atan; integers become floats."""
    def arctan(self) -> Tensor:
        """Elementwise atan; integers become floats."""
    def atan_(self) -> Tensor: ...
    def arctan_(self) -> Tensor: ...
    def asinh(self) -> Tensor:
        """Elementwise asinh; integers become floats."""
    def arcsinh(self) -> Tensor:
        """Elementwise asinh; integers become floats."""
    def asinh_(self) -> Tensor: ...
    def arcsinh_(self) -> Tensor: ...
    def acosh(self) -> Tensor:
        """Elementwise acosh; integers become floats."""
    def arccosh(self) -> Tensor:
        """Elementwise acosh; integers become floats."""
    def acosh_(self) -> Tensor: ...
    def arccosh_(self) -> Tensor: ...
    def atanh(self) -> Tensor:
        """Elementwise atanh; integers become floats."""
    def arctanh(self) -> Tensor:
        """Elementwise atanh; integers become floats."""
    def atanh_(self) -> Tensor: ...
    def arctanh_(self) -> Tensor: ...
    def atan2(self, other: Tensor) -> Tensor:
        """The angle of the point (x, y), in [-pi, pi], by the signs of both, those of zeros too."""
    def arctan2(self, other: Tensor) -> Tensor:
        """The angle of the point (x, y), in [-pi, pi], by the signs of both, those of zeros too."""
    def atan2_(self, other: Tensor) -> Tensor: ...
    def arctan2_(self, other: Tensor) -> Tensor: ...
    def hypot(self, other: Tensor) -> Tensor:
        """sqrt(x^2 + y^2) without overflow."""
    def hypot_(self, other: Tensor) -> Tensor: ...
    def deg2rad(self) -> Tensor:
        """Degrees as radians; integers become floats."""
    def deg2rad_(self) -> Tensor: ...
    def rad2deg(self) -> Tensor:
        """Radians as degrees; integers become floats."""
    def rad2deg_(self) -> Tensor: ...
    def sinc(self) -> Tensor:
        """sin(pi x) / (pi x), and 1 with derivative 0 at 0."""
    def sinc_(self) -> Tensor: ...
    def sgn(self) -> Tensor:
        """-1, 0 or 1; 0 for NaN: `sign`, there being no complex numbers."""
    def sgn_(self) -> Tensor: ...
    def signbit(self) -> Tensor:
        """Whether the sign bit is set; of a NaN, no."""
    def copysign(self, other: Operand) -> Tensor:
        """|x| with the sign of y, zeros included; the derivative at x = 0 is 0."""
    def copysign_(self, other: Operand) -> Tensor: ...
    def frac(self) -> Tensor:
        """x without its whole part, of x's sign."""
    def frac_(self) -> Tensor: ...
    def heaviside(self, values: Tensor) -> Tensor:
        """0 below 0, 1 above, `values` at 0."""
    def heaviside_(self, values: Tensor) -> Tensor: ...
    def ldexp(self, exponent: Tensor) -> Tensor:
        """input * 2^exponent, of whole numbers in input's dtype if that is floating."""
    def ldexp_(self, exponent: Tensor) -> Tensor: ...
    def float_power(self, exponent: Operand) -> Tensor:
        """x ** y in float64."""
    def float_power_(self, exponent: Operand) -> Tensor: ...
    def logit(self, eps: builtins.float | None = None) -> Tensor:
        """log(x / (1 - x)), with x kept in [eps, 1 - eps] if given."""
    def logit_(self, eps: builtins.float | None = None) -> Tensor: ...
    def xlogy(self, other: Operand) -> Tensor:
        """x log(y), and 0 where x is 0 unless y is NaN."""
    def xlogy_(self, other: Operand) -> Tensor: ...
    def logaddexp(self, other: Tensor) -> Tensor:
        """log(exp(x) + exp(y)) without overflow."""
    def logaddexp2(self, other: Tensor) -> Tensor:
        """log2(2^x + 2^y) without overflow."""
    def lgamma(self) -> Tensor:
        """Elementwise lgamma; integers become floats."""
    def lgamma_(self) -> Tensor: ...
    def erfinv(self) -> Tensor:
        """Elementwise erfinv; integers become floats."""
    def erfinv_(self) -> Tensor: ...
    def polygamma(self, n: builtins.int) -> Tensor:
        """`polygamma` with the tensor first, as the method has it."""
    def polygamma_(self, n: builtins.int) -> Tensor: ...
    def digamma(self) -> Tensor:
        """The derivative of lgamma."""
    def digamma_(self) -> Tensor: ...
    def mvlgamma(self, p: builtins.int) -> Tensor:
        """log of the multivariate gamma function of dimension p, up to 2048. The shape stays."""
    def mvlgamma_(self, p: builtins.int) -> Tensor: ...
    def cumsum(self, dim: builtins.int, *, dtype: DType | None = None) -> Tensor:
        """Running sums; of integers in i64. The shape stays."""
    def cumsum_(self, dim: builtins.int, *, dtype: DType | None = None) -> Tensor: ...
    def cumprod(self, dim: builtins.int, *, dtype: DType | None = None) -> Tensor:
        """Running products; of integers in i64. The gradient is exact with zeros.

        The shape stays.
        """
    def cumprod_(self, dim: builtins.int, *, dtype: DType | None = None) -> Tensor: ...
    def logcumsumexp(self, dim: builtins.int) -> Tensor:
        """log(cumsum(exp(x))) without overflow. The shape stays."""
    def cummax(self, dim: builtins.int) -> graphc.return_types.cummax:
        """The largest so far along `dim`, and its index. Both have its shape."""
    def cummin(self, dim: builtins.int) -> graphc.return_types.cummin:
        """The smallest so far along `dim`, and its index. Both have its shape."""
    def clamp(self, min: Operand = None, max: Operand = None) -> Tensor:
        """Between the bounds; a bound itself passes the gradient, NaN stays and passes none, min > max
        gives max.
        """
    def clip(self, min: Operand = None, max: Operand = None) -> Tensor:
        """Between the bounds; a bound itself passes the gradient, NaN stays and passes none, min > max
        gives max.
        """
    def clamp_(self, min: Operand = None, max: Operand = None) -> Tensor: ...
    def clip_(self, min: Operand = None, max: Operand = None) -> Tensor: ...
    def clamp_min(self, min: Operand) -> Tensor:
        """x, but at least `min`, a number or a tensor that broadcasts."""
    def clamp_min_(self, min: Operand) -> Tensor: ...
    def clamp_max(self, max: Operand) -> Tensor:
        """x, but at most `max`, a number or a tensor that broadcasts."""
    def clamp_max_(self, max: Operand) -> Tensor: ...
    def lerp(self, end: Tensor, weight: Operand) -> Tensor:
        """x + weight * (end - x), counted from the nearer end, so that it is exact at both."""
    def lerp_(self, end: Tensor, weight: Operand) -> Tensor: ...
    def addcmul(
        self, tensor1: Any, tensor2: Tensor, last: Tensor | None = None, *, value: Scalar = 1
    ) -> Tensor:
        """input + value * tensor1 * tensor2; the value is cut to a whole number beside integers.
        addcmul(input, value, tensor1, tensor2) is the order of old.
        """
    def addcmul_(
        self, tensor1: Any, tensor2: Tensor, last: Tensor | None = None, *, value: Scalar = 1
    ) -> Tensor: ...
    def addcdiv(
        self, tensor1: Any, tensor2: Tensor, last: Tensor | None = None, *, value: Scalar = 1
    ) -> Tensor:
        """input + value * tensor1 / tensor2; refused for integers alone. addcdiv(input, value,
        tensor1, tensor2) is the order of old.
        """
    def addcdiv_(
        self, tensor1: Any, tensor2: Tensor, last: Tensor | None = None, *, value: Scalar = 1
    ) -> Tensor: ...
    def masked_fill(self, mask: Tensor, value: Operand) -> Tensor:
        """`value` where `mask` holds, in input's dtype. Shapes that broadcast."""
    def masked_fill_(self, mask: Tensor, value: Operand) -> Tensor: ...
    def gather(
        self, dim: builtins.int, index: Tensor, *, sparse_grad: builtins.bool = False
    ) -> Tensor:
        """out[i][j] = input[index[i][j]][j] for dim 0, and so on."""
    def take_along_dim(self, indices: Tensor, dim: builtins.int | None = None) -> Tensor:
        """`gather` with the other dimensions broadcast and negative numbers counted from the end;
        without `dim`, of the flat tensor, where PyTorch takes no negative ones.

        index of input's rank -> index's shape.
        """
    def scatter_add(self, dim: builtins.int, index: Tensor, src: Tensor) -> Tensor:
        """input plus src[i][j] at [index[i][j]][j] for dim 0, each time an index appears.

        index and src of one rank with input, whose shape stays.
        """
    def scatter_add_(self, dim: builtins.int, index: Tensor, src: Tensor) -> Tensor: ...
    def scatter(
        self,
        dim: builtins.int,
        index: Tensor,
        src: Any = None,
        *,
        value: Any = None,
        reduce: str | None = None,
    ) -> Any:
        """input with `src` (a tensor or number) at the places `gather` reads; `reduce` is "add" or
        "multiply" to join it with what is there.

        index and src of one rank with input, whose shape stays.
        """
    def scatter_(
        self,
        dim: builtins.int,
        index: Tensor,
        src: Any = None,
        *,
        value: Any = None,
        reduce: str | None = None,
    ) -> Any: ...
    def scatter_reduce(
        self,
        dim: builtins.int,
        index: Tensor,
        src: Tensor,
        reduce: str,
        *,
        include_self: builtins.bool = True,
    ) -> Tensor:
        """input with all of `src` that has a place folded into it: "sum", "prod", "mean", "amax" or
        "amin"; without `include_self` what stood there is replaced.

        index and src of one rank with input, whose shape stays.
        """
    def scatter_reduce_(
        self,
        dim: builtins.int,
        index: Tensor,
        src: Tensor,
        reduce: str,
        *,
        include_self: builtins.bool = True,
    ) -> Tensor: ...
    def index_select(self, dim: builtins.int, index: Tensor) -> Tensor:
        """Slices of `input` along `dim` by number. [..., N, ...], index [K] -> [..., K, ...]."""
    def index_add(
        self, dim: builtins.int, index: Tensor, source: Tensor, *, alpha: Scalar = 1
    ) -> Tensor:
        """input plus alpha * source[k] at slice index[k], each time an index appears."""
    def index_add_(
        self, dim: builtins.int, index: Tensor, source: Tensor, *, alpha: Scalar = 1
    ) -> Tensor: ...
    def index_copy(self, dim: builtins.int, index: Tensor, source: Tensor) -> Tensor:
        """input with slice index[k] replaced by source[k]; the last of equal indices wins."""
    def index_copy_(self, dim: builtins.int, index: Tensor, source: Tensor) -> Tensor: ...
    def index_fill(self, dim: builtins.int, index: Tensor, value: Any) -> Tensor:
        """input with the slices chosen filled with a number or 0-d tensor.

        index [K]; the shape of input stays.
        """
    def index_fill_(self, dim: builtins.int, index: Tensor, value: Any) -> Tensor: ...
    def take(self, index: Tensor) -> Tensor:
        """Elements of the flat `input` by number, in the shape of `index`."""
    def put(self, index: Tensor, source: Tensor, accumulate: builtins.bool = False) -> Tensor:
        """input with the elements of `source` at flat numbers, or added to what is there.

        index and source of one shape; that of input stays.
        """
    def put_(self, index: Tensor, source: Tensor, accumulate: builtins.bool = False) -> Tensor: ...
    def masked_scatter(self, mask: Tensor, source: Tensor) -> Tensor:
        """input with the elements of `source`, in order, where `mask` is true.

        mask broadcasts with input; their shape.
        """
    def masked_scatter_(self, mask: Tensor, source: Tensor) -> Tensor: ...
    def select_scatter(self, src: Tensor, dim: builtins.int, index: builtins.int) -> Tensor:
        """A copy of `input` with `src` at `index` along `dim`.

        src [...] without `dim`; the shape of input stays.
        """
    def slice_scatter(
        self,
        src: Tensor,
        dim: builtins.int = 0,
        start: builtins.int | None = None,
        end: builtins.int | None = None,
        step: builtins.int = 1,
    ) -> Tensor:
        """A copy of `input` with `src` at start:end:step along `dim`.

        src as the slice; the shape of input stays.
        """
    def index_reduce(
        self,
        dim: builtins.int,
        index: Tensor,
        source: Tensor,
        reduce: str,
        *,
        include_self: builtins.bool = True,
    ) -> Tensor:
        """Slices of `source` joined into those of input at `index` along `dim` by prod, mean, amax or
        amin; include_self: with what stood there.

        index [K], source [..., K, ...]; the shape of input stays.
        """
    def index_reduce_(
        self,
        dim: builtins.int,
        index: Tensor,
        source: Tensor,
        reduce: str,
        *,
        include_self: builtins.bool = True,
    ) -> Tensor: ...
    def __getitem__(self, index: Any) -> Tensor: ...
    def __setitem__(self, index: Any, value: Any) -> None: ...
    def masked_select(self, mask: Tensor) -> Tensor:
        """The elements where `mask` holds, in row-major order, as a vector; the two broadcast.

        Untraceable inside a step, whose shapes do not depend on values.
        """
    @overload
    def nonzero(self, *, as_tuple: Literal[False] = False) -> Tensor:
        """The indices of nonzero elements: one row each, or (`as_tuple`) one tensor a dimension.

        [...] of rank R with n of them -> [n, R].
        """
    @overload
    def nonzero(self, *, as_tuple: Literal[True]) -> tuple[Tensor, ...]:
        """The indices of nonzero elements: one row each, or (`as_tuple`) one tensor a dimension.

        [...] of rank R with n of them -> [n, R].
        """
    def index_put_(
        self, indices: Sequence[Tensor | None], values: Tensor, accumulate: builtins.bool = False
    ) -> Tensor:
        """input[indices] = values, or += with repeated elements adding up, in place."""
    def index_put(
        self, indices: Sequence[Tensor | None], values: Tensor, accumulate: builtins.bool = False
    ) -> Tensor:
        """A copy of `input` with out[indices] = values, or += where `accumulate`."""
    def swapaxes(self, axis0: builtins.int, axis1: builtins.int) -> Tensor:
        """`transpose` by NumPy's name: [A, B, C] -> [C, B, A] for (0, 2)."""
    def swapaxes_(self, axis0: builtins.int, axis1: builtins.int) -> Tensor: ...
    def fliplr(self) -> Tensor:
        """Columns in reverse. [N, M, ...], which stays."""
    def flipud(self) -> Tensor:
        """Rows in reverse. [N, ...], which stays."""
    def rot90(self, k: builtins.int = 1, dims: Sequence[builtins.int] = ...) -> Tensor:
        """Turned k times by 90 degrees, from the first of `dims` towards the second.

        [N, M, ...] -> [M, N, ...], or as before.
        """
    def diff(
        self,
        n: builtins.int = 1,
        dim: builtins.int = -1,
        prepend: Tensor | None = None,
        append: Tensor | None = None,
    ) -> Tensor:
        """Differences of neighbours along `dim`, n times; of bools, whether they differ.

        [..., N, ...] -> [..., N - n, ...].
        """
    def nansum(
        self, dim: Dims | None = None, keepdim: builtins.bool = False, *, dtype: DType | None = None
    ) -> Tensor:
        """The sum of what is not NaN.

        [...] -> [], or without the dimensions `dim` (each 1 with `keepdim`).
        """
    def nanmean(
        self, dim: Dims | None = None, keepdim: builtins.bool = False, *, dtype: DType | None = None
    ) -> Tensor:
        """The mean of what is not NaN.

        [...] -> [], or without the dimensions `dim` (each 1 with `keepdim`).
        """
    def argwhere(self) -> Tensor:
        """The indices of nonzero elements, one row each. [...] of rank R with n of them -> [n, R]."""
    def split_with_sizes(
        self, split_sizes: Sequence[builtins.int], dim: builtins.int = 0
    ) -> Pieces:
        """Views [..., M, ...] of the sizes given, which add up to the dimension's."""
    def unsafe_chunk(self, chunks: builtins.int, dim: builtins.int = 0) -> Pieces:
        """`chunk`: views [..., M, ...], of which a write to one is safe here."""
    def unsafe_split(self, split_size: builtins.int, dim: builtins.int = 0) -> Pieces:
        """`split` by one size: views [..., M, ...], of which a write to one is safe here."""
    def unsafe_split_with_sizes(
        self, split_sizes: Sequence[builtins.int], dim: builtins.int = 0
    ) -> Pieces:
        """`split_with_sizes`: views [..., M, ...], of which a write to one is safe here."""
    def tensor_split(
        self,
        indices_or_sections: builtins.int | Sequence[builtins.int] | Tensor,
        dim: builtins.int = 0,
    ) -> Pieces:
        """Views of nearly equal parts (the first are larger), or of the parts between indices.

        [..., N, ...] -> parts whose N sum to it; views.
        """
    def hsplit(self, indices_or_sections: builtins.int | Sequence[builtins.int]) -> Pieces:
        """Parts along the second dimension, of a vector along its only one.

        [..., N, ...] -> parts whose N sum to it; views.
        """
    def vsplit(self, indices_or_sections: builtins.int | Sequence[builtins.int]) -> Pieces:
        """Parts along the first dimension. [..., N, ...] -> parts whose N sum to it; views."""
    def dsplit(self, indices_or_sections: builtins.int | Sequence[builtins.int]) -> Pieces:
        """Parts along the third dimension. [..., N, ...] -> parts whose N sum to it; views."""
    def igamma(self, other: Tensor) -> Tensor:
        """P(a, x), the share of the gamma distribution of shape a below x."""
    def igamma_(self, other: Tensor) -> Tensor: ...
    def igammac(self, other: Tensor) -> Tensor:
        """Q(a, x) = 1 - P(a, x)."""
    def igammac_(self, other: Tensor) -> Tensor: ...
    def i0(self) -> Tensor:
        """The modified Bessel function I_0."""
    def i0_(self) -> Tensor: ...
    def bernoulli(
        self, p: builtins.float | None = None, *, generator: Generator | None = None
    ) -> Tensor:
        """1 with probability `input` (or p everywhere, if given), else 0, of its shape and dtype."""
    def multinomial(
        self,
        num_samples: builtins.int,
        replacement: builtins.bool = False,
        *,
        generator: Generator | None = None,
    ) -> Tensor:
        """Indices [.., num_samples] drawn by weights [.., n], which need not sum to 1.

        With replacement by the inverse of the cumulative distribution; without, the largest of weight
        over exponential (Efraimidis and Spirakis 2006). Raises RuntimeError for weights below zero, not
        finite or all zero, and for more samples than weights.

        [..., N] -> [..., num_samples].
        """
    def uniform_(
        self,
        a: builtins.float = 0.0,
        b: builtins.float = 1.0,
        *,
        generator: Generator | None = None,
    ) -> Tensor:
        """Fill x with numbers uniform on [a, b)."""
    def normal_(
        self,
        mean: builtins.float = 0.0,
        std: builtins.float = 1.0,
        *,
        generator: Generator | None = None,
    ) -> Tensor:
        """Fill x with normal numbers of this mean and standard deviation."""
    def bernoulli_(self, p: Any = 0.5, *, generator: Generator | None = None) -> Tensor:
        """Fill x with ones at probability p (a number, or a tensor that broadcasts) and zeros."""
    def random_(
        self,
        low: builtins.int | None = None,
        to: builtins.int | None = None,
        *,
        generator: Generator | None = None,
    ) -> Tensor:
        """Integers in [low, to); random_(to) and random_() begin at 0, and the last goes up to what the
        dtype holds exactly.
        """
    def exponential_(
        self, lambd: builtins.float = 1.0, *, generator: Generator | None = None
    ) -> Tensor:
        """Exponential with rate `lambd`."""
    def geometric_(self, p: builtins.float, *, generator: Generator | None = None) -> Tensor:
        """Tries up to and including the first success of probability p: 1, 2, .."""
    def log_normal_(
        self,
        mean: builtins.float = 1.0,
        std: builtins.float = 2.0,
        *,
        generator: Generator | None = None,
    ) -> Tensor:
        """exp of a normal number."""
    def cauchy_(
        self,
        median: builtins.float = 0.0,
        sigma: builtins.float = 1.0,
        *,
        generator: Generator | None = None,
    ) -> Tensor:
        """Cauchy with the given median and half width at half height."""
    def apply_(self, callable: Callable[[Any], Any]) -> Tensor:
        """Each element becomes what `callable` makes of it. Raises AutogradError where gradients are
        computed for x, DataDependentBranch in a compiled step. The shape stays.
        """
    def map_(self, tensor: Tensor, callable: Callable[[Any, Any], Any]) -> Tensor:
        """`apply_` of x's elements with those of a tensor that broadcasts to x. The shape stays."""
    def map2_(self, tensor: Tensor, y: Tensor, callable: Callable[[Any, Any, Any], Any]) -> Tensor:
        """`apply_` with the elements of two tensors that broadcast to x. The shape stays."""
    def to(
        self,
        *args: Any,
        dtype: Any = None,
        device: Any = None,
        non_blocking: builtins.bool = False,
        copy: builtins.bool = False,
        memory_format: Any = None,
    ) -> Tensor:
        """x in another dtype or on another device; x itself when nothing changes.

        to(dtype), to(device), to(device, dtype) or to(other), each then with non_blocking and copy.
        It lies as x does, unless a memory format is given. With non_blocking, a copy of pinned memory
        to a GPU goes on after the call: what is computed there waits for it.
        """
    def type_as(self, other: Tensor) -> Tensor:
        """x in the dtype and on the device of `other`; x itself if it is so already."""
    def float(self, memory_format: Any = None) -> Tensor:
        """x as float32; x itself if it already is."""
    def double(self, memory_format: Any = None) -> Tensor:
        """x as float64; x itself if it already is."""
    def half(self, memory_format: Any = None) -> Tensor:
        """x as float16; x itself if it already is."""
    def bfloat16(self, memory_format: Any = None) -> Tensor:
        """x as bfloat16; x itself if it already is."""
    def long(self, memory_format: Any = None) -> Tensor:
        """x as int64; x itself if it already is."""
    def int(self, memory_format: Any = None) -> Tensor:
        """x as int32; x itself if it already is."""
    def short(self, memory_format: Any = None) -> Tensor:
        """x as int16; x itself if it already is."""
    def char(self, memory_format: Any = None) -> Tensor:
        """x as int8; x itself if it already is."""
    def byte(self, memory_format: Any = None) -> Tensor:
        """x as uint8; x itself if it already is."""
    def bool(self, memory_format: Any = None) -> Tensor:
        """x as bool; x itself if it already is."""
    def cpu(self, memory_format: Any = None) -> Tensor:
        """x in memory of the host; x itself if it is there."""
    def cuda(
        self, device: Any = None, non_blocking: builtins.bool = False, memory_format: Any = None
    ) -> Tensor:
        """x on a GPU; raises where there is none."""
    def pin_memory(self, device: Any = None) -> Tensor:
        """A copy of x in memory that a GPU reads by itself; x itself if it is, or there is no GPU."""
    def new_full(
        self,
        size: Any,
        fill_value: Any,
        *,
        dtype: Any = None,
        layout: Any = None,
        device: Any = None,
        requires_grad: Any = False,
        pin_memory: Any = False,
        memory_format: Any = None,
    ) -> Tensor:
        """A tensor like x in dtype, of the given size, filled with one number."""
    def new_zeros(self, *sizes_: Any, size: Any = None, **options: Any) -> Tensor:
        """Zeros of a size, of x's dtype and on its device unless options say otherwise."""
    def new_ones(self, *sizes_: Any, size: Any = None, **options: Any) -> Tensor:
        """Ones of a size, of x's dtype and on its device unless options say otherwise."""
    def new_empty(self, *sizes_: Any, size: Any = None, **options: Any) -> Tensor:
        """A tensor of a size, of x's dtype and on its device; its elements are zero here."""
    def new_tensor(self, data: Any, *, dtype: Any = None, **options: Any) -> Tensor:
        """A copy of `data`, of x's dtype and on its device unless options say otherwise."""
    def equal(self, other: Tensor) -> builtins.bool:
        """Whether shapes agree and all elements are equal (NaN equals nothing)."""
    def allclose(
        self,
        other: Tensor,
        rtol: builtins.float = 1e-05,
        atol: builtins.float = 1e-08,
        equal_nan: builtins.bool = False,
    ) -> builtins.bool:
        """Whether all |x - y| <= atol + rtol |y|, as a bool; NaN equals NaN if `equal_nan`.

        Operands of one dtype; they broadcast. Inside a step DataDependentBranch, as for any read.

        Any shapes that broadcast.
        """
    def tril(self, diagonal: builtins.int = 0) -> Tensor:
        """The lower triangle, up to `diagonal` above the main one; the rest is zero.

        [..., N, M], which stays.
        """
    def tril_(self, diagonal: builtins.int = 0) -> Tensor: ...
    def triu(self, diagonal: builtins.int = 0) -> Tensor:
        """The upper triangle, from `diagonal` above the main one; the rest is zero.

        [..., N, M], which stays.
        """
    def triu_(self, diagonal: builtins.int = 0) -> Tensor: ...
    def diagonal(
        self, offset: builtins.int = 0, dim1: builtins.int = 0, dim2: builtins.int = 1
    ) -> Tensor:
        """The diagonal of two dimensions, last in the result; a view. [..., N, M] -> [..., D]."""
    def diag_embed(
        self, offset: builtins.int = 0, dim1: builtins.int = -2, dim2: builtins.int = -1
    ) -> Tensor:
        """Square matrices with the last dimension of `input` on a diagonal, zero elsewhere.

        [..., N] -> [..., N + |offset|, N + |offset|].
        """
    def diag(self, diagonal: builtins.int = 0) -> Tensor:
        """A copy of a matrix's diagonal, or the square matrix with `input` on its diagonal.

        [N, M] -> [D], or [N] -> [N, N].
        """
    def diagflat(self, offset: builtins.int = 0) -> Tensor:
        """The square matrix with the elements of `input` on a diagonal.

        [...] of N elements -> [N + |offset|, N + |offset|].
        """
    def diagonal_scatter(
        self, src: Tensor, offset: builtins.int = 0, dim1: builtins.int = 0, dim2: builtins.int = 1
    ) -> Tensor:
        """A copy of `input` with `src` on the diagonal.

        The shape of `input`; src has that of its diagonal.
        """
    def fill_diagonal_(self, fill_value: Scalar, wrap: builtins.bool = False) -> Tensor:
        """Write a number on the main diagonal; `wrap` starts again below a tall matrix's end."""
    def as_strided(
        self,
        size: Sequence[builtins.int],
        stride: Sequence[builtins.int],
        storage_offset: builtins.int | None = None,
    ) -> Tensor:
        """The memory of `input` seen with another size and strides (in elements); a view.

        -> shape `size`.
        """
    def view(self, *sizes: Any, size: Any = None, dtype: DType | None = None) -> Tensor:
        """`shapes.view` with a size, or the same memory as elements of another dtype."""
    def resize_(self, *sizes: Any, memory_format: Any = None) -> Tensor:
        """x with another size in place: its first elements, as its memory has them whatever the strides
        of x, then zeros where there are none.
        """
    def resize_as_(self, other: Tensor, *, memory_format: Any = None) -> Tensor:
        """x with the size of `other`, in place: see `resize_`."""
    def set_(self, source: Tensor | None = None) -> Tensor:
        """x over the memory of `source`, in its shape, from now on; without one, of no elements."""
    def untyped_storage(self) -> UntypedStorage:
        """What tells tensors over the same memory."""
    def new_empty_strided(
        self, size: Sequence[builtins.int], stride: Sequence[builtins.int], **options: Any
    ) -> Tensor:
        """`empty_strided` of x's dtype and on its device, unless options say otherwise."""
    def narrow_copy(self, dim: builtins.int, start: builtins.int, length: builtins.int) -> Tensor:
        """`narrow`, copied row by row. Of the shape that the view has."""
    def as_strided_scatter(
        self,
        src: Tensor,
        size: Sequence[builtins.int],
        stride: Sequence[builtins.int],
        storage_offset: builtins.int | None = None,
    ) -> Tensor:
        """A copy of `input` with `src` in those of its elements that `as_strided` shows.

        src of the shape `size`; the shape of input stays.
        """
    def matmul(self, other: Tensor) -> Tensor:
        """Python's @: vectors count as a row or column, leading dimensions as batch.

        [..., N, K], [..., K, M] -> [..., N, M]. Raises ShapeMismatch if the Ks differ.
        """
    def __matmul__(self, other: Tensor) -> Tensor: ...
    def __rmatmul__(self, y: Tensor) -> Tensor: ...
    def mm(self, mat2: Tensor) -> Tensor:
        """[n, k] times [k, m]: [n, m]; ShapeMismatch for other ranks."""
    def bmm(self, mat2: Tensor) -> Tensor:
        """[b, n, k] times [b, k, m]: [b, n, m]; nothing broadcasts."""
    def mv(self, vec: Tensor) -> Tensor:
        """[n, k] times [k]: [n]; ShapeMismatch for other ranks."""
    def dot(self, tensor: Tensor) -> Tensor:
        """The inner product of two vectors. [N], [N] -> []."""
    def vdot(self, other: Tensor) -> Tensor:
        """`dot`: real numbers are their own conjugates. [N], [N] -> []."""
    def outer(self, vec2: Tensor) -> Tensor:
        """The products of each element of a vector [n] with each of another [m]: [n, m]."""
    def ger(self, vec2: Tensor) -> Tensor:
        """The products of each element of a vector [n] with each of another [m]: [n, m]."""
    def inner(self, other: Tensor) -> Tensor:
        """Sums of products over the last dimensions; of a 0-d tensor, the product.

        [..., K], [*, K] -> [..., *].
        """
    def trace(self) -> Tensor:
        """The sum of the diagonal of a matrix. [N, M] -> []."""
    def addmm(
        self, mat1: Tensor, mat2: Tensor, *, beta: builtins.float = 1, alpha: builtins.float = 1
    ) -> Tensor:
        """beta * input + alpha * (mat1 @ mat2).

        input broadcasts to [N, M], mat1 [N, K], mat2 [K, M] -> [N, M].
        """
    def addmm_(
        self, mat1: Tensor, mat2: Tensor, *, beta: builtins.float = 1, alpha: builtins.float = 1
    ) -> Tensor: ...
    def addmv(
        self, mat: Tensor, vec: Tensor, *, beta: builtins.float = 1, alpha: builtins.float = 1
    ) -> Tensor:
        """beta * input + alpha * (mat @ vec). input broadcasts to [N], mat [N, K], vec [K] -> [N]."""
    def addmv_(
        self, mat: Tensor, vec: Tensor, *, beta: builtins.float = 1, alpha: builtins.float = 1
    ) -> Tensor: ...
    def addr(
        self, vec1: Tensor, vec2: Tensor, *, beta: builtins.float = 1, alpha: builtins.float = 1
    ) -> Tensor:
        """beta * input + alpha * outer(vec1, vec2).

        input broadcasts to [N, M], vec1 [N], vec2 [M] -> [N, M].
        """
    def addr_(
        self, vec1: Tensor, vec2: Tensor, *, beta: builtins.float = 1, alpha: builtins.float = 1
    ) -> Tensor: ...
    def baddbmm(
        self, batch1: Tensor, batch2: Tensor, *, beta: builtins.float = 1, alpha: builtins.float = 1
    ) -> Tensor:
        """beta * input + alpha * (batch1 @ batch2), matrix by matrix.

        input broadcasts to [B, N, M], batch1 [B, N, K], batch2 [B, K, M] -> [B, N, M].
        """
    def baddbmm_(
        self, batch1: Tensor, batch2: Tensor, *, beta: builtins.float = 1, alpha: builtins.float = 1
    ) -> Tensor: ...
    def addbmm(
        self, batch1: Tensor, batch2: Tensor, *, beta: builtins.float = 1, alpha: builtins.float = 1
    ) -> Tensor:
        """beta * input + alpha * (the sum of batch1 @ batch2 over the batch).

        input broadcasts to [N, M], batch1 [B, N, K], batch2 [B, K, M] -> [N, M].
        """
    def addbmm_(
        self, batch1: Tensor, batch2: Tensor, *, beta: builtins.float = 1, alpha: builtins.float = 1
    ) -> Tensor: ...
    def kron(self, other: Tensor) -> Tensor:
        """The Kronecker product: input with each element times all of `other` in its place.

        [N, ...], [M, ...] -> [N * M, ...].
        """
    def cross(self, other: Tensor, dim: builtins.int | None = None) -> Tensor:
        """The vector product along `dim`, or along the first dimension of size 3.

        [..., 3, ...], which stays.
        """
    def matrix_exp(self) -> Tensor:
        """exp of square matrices, by Taylor's series of A / 2^s and s squarings.

        [..., N, N], which stays.
        """
    def inverse(self) -> Tensor:
        """The inverse. Raises LinAlgError if A is singular. [..., N, N], which stays."""
    def det(self) -> Tensor:
        """The determinant; its gradient exists for singular matrices too. [..., N, N] -> [...]."""
    def slogdet(self) -> graphc.return_types.linalg_slogdet:
        """The sign of the determinant, and the logarithm of its absolute value. [..., N, N] -> two of
        [...].
        """
    def logdet(self) -> Tensor:
        """The logarithm of the determinant; NaN where it is negative."""
    def matrix_power(self, n: builtins.int) -> Tensor:
        """A multiplied with itself n times, by repeated squaring; negative n: of its inverse. [..., N,
        N], which stays.
        """
    def argsort(
        self,
        dim: builtins.int = -1,
        descending: builtins.bool = False,
        *,
        stable: builtins.bool = False,
    ) -> Tensor:
        """The indices that sort `input` along `dim`; always stable. The shape stays."""
    def sort(
        self,
        dim: builtins.int = -1,
        descending: builtins.bool = False,
        *,
        stable: builtins.bool | None = None,
    ) -> graphc.return_types.sort:
        """The elements in order along `dim`, and where they stood; always stable.

        Both have its shape.
        """
    def msort(self) -> Tensor:
        """Sorted along the first dimension; the shape stays."""
    def topk(
        self,
        k: builtins.int,
        dim: builtins.int = -1,
        largest: builtins.bool = True,
        sorted: builtins.bool = True,
    ) -> graphc.return_types.topk:
        """The k largest (or smallest) elements along `dim`, the best first, and their indices.

        [..., N, ...] -> two of [..., k, ...].
        """
    def kthvalue(
        self, k: builtins.int, dim: builtins.int = -1, keepdim: builtins.bool = False
    ) -> graphc.return_types.kthvalue:
        """The k-th smallest element (counted from 1) along `dim`, and its index.

        [..., N, ...] -> two of [...] without `dim` (1 with `keepdim`).
        """
    @overload
    def median(self, dim: None = None) -> Tensor:
        """The lower median of all elements, or along `dim` with indices; NaN if any is NaN.

        [...] -> [], or two of [...] without `dim` (1 with `keepdim`).
        """
    @overload
    def median(
        self, dim: builtins.int, keepdim: builtins.bool = False
    ) -> graphc.return_types.median:
        """The lower median of all elements, or along `dim` with indices; NaN if any is NaN.

        [...] -> [], or two of [...] without `dim` (1 with `keepdim`).
        """
    @overload
    def nanmedian(self, dim: None = None) -> Tensor:
        """The lower median of what is not NaN.

        [...] -> [], or two of [...] without `dim` (1 with `keepdim`).
        """
    @overload
    def nanmedian(
        self, dim: builtins.int, keepdim: builtins.bool = False
    ) -> graphc.return_types.nanmedian:
        """The lower median of what is not NaN.

        [...] -> [], or two of [...] without `dim` (1 with `keepdim`).
        """
    def mode(
        self, dim: builtins.int = -1, keepdim: builtins.bool = False
    ) -> graphc.return_types.mode:
        """The most frequent element along `dim` (the smallest of several), and its last index.

        [..., N, ...] -> two of [...] without `dim` (1 with `keepdim`).
        """
    def quantile(
        self,
        q: Any,
        dim: builtins.int | None = None,
        keepdim: builtins.bool = False,
        *,
        interpolation: str = ...,
    ) -> Tensor:
        """The q-th quantiles along `dim` or of all; q is a number or a vector, whose results lead.

        q [] or [Q] -> [] or [...] without `dim` (1 with `keepdim`), behind [Q].
        """
    def nanquantile(
        self,
        q: Any,
        dim: builtins.int | None = None,
        keepdim: builtins.bool = False,
        *,
        interpolation: str = ...,
    ) -> Tensor:
        """`quantile` of what is not NaN.

        q [] or [Q] -> [] or [...] without `dim` (1 with `keepdim`), behind [Q].
        """
    def histc(
        self, bins: builtins.int = 100, min: builtins.float = 0, max: builtins.float = 0
    ) -> Tensor:
        """How many elements lie in each of `bins` equal intervals of [min, max], or of the data's."""
    def unique(
        self,
        sorted: builtins.bool = True,
        return_inverse: builtins.bool = False,
        return_counts: builtins.bool = False,
        dim: builtins.int | None = None,
    ) -> Any:
        """The distinct elements (or slices along `dim`) in order; where each went; how many.

        [...] -> [n], or [..., n, ...] along `dim`.
        """
    def unique_consecutive(
        self,
        return_inverse: builtins.bool = False,
        return_counts: builtins.bool = False,
        dim: builtins.int | None = None,
    ) -> Any:
        """The first of each run of equal elements (or slices along `dim`).

        [...] -> [n], or [..., n, ...] along `dim`.
        """
    def bincount(self, weights: Tensor | None = None, minlength: builtins.int = 0) -> Tensor:
        """How often each number from 0 occurs in a vector, or the sum of its weights.

        [N] -> [max(largest + 1, minlength)].
        """
    @property
    def real(self) -> Tensor:
        """The tensor itself: numbers are real."""
    def conj(self) -> Tensor:
        """The tensor itself: numbers are real."""
    def resolve_conj(self) -> Tensor:
        """The tensor itself: nothing is conjugated late."""
    def is_conj(self) -> builtins.bool:
        """False, of any shape: nothing is conjugated late."""
    def resolve_neg(self) -> Tensor:
        """The tensor itself: nothing is negated late."""
    def is_neg(self) -> builtins.bool:
        """False, of any shape: nothing is negated late."""
    def is_distributed(self) -> builtins.bool:
        """False, of any shape: a tensor lies on one device."""
    def is_same_size(self, other: Tensor) -> builtins.bool:
        """Whether the shapes are equal."""
    def is_set_to(self, tensor: Tensor) -> builtins.bool:
        """Whether both show the same memory in the same way."""
    def to_dense(self, dtype: Any = None, *, masked_grad: builtins.bool = True) -> Tensor:
        """The tensor itself, or in another dtype: it is dense."""
    def sum_to_size(self, *size: Any) -> Tensor:
        """The sum over the dimensions in which a tensor of `size` would be broadcast to this one."""
    def hardshrink(self, lambd: builtins.float = 0.5) -> Tensor:
        """0 within `lambd` of 0, else the number."""
    def type(self, dtype: Any = None, non_blocking: builtins.bool = False) -> Any:
        """The name of x's class of old, "torch.FloatTensor"; or x as such a class, name or dtype."""
    def new(self, *data: Any, device: Any = None) -> Tensor:
        """x.new(2, 3) of a size or x.new([1, 2]) of data, of x's dtype."""
    def triangular_solve(
        self,
        A: Tensor,
        upper: builtins.bool = True,
        transpose: builtins.bool = False,
        unitriangular: builtins.bool = False,
    ) -> graphc.return_types.triangular_solve:
        """X with A X = b (`transpose`: A^T X = b), A's other triangle not read; and a copy of A.

        b [..., N, K], A [..., N, N] -> b's shape and A's, broadcast over the leading dimensions.
        """
    def orgqr(self, input2: Tensor) -> Tensor:
        """`linalg.householder_product` by LAPACK's name. [..., N, M], [..., K] -> [..., N, M]."""
    def ormqr(
        self,
        input2: Tensor,
        input3: Tensor,
        left: builtins.bool = True,
        transpose: builtins.bool = False,
    ) -> Tensor:
        """Q C (or C Q; `transpose`: by Q^T) with Q the product of the reflectors in `input`.

        input [..., N, K], input2 [..., K], input3 C [..., N, M] ([..., M, N] unless left) -> C's shape.
        """
    def cholesky(self, upper: builtins.bool = False) -> Tensor:
        """L with input = L L^T (or its transpose). [..., N, N], which stays."""
    def qr(self, some: builtins.bool = True) -> graphc.return_types.qr:
        """input = Q R, reduced unless `some` is false.

        [..., N, M] -> [..., N, K], [..., K, M] with K the smaller.
        """
    def svd(
        self, some: builtins.bool = True, compute_uv: builtins.bool = True
    ) -> graphc.return_types.svd:
        """input = U diag(S) V^T, with V itself; zeros for U and V unless `compute_uv`.

        [..., N, M] -> [..., N, K], [..., K], [..., M, K] with K the smaller.
        """
    def lu(
        self, pivot: builtins.bool = True, get_infos: builtins.bool = False
    ) -> tuple[Tensor, ...]:
        """The former name of `linalg.lu_factor` and, with `get_infos`, of `linalg.lu_factor_ex`.

        [..., N, M] -> [..., N, M], [..., K] with K the smaller, and [...].
        """
    def lu_solve(self, LU_data: Tensor, LU_pivots: Tensor) -> Tensor:
        """X with A X = b, of what `linalg.lu_factor` gives of A.

        [..., N, K], [..., N, N], [..., N] -> [..., N, K].
        """
    def pinverse(self, rcond: builtins.float = 1e-15) -> Tensor:
        """The pseudo-inverse; singular values up to rcond * the largest count as zero.

        [..., N, M] -> [..., M, N].
        """
    def frexp(self) -> graphc.return_types.frexp:
        """input = mantissa * 2^exponent with 0.5 <= |mantissa| < 1; zeros, infinities and NaN with 0.

        -> of input's dtype and int32. Raises ShapeMismatch for integers.
        """
    def nextafter(self, other: Tensor) -> Tensor:
        """The next number after input in the direction of other; other where they are equal.

        NaN where one is NaN. The gradient is input's alone, and 0 where they are equal.
        """
    def nextafter_(self, other: Tensor) -> Tensor: ...
    def renorm(self, p: builtins.float, dim: builtins.int, maxnorm: builtins.float) -> Tensor:
        """Slices along `dim` whose p-norm exceeds `maxnorm` are scaled down to it. [...] -> [...]."""
    def renorm_(self, p: builtins.float, dim: builtins.int, maxnorm: builtins.float) -> Tensor: ...
    def histogram(
        self,
        bins: Any = 100,
        *,
        range: Sequence[builtins.float] | None = None,
        weight: Tensor | None = None,
        density: builtins.bool = False,
    ) -> graphc.return_types.histogram:
        """How many elements (or how much of `weight`) fall in each bin, and the edges of the bins.

        `bins`: how many, equally wide over `range` or the data's; or the edges, rising. [...] -> [bins]
        and [bins + 1].
        """
    def cholesky_solve(self, L: Tensor, upper: builtins.bool = False) -> Tensor:
        """X with A X = input, of A = L L^T (upper: L^T L). [..., N, K], [..., N, N] -> [..., N, K]."""
    def cholesky_inverse(self, upper: builtins.bool = False) -> Tensor:
        """The inverse of L L^T (upper: of L^T L). [..., N, N] -> [..., N, N]."""
    def nonzero_static(self, *, size: builtins.int, fill_value: builtins.int = -1) -> Tensor:
        """The first `size` rows of `nonzero(input)`; where there are fewer, rows of `fill_value`.

        [...] of rank R -> [size, R].
        """
    def repeat_interleave(
        self,
        repeats: builtins.int | Tensor | None = None,
        dim: builtins.int | None = None,
        *,
        output_size: builtins.int | None = None,
    ) -> Tensor:
        """Each element `repeats` times in a row along `dim`; a tensor says how often for each.

        repeat_interleave(counts) alone repeats the numbers 0, 1, ... of the counts.

        [..., N, ...] -> [..., N * repeats, ...], or their sum.
        """
    def cov(
        self,
        *,
        correction: builtins.int = 1,
        fweights: Tensor | None = None,
        aweights: Tensor | None = None,
    ) -> Tensor:
        """Covariances of the rows, whose columns are observations; a vector is one row.

        [R, N] or [N] -> [R, R] or [].
        """
    def corrcoef(self) -> Tensor:
        """Correlations of the rows, in [-1, 1]."""
    def gcd(self, other: Tensor) -> Tensor:
        """The greatest common divisor, not negative; of 0 and 0 it is 0."""
    def gcd_(self, other: Tensor) -> Tensor: ...
    def lcm(self, other: Tensor) -> Tensor:
        """The least common multiple, not negative; 0 where one of them is 0."""
    def lcm_(self, other: Tensor) -> Tensor: ...
