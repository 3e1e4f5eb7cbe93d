"""Change of features under a view, relative to the distance between images."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric

from capsbench.errors import UserError

# Relative size of a mean square. Equal activations in fp32 differ by about 1e-7 of their size if
# they are computed in different batches; a distance below 1e-6 of it counts as 0.
ROUNDING = 1e-12


class FeatureDistances(NamedTuple):
    """Root mean square distances of features, 0-d float64, in the features' own unit.

    Attributes:
        change: sqrt(E d²(f(T_g x), f(x))).
        spread_x: sqrt(E d²(f(x), f(x'))), x' another image.
        spread_gx: sqrt(E d²(f(T_g x), f(T_g x'))).
        class_spread_x: Like ``spread_x`` with x' another image of the same class; NaN without
            classes.
        class_spread_gx: Like ``spread_gx`` with x' another image of the same class.
        size: sqrt of the mean of ``E|f(x)|²`` and ``E|f(T_g x)|²``, the scale of rounding errors.
    """

    change: Tensor
    spread_x: Tensor
    spread_gx: Tensor
    class_spread_x: Tensor
    class_spread_gx: Tensor
    size: Tensor

    @property
    def spread(self) -> Tensor:
        """Geometric mean of the two spreads."""
        return (self.spread_x * self.spread_gx).sqrt()

    @property
    def class_spread(self) -> Tensor:
        """Geometric mean of the two spreads within a class."""
        return (self.class_spread_x * self.class_spread_gx).sqrt()

    @property
    def error(self) -> Tensor:
        """The invariance error, ``change`` / ``spread``; NaN for 0/0."""
        return self._relative_to(self.spread)

    @property
    def class_error(self) -> Tensor:
        """The invariance error within a class, ``change`` / ``class_spread``."""
        return self._relative_to(self.class_spread)

    def _relative_to(self, spread: Tensor) -> Tensor:
        undefined = (spread == 0) & (self.change**2 <= ROUNDING * self.size**2)
        return torch.where(undefined, torch.nan, self.change / spread)


def invariance_error(f_x: Tensor, f_gx: Tensor, classes: Tensor | None = None) -> FeatureDistances:
    """Compute how invariant features are under a view, f(T_g x) = f(x) (article, eq. 0).

    The error is sqrt(E d²(f(T_g x), f(x))) over the geometric mean of sqrt(E d²(f(x), f(x'))) and
    sqrt(E d²(f(T_g x), f(T_g x'))), d the Euclidean distance and x' another image. It is 0 if the
    view changes nothing, and 1 if it changes as much as another image does. Features that collapse
    under the view do not appear invariant, because their spread collapses too; if the view makes
    all images equal, the error is infinite. For constant features it is 0/0, NaN. Distances below
    1e-6 of the features' own size are rounding errors of fp32 and count as 0. Without an
    image all are NaN.

    All pairs of distinct images are covered by
    ``E d²(f(x), f(x')) = 2 (E|f|² - |E f|²) n / (n - 1)``.

    Args:
        f_x: (N, ...) features of images.
        f_gx: (N, ...) features of the same images from another view, one for all or one each; with
            one each, x' has the view of x'.
        classes: (N,) class indices, for the distances within a class. An image without another of
            its class is left out of them.

    Raises:
        UserError: ``classes`` are multi-hot.
    """
    num_classes = None if classes is None else 1 + int(classes.max()) if classes.numel() else 1
    size = f_x.shape[1:].numel()
    # Of these images alone, even if several processes compute.
    metric = FeatureInvariance(size, num_classes, sync_on_compute=False).to(f_x.device)
    metric.update(f_x, f_gx, classes)
    return metric.compute()


def mean_over_views(distances: Sequence[FeatureDistances]) -> FeatureDistances:
    """Return the distances over several views: mean squares are averaged, with equal weights.

    Raises:
        UserError: There is no view.
    """
    if not distances:
        raise UserError("expected the distances of at least one view, got none")
    return FeatureDistances(
        *(torch.stack(terms).square().mean(dim=0).sqrt() for terms in zip(*distances, strict=True))
    )


class FeatureInvariance(Metric):
    """`invariance_error` of one view over batches and processes.

    Sums of the features and of their squares by class are kept: memory is (classes x features)
    twice, and the result depends neither on the batches nor on their order.

    Args:
        num_features: Numbers per image.
        num_classes: K. Without it, ``class_error`` is NaN.
        **kwargs: Arguments of ``torchmetrics.Metric``.
    """

    full_state_update = False
    higher_is_better = False
    is_differentiable = False

    change: Tensor
    count: Tensor
    total_x: Tensor
    total_gx: Tensor
    squares_x: Tensor
    squares_gx: Tensor

    def __init__(self, num_features: int, num_classes: int | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_classes = num_classes
        groups = 1 if num_classes is None else num_classes
        self.add_state("change", torch.zeros((), dtype=torch.float64), "sum")
        self.add_state("count", torch.zeros(groups, dtype=torch.long), "sum")
        for name in ("x", "gx"):
            total = torch.zeros(groups, num_features, dtype=torch.float64)
            self.add_state(f"total_{name}", total, "sum")
            self.add_state(f"squares_{name}", torch.zeros(groups, dtype=torch.float64), "sum")

    def update(self, f_x: Tensor, f_gx: Tensor, classes: Tensor | None = None) -> None:
        """Add the features of some images; see `invariance_error`."""
        groups = len(self.count)
        if self.num_classes is None:
            classes = torch.zeros(len(f_x), dtype=torch.long, device=f_x.device)
        elif classes is None or classes.dim() != 1:
            got = "none" if classes is None else f"a tensor of shape {tuple(classes.shape)}"
            raise UserError(
                f"invariance within a class needs one class index per image; got {got}: leave the "
                "classes out if an image holds several objects"
            )
        x, gx = f_x.flatten(1).double(), f_gx.flatten(1).double()
        # (K, N): a product, since index_add is not deterministic on a GPU.
        member = torch.nn.functional.one_hot(classes.to(x.device), groups).T
        weight = member.double()
        self.change += (gx - x).square().sum()
        self.count += member.sum(dim=1)
        self.total_x += weight @ x
        self.total_gx += weight @ gx
        self.squares_x += weight @ x.square().sum(dim=1)
        self.squares_gx += weight @ gx.square().sum(dim=1)

    def compute(self) -> FeatureDistances:
        """Return the distances over all images so far."""
        n = self.count.sum()
        size = ((self.squares_x + self.squares_gx).sum() / (2 * n)).sqrt()
        change = (self.change / n).sqrt()
        x = (self.count, self.total_x, self.squares_x)
        gx = (self.count, self.total_gx, self.squares_gx)
        all_x, all_gx = ([sums.sum(dim=0, keepdim=True) for sums in each] for each in (x, gx))
        spreads = (_spread(*all_x), _spread(*all_gx))
        if self.num_classes is None:
            nan = torch.full_like(change, torch.nan)
            return FeatureDistances(change, *spreads, nan, nan, size)
        return FeatureDistances(change, *spreads, _spread(*x), _spread(*gx), size)


def _spread(count: Tensor, total: Tensor, squares: Tensor) -> Tensor:
    """Return the root mean square distance between two images of a group.

    Args:
        count: (K,) images in each group; groups of a single image are left out.
        total: (K, D) sums of their features.
        squares: (K,) sums of the squared norms.

    Returns:
        0-d; 0 below rounding, NaN if no group has two images.
    """
    about_mean = squares - total.square().sum(dim=1) / count
    about_mean = about_mean.where(about_mean > ROUNDING * squares, 0)
    paired = count > 1
    distances = (2 * about_mean * count / (count - 1)).where(paired, 0)
    return (distances.sum() / (count * paired).sum()).sqrt()
