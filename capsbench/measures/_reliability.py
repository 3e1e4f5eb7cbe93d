"""Reliability: how often what is said with some confidence is true."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric

from capsbench.contracts import class_recall
from capsbench.errors import UserError

BINS = 15
SLACK = 1e-4  # by which rounding may carry a probability or a length over 1


class Reliability(NamedTuple):
    """How often what was said with some confidence is true.

    Attributes:
        counts: (K,) number of statements in each of K bins of equal width.
        confidence: (K,) their mean confidence; NaN in an empty bin.
        accuracy: (K,) the share that is true; NaN in an empty bin.
        error: () the expected calibration error; NaN without any statement.
    """

    counts: Tensor
    confidence: Tensor
    accuracy: Tensor
    error: Tensor


def top_label(log_probabilities: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """A classifier's statements: how sure it is of the likeliest class, and whether it is right.

    Args:
        log_probabilities: (N, K).
        targets: (N,) class indices. Where images hold several objects, ask of each class instead
            whether its presence (N, K) means that it is there.

    Returns:
        (N,) confidences in [0, 1] and (N,) bool; 0 and False of an image with a NaN.
    """
    highest = log_probabilities.max(dim=-1).values
    return highest.exp().nan_to_num(0), class_recall(log_probabilities, targets) == 1


def reliability(confidences: Tensor, correct: Tensor, *, bins: int = BINS) -> Reliability:
    """Reliability table and expected calibration error (Naeini et al. 2015; Guo et al. 2017).

    ECE = Σ_bins (n_bin / n) |accuracy_bin - confidence_bin|. A bin holds its lower edge, the last
    one its upper edge too: to torchmetrics, confidences of exactly 1, which a saturated softmax
    says often, are a bin of their own.

    Args:
        confidences: In [0, 1], any shape: of `top_label`, or presences of class capsules (N, K).
        correct: 1 or True where the statement is true, of the same shape: of presences, the targets
            as multi-hot (N, K).
        bins: Number of bins.

    Raises:
        UserError: A confidence lies outside of [0, 1].
    """
    return _table(*_sums(confidences, correct, bins))


class CalibrationError(Metric):
    """`reliability` over batches and processes, in memory that does not grow.

    Args:
        bins: Number of bins.
    """

    full_state_update = False
    higher_is_better = False
    is_differentiable = False
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0
    count: Tensor
    said: Tensor
    true: Tensor

    def __init__(self, bins: int = BINS, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name in ("count", "said", "true"):
            self.add_state(name, torch.zeros(bins, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, confidences: Tensor, correct: Tensor) -> None:
        """Add statements, see `reliability`."""
        count, said, true = _sums(confidences, correct, len(self.count))
        self.count += count
        self.said += said
        self.true += true

    def compute(self) -> Reliability:
        """The table, with the expected calibration error."""
        return _table(self.count, self.said, self.true)

    def plot(
        self, val: Reliability | Tensor | Sequence[Tensor] | None = None, ax: Any = None
    ) -> Any:
        """Draw the table, bin by bin, or the errors that are given."""
        if val is not None and not isinstance(val, Reliability):
            return self._plot(val, ax)
        table = self.compute() if val is None else val
        curves = {"accuracy": table.accuracy, "confidence": table.confidence}
        drawn: Any = self._plot(curves, ax)
        drawn[1].set_xlabel("bin of confidence")
        return drawn


def _sums(confidences: Tensor, correct: Tensor, bins: int) -> tuple[Tensor, Tensor, Tensor]:
    """By bin, (bins,) float64 each: number of statements, sum of confidences, number of true."""
    said, true = confidences.flatten().double(), correct.flatten().double()
    if ((said < -SLACK) | (said > 1 + SLACK)).any():
        raise UserError(
            "calibration needs probabilities in [0, 1]; "
            f"got {float(said.min()):.4g} to {float(said.max()):.4g}"
        )
    edges = torch.linspace(0, 1, bins + 1, dtype=said.dtype, device=said.device)
    # What is not a number falls into the last bin, and shows in its mean.
    places = torch.bucketize(said, edges[1:-1], right=True)
    zeros = said.new_zeros(bins)
    count, told, held = (
        zeros.index_add(0, places, part) for part in (torch.ones_like(said), said, true)
    )
    return count, told, held


def _table(count: Tensor, said: Tensor, true: Tensor) -> Reliability:
    return Reliability(
        count.long(), said / count, true / count, (true - said).abs().sum() / count.sum()
    )
