"""Calibration error: difference between confidences and the accuracy at these confidences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric

from capsbench.errors import UserError

TOLERANCE = 1e-4  # by which rounding errors may raise a probability or a length above 1


class Reliability(NamedTuple):
    """Accuracy of statements by their confidence, in K bins of equal width.

    Attributes:
        counts: (K,) number of statements in each bin.
        confidence: (K,) their mean confidence; NaN for an empty bin.
        accuracy: (K,) share of them that is true; NaN for an empty bin.
        error: () the expected calibration error; NaN without any statement.
    """

    counts: Tensor
    confidence: Tensor
    accuracy: Tensor
    error: Tensor


class CalibrationError(Metric):
    """Reliability table and expected calibration error (Naeini et al. 2015; Guo et al. 2017).

    ``ECE = Σ_bins (n_bin / n) |accuracy_bin - confidence_bin|``. A bin includes its lower edge,
    the last bin also its upper edge. Torchmetrics instead puts confidences of exactly 1, which a
    saturated softmax often returns, into a bin of their own. The memory does not grow with the
    number of statements.

    Args:
        bins: Number of bins.
        **kwargs: Arguments of ``torchmetrics.Metric``.
    """

    full_state_update = False
    higher_is_better = False
    is_differentiable = False
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0
    count: Tensor
    confidence: Tensor
    true: Tensor

    def __init__(self, bins: int = 15, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name in ("count", "confidence", "true"):
            self.add_state(name, torch.zeros(bins, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, confidences: Tensor, correct: Tensor) -> None:
        """Add statements.

        Args:
            confidences: In [0, 1], any shape: of the most likely classes (N,), or the presences of
                class capsules (N, K).
            correct: 1 or True if the statement is true, of the same shape: of presences, the
                multi-hot targets (N, K).

        Raises:
            UserError: A confidence is outside of [0, 1].
        """
        values, true = confidences.flatten().double(), correct.flatten().double()
        if ((values < -TOLERANCE) | (values > 1 + TOLERANCE)).any():
            raise UserError(
                "calibration needs probabilities in [0, 1]; "
                f"got {float(values.min()):.4g} to {float(values.max()):.4g}"
            )
        num_bins = len(self.count)
        edges = torch.linspace(0, 1, num_bins + 1, dtype=values.dtype, device=values.device)
        # NaN falls into the last bin, whose mean it makes NaN.
        bins = torch.bucketize(values, edges[1:-1], right=True)
        zeros = values.new_zeros(num_bins)
        self.count += zeros.index_add(0, bins, torch.ones_like(values))
        self.confidence += zeros.index_add(0, bins, values)
        self.true += zeros.index_add(0, bins, true)

    def compute(self) -> Reliability:
        """Return the table, with the expected calibration error."""
        return Reliability(
            self.count.long(),
            self.confidence / self.count,
            self.true / self.count,
            (self.true - self.confidence).abs().sum() / self.count.sum(),
        )

    def plot(
        self, val: Reliability | Tensor | Sequence[Tensor] | None = None, ax: Any = None
    ) -> Any:
        """Draw the table bin by bin, or the given errors."""
        if val is not None and not isinstance(val, Reliability):
            return self._plot(val, ax)
        table = self.compute() if val is None else val
        curves = {"accuracy": table.accuracy, "confidence": table.confidence}
        figure_and_axes: Any = self._plot(curves, ax)
        figure_and_axes[1].set_xlabel("bin of confidence")
        return figure_and_axes
