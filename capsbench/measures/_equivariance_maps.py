"""Affine maps between features of images and of their views, and the change that they explain."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from capsbench.data.folds import NUM_FOLDS, Folds
from capsbench.data.randomness import generator
from capsbench.errors import UserError
from capsbench.statistics.principal_components import principal_components
from capsbench.statistics.ridge import Moments, cross_validated_ridge, fit_ridge, sum_moments

IMAGES_PER_COMPONENT = 10


class EquivarianceShares(NamedTuple):
    """Change of features under views that maps explain; NaN (undefined) if nothing changes.

    Attributes:
        explained: 1 - E|f(T_g x) - A_g f(x)|² / E|f(T_g x) - f(x)|²: 1 if A_g explains the whole
            change, 0 if A_g is no better than the identity, negative if it is worse.
        shuffled_explained: The same for maps fitted to pairs shuffled within the class. It need not
            be 0: a map that predicts the class's mean for every image explains half of the change
            between unrelated features.
        gain_over_control: 1 - E|f(T_g x) - A_g f(x)|² over the smaller error of the two controls
            (identity and shuffled), selected for each class and view: 0 if a control is as good.
        r2_over_control: R² of f(T_g x) by A_g within a class, minus that of the best control: the
            two of above and the mean of the held-out images. It is near 0 also where features
            hardly change, as those of a layer that is invariant but for interpolation, of whose
            tiny change a map may explain much. NaN if all features are equal.
        distance_from_identity: Mean of |A_g - I| (Frobenius) / sqrt(d).
        change_in_components: Share of the change E|f(T_g x) - f(x)|² that lies in the components.
            ``explained`` times this is the explained share of the whole change.
    """

    explained: Tensor
    shuffled_explained: Tensor
    gain_over_control: Tensor
    r2_over_control: Tensor
    distance_from_identity: Tensor
    change_in_components: Tensor


class EquivarianceMaps(NamedTuple):
    """The maps of K classes and V views, and sums over held-out images, all float64.

    Attributes:
        classes: (K,) class indices.
        images: (K,) number of held-out images.
        residual: (K, V) sum of |f(T_g x) - A_g f(x)|², in the components.
        shuffled_residual: (K, V) the same with A_g fitted to pairs shuffled within the class.
        change: (K, V) sum of |f(T_g x) - f(x)|², in the components.
        spread: (K, V) sum of the squared distances of f(T_g x) from their mean, in the components.
        total_change: (K, V) sum of |f(T_g x) - f(x)|² of all features.
        size: (K, V) mean of the sums of |f(x)|² and |f(T_g x)|², the scale of rounding errors.
        penalty: (K, V) selected λ, in units of the mean variance of the components.
        maps: (K, V, d, d + 1) A_g, with the constant in the last column.
        shuffled_maps: (K, V, d, d + 1) maps fitted to pairs shuffled within the class.
        half_maps: (2, K, V, d, d + 1) A_g fitted to each half of the training images.
        covariance: (K, d, d) sum of f fᵀ, f the components of f(x) about their mean.
        mean: (K, D) subtracted from features.
        components: (K, d, D) orthonormal rows.
        variance: (K,) share of the training features' variance in the components.
    """

    classes: Tensor
    images: Tensor
    residual: Tensor
    shuffled_residual: Tensor
    change: Tensor
    spread: Tensor
    total_change: Tensor
    size: Tensor
    penalty: Tensor
    maps: Tensor
    shuffled_maps: Tensor
    half_maps: Tensor
    covariance: Tensor
    mean: Tensor
    components: Tensor
    variance: Tensor

    def shares(self) -> EquivarianceShares:
        """Return the shares by class and view, (K, V)."""
        return self._shares(())

    def by_view(self) -> EquivarianceShares:
        """Return the shares by view, (V,), over the images of all classes."""
        return self._shares((0,))

    def overall(self) -> EquivarianceShares:
        """Return the shares over all views and the images of all classes, 0-d."""
        return self._shares((0, 1))

    def _shares(self, dims: tuple[int, ...]) -> EquivarianceShares:
        control = torch.minimum(self.shuffled_residual, self.change)
        terms = (
            *(self.residual, self.shuffled_residual, control, torch.minimum(control, self.spread)),
            *(self.change, self.spread, self.total_change, self.size),
        )
        residual, shuffled, control, best, change, spread, total, size = (
            each.sum(dim=dims) if dims else each for each in terms
        )
        from capsbench.metrics.invariance import ROUNDING  # which imports torchmetrics

        d = self.maps.shape[-2]
        identity = torch.eye(d, d + 1).to(self.maps)
        distance = (self.maps - identity)[..., :-1].square().sum(dim=(-2, -1)).div(d).sqrt()
        unchanged = total <= ROUNDING * size
        return EquivarianceShares(
            explained=(1 - residual / change).masked_fill(unchanged, torch.nan),
            shuffled_explained=(1 - shuffled / change).masked_fill(unchanged, torch.nan),
            gain_over_control=(1 - residual / control).masked_fill(unchanged, torch.nan),
            r2_over_control=((best - residual) / spread).masked_fill(
                spread <= ROUNDING * size, torch.nan
            ),
            distance_from_identity=distance.mean(dim=dims) if dims else distance,
            change_in_components=(change / total).masked_fill(unchanged, torch.nan),
        )


def fit_equivariance_maps(
    f_x: Tensor, f_gx: Tensor, classes: Tensor, folds: Folds, *, width: int
) -> EquivarianceMaps:
    """Fit an affine map to the change of features under each view, class by class.

    After Lenc & Vedaldi (2015): f(Tx) = T f(x) (article, eq. 3) with an unknown T in the space of
    features. Classes are fitted separately, because R² over all classes rewards features that
    encode nothing but the class. Some images are held out, the same for all layers and models. From
    the training images of each class are computed

    * the ``width`` principal components of f(x) and f(T_g x) of all views together, about their
      common mean: one space for all maps, so that maps can be composed;
    * A_g for each view, by ridge regression with a constant from the components of f(x) to those of
      f(T_g x). The penalty is on A_g - I, so that without evidence nothing changes and |A_g - I|
      leaves out directions in which features never vary; it is selected by cross-validation for
      each class and view;
    * A_g in the same way for pairs shuffled within the class, as a control. The other control is
      the identity, which explains 0 by definition.

    The shares are of held-out images. If the change is noise, the explained share is about 0, at
    worst about -d/n for n training images.

    To compare feature maps position by position, such as poses, give one position at a time after
    `capsbench.measures._warped_maps` has warped them.

    Args:
        f_x: (N, ...) features of images, D numbers each when flattened.
        f_gx: (N, V, ...) features of the same images from V views.
        classes: (N,) class indices.
        folds: Held-out images and folds; rows of one image have equal roles.
        width: d, number of components, at most D; the same for all layers that are compared.

    Raises:
        UserError: A class has less than 10 d training images, or there are less than d features.
    """
    x, gx = f_x.flatten(1), f_gx.flatten(2)
    known, member = classes.to(x.device).unique(return_inverse=True)
    folds = folds.to(x.device)
    training = [((member == k) & ~folds.held_out).nonzero()[:, 0] for k in range(len(known))]
    held_out = [((member == k) & folds.held_out).nonzero()[:, 0] for k in range(len(known))]
    _require_enough(x.shape[1], known, training, width)

    source = x.new_zeros(len(x), width, dtype=torch.float64)
    target = x.new_zeros(*gx.shape[:2], width, dtype=torch.float64)
    spaces = []
    for fitted, other in zip(training, held_out, strict=True):
        samples = torch.cat([x[fitted, None], gx[fitted]], dim=1).flatten(0, 1).double()
        space = principal_components(samples, width, generator=generator("principal components"))
        for rows in (fitted, other):
            source[rows] = space.project(x[rows])
            target[rows] = space.project(gx[rows])
        spaces.append(space)
    mean, components, variance = (torch.stack(parts) for parts in zip(*spaces, strict=True))

    by_fold = [[rows[folds.fold[rows] == part] for rows in training] for part in range(NUM_FOLDS)]
    partners = _shuffled_partners(training, folds.order)
    pairs = [Moments.of(source, target, rows) for rows in by_fold]
    shuffled_pairs = [Moments.of(source, target[partners], rows) for rows in by_fold]
    held_out_moments = Moments.of(source, target, held_out)
    identity = torch.eye(width, width + 1).to(source)
    maps, penalty = cross_validated_ridge(pairs, prior=identity)
    shuffled_maps = cross_validated_ridge(shuffled_pairs, prior=identity).maps
    halves = (pairs[: NUM_FOLDS // 2], pairs[NUM_FOLDS // 2 :])
    changes = [gx[rows].double() - x[rows, None].double() for rows in held_out]
    squares = [gx[rows].double().square() + x[rows, None].double().square() for rows in held_out]
    return EquivarianceMaps(
        classes=known,
        images=held_out_moments.num_samples.long(),
        residual=held_out_moments.squared_error(maps),
        shuffled_residual=held_out_moments.squared_error(shuffled_maps),
        change=held_out_moments.squared_error(identity),
        spread=held_out_moments.target_spread(),
        total_change=torch.stack([each.square().sum(dim=(0, 2)) for each in changes]),
        size=torch.stack([each.sum(dim=(0, 2)) / 2 for each in squares]),
        penalty=penalty,
        maps=maps,
        shuffled_maps=shuffled_maps,
        half_maps=torch.stack(
            [fit_ridge(sum_moments(half), penalty, prior=identity) for half in halves]
        ),
        covariance=held_out_moments.covariance(),
        mean=mean,
        components=components,
        variance=variance,
    )


def _shuffled_partners(groups: Sequence[Tensor], order: Tensor) -> Tensor:
    """Return for each row, (N,), a row of another image of its group; itself outside of the groups.

    The rows of a group form a cycle in random order, with rows of one image next to each other. A
    step is the largest number of such rows, so that no image is its own partner.
    """
    partners = torch.arange(len(order), device=order.device)
    for rows in groups:
        cycle = rows[order[rows].argsort()]
        step = order[rows].unique(return_counts=True)[1].max()
        partners[cycle] = cycle.roll(int(step))
    return partners


def _require_enough(features: int, classes: Tensor, rows: list[Tensor], width: int) -> None:
    if width > features:
        raise UserError(
            f"a width of {width} components needs as many features; these have {features}: "
            "give a smaller width, for all layers that are compared"
        )
    counts = [len(row) for row in rows]
    fewest = min(counts)
    if fewest < IMAGES_PER_COMPONENT * width:
        raise UserError(
            f"a width of {width} components needs {IMAGES_PER_COMPONENT * width} training images "
            f"of each class; class {int(classes[counts.index(fewest)])} has {fewest} that are not "
            "held out: give more images, or a smaller width"
        )
