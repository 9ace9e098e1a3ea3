"""Embedding and EmbeddingBag: tables of rows looked up by index."""

from __future__ import annotations

from typing import Any, ClassVar, Self

from graphc.errors import AssertedArgument, InvalidArgument, ShapeMismatch
from graphc.frontend.api.creation import empty
from graphc.frontend.modes import no_grad
from graphc.frontend.tensor import Tensor
from graphc.ir.types import DType
from graphc.nn import functional as F
from graphc.nn import init
from graphc.nn.module import Module
from graphc.nn.parameter import Parameter

__all__ = ["Embedding", "EmbeddingBag"]


class _Table(Module):
    """weight [num_embeddings, embedding_dim], and the options of looking up its rows."""

    defaults: ClassVar[dict[str, Any]]

    def _build(
        self,
        weight: Tensor | None,
        frozen: bool,
        device: object,
        dtype: DType | None,
        **options: Any,
    ) -> None:
        """Set `options`; take over `weight`, or draw one."""
        super().__init__()
        rows, padding = options["num_embeddings"], options["padding_idx"]
        if padding is not None:
            if not -rows <= padding < rows:
                raise AssertedArgument("padding_idx must be within num_embeddings")
            options["padding_idx"] = padding % rows
        for name, value in options.items():
            setattr(self, name, value)
        shape = (rows, options["embedding_dim"])
        if weight is not None and tuple(weight.shape) != shape:
            raise ShapeMismatch(
                "Shape of weight does not match num_embeddings and embedding_dim",
                why=f"the weight is {weight.spec}, expected {shape}",
            )
        made = empty(shape, device=device, dtype=dtype) if weight is None else weight
        self.weight = Parameter(made, requires_grad=not frozen)
        if weight is None:
            self.reset_parameters()

    def reset_parameters(self) -> None:
        init.normal_(self.weight)
        if self.padding_idx is not None:
            with no_grad():
                self.weight[self.padding_idx].fill_(0)

    @classmethod
    def _pretrained(cls, embeddings: Tensor, freeze: bool, **options: Any) -> Self:
        if embeddings.dim() != 2:
            raise InvalidArgument("Embeddings parameter is expected to be 2-dimensional")
        rows, width = embeddings.shape
        make: Any = cls  # a table's class, whose arguments a subclass may change
        out: Self = make(rows, width, _weight=embeddings, **options)
        out.weight.requires_grad_(not freeze)
        return out

    def extra_repr(self) -> str:
        """The sizes, and what is not as usual."""
        shown = [
            f"{name}={value!r}" if name == "mode" else f"{name}={value}"
            for name, usual in self.defaults.items()
            if (value := getattr(self, name)) != usual or name == "mode"
        ]
        return ", ".join([str(self.num_embeddings), str(self.embedding_dim), *shown])


class Embedding(_Table):
    """Integer indices [...] -> rows of weight [num_embeddings, embedding_dim].

    The row padding_idx gets no gradient. Raises IndexOutOfRange for an index outside, DTypeMismatch
    for indices that are no integers.
    """

    defaults: ClassVar[dict[str, Any]] = {
        "padding_idx": None,
        "max_norm": None,
        "norm_type": 2,
        "scale_grad_by_freq": False,
        "sparse": False,
    }

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        _weight: Tensor | None = None,
        _freeze: bool = False,
        device: object = None,
        dtype: DType | None = None,
    ) -> None:
        self._build(
            _weight,
            _freeze,
            device,
            dtype,
            num_embeddings=num_embeddings,
            embedding_dim=embedding_dim,
            padding_idx=padding_idx,
            max_norm=max_norm,
            norm_type=norm_type,
            scale_grad_by_freq=scale_grad_by_freq,
            sparse=sparse,
        )

    @classmethod
    def from_pretrained(
        cls,
        embeddings: Tensor,
        freeze: bool = True,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
    ) -> Self:
        """An embedding over given rows, frozen unless told otherwise."""
        return cls._pretrained(
            embeddings,
            freeze,
            padding_idx=padding_idx,
            max_norm=max_norm,
            norm_type=norm_type,
            scale_grad_by_freq=scale_grad_by_freq,
            sparse=sparse,
        )

    def forward(self, input: Tensor) -> Tensor:
        return F.embedding(
            input,
            self.weight,
            self.padding_idx,
            self.max_norm,
            self.norm_type,
            self.scale_grad_by_freq,
            self.sparse,
        )


class EmbeddingBag(_Table):
    """Bags of indices -> the sum, mean or max of their rows [B, embedding_dim].

    Indices [B, N], or [n] with the bags' starts as offsets [B]; see functional.embedding_bag.
    Raises IndexOutOfRange for an index outside, InvalidArgument for [n] without offsets.
    """

    defaults: ClassVar[dict[str, Any]] = {
        "max_norm": None,
        "norm_type": 2,
        "scale_grad_by_freq": False,
        "mode": "mean",
        "padding_idx": None,
    }

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        sparse: bool = False,
        _weight: Tensor | None = None,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
        device: object = None,
        dtype: DType | None = None,
    ) -> None:
        self._build(
            _weight,
            False,
            device,
            dtype,
            num_embeddings=num_embeddings,
            embedding_dim=embedding_dim,
            max_norm=max_norm,
            norm_type=norm_type,
            scale_grad_by_freq=scale_grad_by_freq,
            padding_idx=padding_idx,
            mode=mode,
            sparse=sparse,
            include_last_offset=include_last_offset,
        )

    @classmethod
    def from_pretrained(
        cls,
        embeddings: Tensor,
        freeze: bool = True,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        sparse: bool = False,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
    ) -> Self:
        """Bags over given rows, frozen unless told otherwise."""
        return cls._pretrained(
            embeddings,
            freeze,
            max_norm=max_norm,
            norm_type=norm_type,
            scale_grad_by_freq=scale_grad_by_freq,
            mode=mode,
            sparse=sparse,
            include_last_offset=include_last_offset,
            padding_idx=padding_idx,
        )

    def forward(
        self,
        input: Tensor,
        offsets: Tensor | None = None,
        per_sample_weights: Tensor | None = None,
    ) -> Tensor:
        return F.embedding_bag(
            input,
            self.weight,
            offsets,
            self.max_norm,
            self.norm_type,
            self.scale_grad_by_freq,
            self.mode,
            self.sparse,
            per_sample_weights,
            self.include_last_offset,
            self.padding_idx,
        )
