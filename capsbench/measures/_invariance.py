"""Invariance error: how far features move under a view, beside how far apart images are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric

from capsbench.errors import UserError

# Of a mean square. Activations in fp32 that should be equal differ by about 1e-7 of their size, by
# the batch that they were computed in; what lies below 1e-6 of it is no difference.
ROUNDING = 1e-12


class Invariance(NamedTuple):
    """Root mean square distances of features, 0-d float64, in the features' own unit.

    Attributes:
        change: sqrt(E d²(f(T_g x), f(x))).
        spread_x: sqrt(E d²(f(x), f(x'))), x' another image.
        spread_gx: sqrt(E d²(f(T_g x), f(T_g x'))).
        class_spread_x: As ``spread_x``, x' another image of the same class; NaN without classes.
        class_spread_gx: As ``spread_gx``, x' another image of the same class.
        size: sqrt of the mean of E|f(x)|² and E|f(T_g x)|²: what rounding is measured by.
    """

    change: Tensor
    spread_x: Tensor
    spread_gx: Tensor
    class_spread_x: Tensor
    class_spread_gx: Tensor
    size: Tensor

    @property
    def spread(self) -> Tensor:
        """The geometric mean of the two spreads."""
        return (self.spread_x * self.spread_gx).sqrt()

    @property
    def class_spread(self) -> Tensor:
        """The geometric mean of the two spreads within a class."""
        return (self.class_spread_x * self.class_spread_gx).sqrt()

    @property
    def error(self) -> Tensor:
        """The invariance error, ``change`` over ``spread``; NaN where it is undefined (0/0)."""
        return self._over(self.spread)

    @property
    def class_error(self) -> Tensor:
        """The invariance error within a class, ``change`` over ``class_spread``."""
        return self._over(self.class_spread)

    def _over(self, spread: Tensor) -> Tensor:
        nothing = (spread == 0) & (self.change**2 <= ROUNDING * self.size**2)
        return torch.where(nothing, torch.nan, self.change / spread)


def invariance_error(f_x: Tensor, f_gx: Tensor, classes: Tensor | None = None) -> Invariance:
    """How invariant features are under a view: f(Tx) = f(x) (article, eq. 0).

    The error is sqrt(E d²(f(T_g x), f(x))) over the geometric mean of sqrt(E d²(f(x), f(x'))) and
    sqrt(E d²(f(T_g x), f(T_g x'))), d the Euclidean distance and x' another image: 0 where the
    view changes nothing, 1 where it changes as much as another image does. Features that collapse
    under the view do not look invariant: their spread collapses too, and where the view makes all
    images one, the error is infinite. Features that are the same for all images and views are
    neither invariant nor not: 0/0 is NaN, told as 'undefined'. Distances below 1e-6 of the
    features' own size are the rounding of fp32, and count as 0 there.

    No images are paired: over all pairs of distinct images,
    E d²(f(x), f(x')) = 2 (E|f|² - |E f|²) n / (n - 1).

    Args:
        f_x: (N, ...) features of images.
        f_gx: (N, ...) features of the same images from another view, the same for all or one each;
            where each has its own, x' is seen from the view of x'.
        classes: (N,) class indices, for the version in which x' is another image of the same class.
            An image without another of its class has no such distance.

    Raises:
        UserError: ``classes`` are multi-hot.
    """
    several = None if classes is None else int(classes.max()) + 1
    # Of these images alone, also where several processes compute.
    metric = InvarianceError(f_x[0].numel(), several, sync_on_compute=False).to(f_x.device)
    metric.update(f_x, f_gx, classes)
    return metric.compute()


def over_views(found: Sequence[Invariance]) -> Invariance:
    """Of several views as one: each mean square is averaged over the views, all counting alike."""
    return Invariance(
        *(torch.stack(terms).square().mean(dim=0).sqrt() for terms in zip(*found, strict=True))
    )


class InvarianceError(Metric):
    """`invariance_error` of one view, summed up over batches and processes.

    It keeps sums of the features and of their squares, by class: memory is (classes x features)
    twice, and the value depends neither on the batches nor on their order.

    Args:
        num_features: Numbers per image.
        num_classes: K; if left out, another image is one of any class, and ``class_error`` is NaN.
        **kwargs: Arguments of ``torchmetrics.Metric``.
    """

    full_state_update = False
    higher_is_better = False
    is_differentiable = False
    plot_lower_bound = 0.0

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
        for seen in ("x", "gx"):
            total = torch.zeros(groups, num_features, dtype=torch.float64)
            self.add_state(f"total_{seen}", total, "sum")
            self.add_state(f"squares_{seen}", torch.zeros(groups, dtype=torch.float64), "sum")

    def update(self, f_x: Tensor, f_gx: Tensor, classes: Tensor | None = None) -> None:
        """Take in the features of some images; see `invariance_error`."""
        groups = len(self.count)
        if self.num_classes is None:
            classes = torch.zeros(len(f_x), dtype=torch.long, device=f_x.device)
        elif classes is None or classes.dim() != 1:
            came = "none" if classes is None else f"a tensor of shape {tuple(classes.shape)}"
            raise UserError(
                "invariance within a class needs one class index per image; "
                f"got {came}: leave the classes out where an image holds several objects"
            )
        x, gx = f_x.flatten(1).double(), f_gx.flatten(1).double()
        # (K, N): a product instead of index_add, whose order is not the same twice on a GPU.
        member = torch.nn.functional.one_hot(classes.to(x.device), groups).T
        weight = member.double()
        self.change += (gx - x).square().sum()
        self.count += member.sum(dim=1)
        self.total_x += weight @ x
        self.total_gx += weight @ gx
        self.squares_x += weight @ x.square().sum(dim=1)
        self.squares_gx += weight @ gx.square().sum(dim=1)

    def compute(self) -> Invariance:
        """The distances of all images so far."""
        n = self.count.sum()
        size = ((self.squares_x + self.squares_gx).sum() / (2 * n)).sqrt()
        change = (self.change / n).sqrt()
        x = (self.count, self.total_x, self.squares_x)
        gx = (self.count, self.total_gx, self.squares_gx)
        whole_x, whole_gx = ([each.sum(dim=0, keepdim=True) for each in one] for one in (x, gx))
        spreads = (_spread(*whole_x), _spread(*whole_gx))
        if self.num_classes is None:
            unknown = torch.full_like(change, torch.nan)
            return Invariance(change, *spreads, unknown, unknown, size)
        return Invariance(change, *spreads, _spread(*x), _spread(*gx), size)

    def plot(self, val: Any = None, ax: Any = None) -> Any:
        """Draw the error; of a list of results, their errors one after the other.

        Args:
            val: What ``compute`` returned, or a list of such; its own value if left out.
            ax: Axes of matplotlib to draw into.
        """
        found: Any = self.compute() if val is None else val
        one = isinstance(found, Invariance)
        return self._plot(found.error if one else [each.error for each in found], ax)


def _spread(count: Tensor, total: Tensor, squares: Tensor) -> Tensor:
    """Root mean square distance of an image from another of its group.

    Args:
        count: (K,) images in each group; those with a single one are left out.
        total: (K, D) sums of their features.
        squares: (K,) sums of the squared norms.

    Returns:
        0-d, 0 where it lies below rounding; NaN where no group has two images.
    """
    about_mean = squares - total.square().sum(dim=1) / count
    about_mean = about_mean.where(about_mean > ROUNDING * squares, 0)
    paired = count > 1
    distances = (2 * about_mean * count / (count - 1)).where(paired, 0)
    return (distances.sum() / (count * paired).sum()).sqrt()
