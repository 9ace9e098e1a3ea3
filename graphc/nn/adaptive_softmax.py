"""The adaptive softmax: the loss of a large vocabulary, whose rare words share small layers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from graphc.errors import InvalidArgument, ShapeMismatch
from graphc.frontend.api.elementwise import where
from graphc.frontend.api.shapes import cat
from graphc.frontend.checked import checked
from graphc.frontend.tensor import Tensor
from graphc.ir.types import DType
from graphc.nn import functional as F
from graphc.nn.containers import ModuleList, Sequential
from graphc.nn.linear import Linear
from graphc.nn.module import Module

__all__ = ["AdaptiveLogSoftmaxWithLoss"]


class AdaptiveOutput(NamedTuple):
    """The log probability of each target, and minus their mean."""

    output: Tensor
    loss: Tensor


class AdaptiveLogSoftmaxWithLoss(Module):
    """Log probabilities of `n_classes` sorted by frequency, in clusters that end at the cutoffs.

    input [B, in_features], target [B] of classes, or both without B -> (output [B], loss []).
    Raises ShapeMismatch for other shapes, InvalidArgument for cutoffs that do not rise within 1 ..
    n_classes - 1, RefusedArgument for a target that is no class. Each cluster is computed for all
    rows, so that a step's work does not depend on its data. Grave et al. 2017.
    """

    def __init__(
        self,
        in_features: int,
        n_classes: int,
        cutoffs: Sequence[int],
        div_value: float = 4.0,
        head_bias: bool = False,
        device: object = None,
        dtype: DType | None = None,
    ) -> None:
        super().__init__()
        ends = list(cutoffs)
        if not ends:
            raise InvalidArgument("cutoffs should be a sequence of length larger than 0")
        rising = all(a < b for a, b in pairwise((0, *ends, n_classes)))
        if not rising or any(int(c) != c for c in ends):
            raise InvalidArgument(
                "cutoffs should be a sequence of unique, positive integers sorted in an increasing "
                f"order, where each value is between 1 and n_classes-1, got {ends!r:.100}"
            )
        self.in_features = in_features
        self.n_classes = n_classes
        self.cutoffs = [*ends, n_classes]
        self.div_value = div_value
        self.head_bias = head_bias
        self.shortlist_size = ends[0]
        self.n_clusters = len(ends)
        self.head_size = self.shortlist_size + self.n_clusters
        self.head = Linear(in_features, self.head_size, head_bias, device=device, dtype=dtype)
        self.tail = ModuleList()
        for k, (start, end) in enumerate(pairwise(self.cutoffs)):
            narrow = int(in_features // (div_value ** (k + 1)))
            sizes = (in_features, narrow), (narrow, end - start)
            layers = [Linear(*size, bias=False, device=device, dtype=dtype) for size in sizes]
            self.tail.append(Sequential(*layers))

    def reset_parameters(self) -> None:
        """Draw all weights again."""
        for layer in (self.head, *(layer for cluster in self.tail for layer in cluster)):
            layer.reset_parameters()

    def forward(self, input_: Tensor, target_: Tensor) -> AdaptiveOutput:
        if target_.dim() > 1 or input_.dim() != target_.dim() + 1:
            raise ShapeMismatch(
                "0D or 1D target tensor expected, and an input with one dimension more, got "
                f"{input_.spec} and {target_.spec}"
            )
        if target_.dim() and input_.shape[0] != target_.shape[0]:
            raise ShapeMismatch(
                "Input and target should have the same size in the batch dimension, got "
                f"{input_.spec} and {target_.spec}"
            )
        x, target = (input_, target_) if target_.dim() else (input_[None], target_[None])
        what = f"Target values should be in [0, {self.n_classes - 1}]"
        target = checked(target, (target >= 0) & (target < self.n_classes), what, ShapeMismatch)
        place = target
        output = x.new_zeros(target.shape)
        for k, (start, end) in enumerate(pairwise(self.cutoffs)):
            inside = (target >= start) & (target < end)
            logs = F.log_softmax(self.tail[k](x), 1)
            local = where(inside, target - start, 0)
            own = logs.gather(1, local.unsqueeze(1)).squeeze(1)
            output = output + where(inside, own, 0.0)
            place = where(inside, self.shortlist_size + k, place)
        head = F.log_softmax(self.head(x), 1)
        output = output + head.gather(1, place.unsqueeze(1)).squeeze(1)
        loss = -output.mean()
        return AdaptiveOutput(output if target_.dim() else output.squeeze(0), loss)

    def log_prob(self, input: Tensor) -> Tensor:
        """The log probability of each class. [B, in_features] -> [B, n_classes]."""
        head = F.log_softmax(self.head(input), 1)
        short = self.shortlist_size
        parts = [head[:, :short]]
        for k, cluster in enumerate(self.tail):
            own = head[:, short + k : short + k + 1]
            parts.append(F.log_softmax(cluster(input), 1) + own)
        return cat(parts, 1)

    def predict(self, input: Tensor) -> Tensor:
        """The class of the highest probability: one of the head's, where the head prefers none of
        the clusters, else of all. [B, in_features] -> [B]."""
        best = self.head(input).argmax(1)
        return where(best < self.shortlist_size, best, self.log_prob(input).argmax(1))
