"""Connectionist temporal classification. Graves et al. 2006."""

from __future__ import annotations

from collections.abc import Sequence

from graphc.errors import InvalidState, RefusedArgument, ShapeMismatch
from graphc.frontend.api.creation import arange, tensor
from graphc.frontend.api.elementwise import maximum, where
from graphc.frontend.api.shapes import cat, stack
from graphc.frontend.checked import checked
from graphc.frontend.tensor import Tensor
from graphc.ir.types import i64
from graphc.nn.functional.arguments import reduced, widened

__all__ = ["ctc_loss"]

Lengths = Tensor | Sequence[int]
NEVER = -1e30  # a log probability of zero whose differences are still numbers


def ctc_loss(
    log_probs: Tensor,
    targets: Tensor,
    input_lengths: Lengths,
    target_lengths: Lengths,
    blank: int = 0,
    reduction: str = "mean",
    zero_infinity: bool = False,
) -> Tensor:
    """Minus the log probability of all alignments of targets with the rows of log_probs.

    log_probs [T,B,C] or [T,C] from log_softmax; targets [B,S], or all of them in one row [sum of
    target_lengths], in 0..C-1 without `blank`; lengths [B]. Infinite where a target is too long
    for its input; `zero_infinity` makes such losses, and their gradients, zero. "mean" divides
    each loss by its target's length first.
    """
    batched = log_probs.dim() == 3
    logp = widened(log_probs if batched else log_probs.unsqueeze(1), "ctc_loss")
    rows, batch, classes = logp.shape
    if not 0 <= blank < classes:
        raise RefusedArgument(f"blank must be in label range [0, {classes}), got {blank}")
    inputs, lengths = (_lengths(n, batch, log_probs) for n in (input_lengths, target_lengths))
    inputs = _checked("input_lengths", inputs, rows)
    labels = _padded(targets, lengths, target_lengths, batch, batched)
    count = labels.shape[1]
    lengths = _checked("target_lengths", lengths, count)
    places = arange(count, device=labels.device).expand(batch, count)
    labels = where(places < lengths.unsqueeze(1), labels, blank)
    states = _with_blanks(labels, blank)  # [B, 2S+1]
    alpha = _forward(logp, states, inputs, labels)
    loss = -_ends(alpha, lengths)
    impossible = loss > -NEVER / 2
    loss = where(impossible, 0.0 if zero_infinity else float("inf"), loss)
    if reduction == "mean":
        return (loss / lengths.clamp(min=1).to(loss.dtype)).mean().to(log_probs.dtype)
    loss = loss if batched else loss.reshape(())
    return reduced(loss, reduction).to(log_probs.dtype)


def _lengths(given: Lengths, batch: int, like: Tensor) -> Tensor:
    """Where the probabilities are; PyTorch takes them from the CPU, too."""
    found = given if isinstance(given, Tensor) else tensor(list(given))
    found = found.to(like.device, i64).reshape(-1)
    if found.shape[0] != batch:
        raise ShapeMismatch(f"expected {batch} lengths, one for each sequence, got {found.spec}")
    return found


def _checked(name: str, lengths: Tensor, most: int) -> Tensor:
    inside = (lengths >= 0) & (lengths <= most)
    return checked(
        lengths, inside, f"{name} holds less than 0 or more than there are", InvalidState
    )


def _padded(targets: Tensor, lengths: Tensor, given: Lengths, batch: int, batched: bool) -> Tensor:
    """Targets as [B,S], also where they come in one row."""
    if targets.dim() == 2:
        if targets.shape[0] != batch:
            raise ShapeMismatch(f"expected targets of {batch} sequences, got {targets.spec}")
        return targets.long()
    if not batched:
        return targets.long().reshape(1, -1)
    most = int(given.max()) if isinstance(given, Tensor) else max(given, default=0)
    ends = lengths.cumsum(0)
    index = (ends - lengths).unsqueeze(1) + arange(most, device=lengths.device)
    last = max(targets.shape[0] - 1, 0)
    return targets.long()[index.clamp(max=last)] if targets.numel() else index * 0


def _with_blanks(labels: Tensor, blank: int) -> Tensor:
    """[B,S] -> [B,2S+1]: a blank before, between and after."""
    batch, count = labels.shape
    blanks = labels * 0 + blank
    between = stack([blanks, labels], 2).reshape(batch, 2 * count)
    return cat([between, labels.new_full((batch, 1), blank)], 1)


def _forward(logp: Tensor, states: Tensor, inputs: Tensor, labels: Tensor) -> Tensor:
    """log of the probability of all paths to each state at each sequence's last step, [B,2S+1]."""
    steps, batch, _ = logp.shape
    width = states.shape[1]
    seen = logp.gather(2, states.unsqueeze(0).expand(steps, batch, width))
    # Two states on may be reached without the blank between, unless both are the same label.
    same = cat([states[:, :2] == states[:, :2], states[:, 2:] == states[:, :-2]], 1)
    start = arange(width, device=states.device).expand(batch, width) < 2
    alpha = where(start, seen[0], NEVER)
    for t in range(1, steps):
        once = _shifted(alpha, 1)
        twice = where(same[:, :width], NEVER, _shifted(alpha, 2))
        moved = _log_sum(alpha, once, twice) + seen[t]
        alpha = where((inputs > t).unsqueeze(1), moved.clamp_min(NEVER), alpha)
    return alpha


def _shifted(alpha: Tensor, by: int) -> Tensor:
    """Each state's predecessor `by` states before."""
    batch, width = alpha.shape
    none = alpha.new_full((batch, min(by, width)), NEVER)
    return cat([none, alpha[:, : max(width - by, 0)]], 1)


def _log_sum(a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    top = maximum(maximum(a, b), c).detach()
    return ((a - top).exp() + (b - top).exp() + (c - top).exp()).log() + top


def _ends(alpha: Tensor, lengths: Tensor) -> Tensor:
    """The log sum of the last label's and the last blank's probabilities, [B]."""
    last = (2 * lengths).unsqueeze(1)
    blank = alpha.gather(1, last).squeeze(1)
    label = alpha.gather(1, (last - 1).clamp(min=0)).squeeze(1)
    label = where(lengths > 0, label, NEVER)
    return _log_sum(blank, label, blank.detach() * 0 + NEVER)
