"""What fitting affine maps between views finds, and the shares that it amounts to."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from capsbench.measures._invariance import ROUNDING


class Shares(NamedTuple):
    """What linear equivariance amounts to; NaN where nothing changes ('undefined').

    Attributes:
        explained: 1 - E|f(T_g x) - A_g f(x)|² / E|f(T_g x) - f(x)|²: 1 where A_g is all that the
            view does, 0 where A_g is no better than the identity, negative where it is worse.
        shuffled: The same of maps fitted to pairs shuffled within the class. It need not be 0: a
            map that forgets the image and predicts the class's mean explains half of a change
            between features that have nothing to do with each other.
        beyond_controls: 1 - E|f(T_g x) - A_g f(x)|² over the smaller of the two controls' errors,
            chosen for each class and view: 0 where a control does as well.
        distance: Mean of |A_g - I| (Frobenius) / sqrt(d).
        kept: Share of the change E|f(T_g x) - f(x)|² that lies in the components; the rest is not
            seen. ``explained`` times ``kept`` is the share explained of the change as a whole.
    """

    explained: Tensor
    shuffled: Tensor
    beyond_controls: Tensor
    distance: Tensor
    kept: Tensor


class AffineFit(NamedTuple):
    """The maps of K classes and V views, and sums over held-out images, all float64.

    Attributes:
        classes: (K,) class indices.
        images: (K,) number of held-out images.
        residual: (K, V) sum of |f(T_g x) - A_g f(x)|², in the components.
        shuffled: (K, V) the same, A_g fitted to pairs shuffled within the class.
        change: (K, V) sum of |f(T_g x) - f(x)|², in the components.
        whole_change: (K, V) the same of the features as they came.
        size: (K, V) mean of the sums of |f(x)|² and |f(T_g x)|²: what rounding is measured by.
        penalty: (K, V) the chosen λ, in units of the mean variance of the components.
        maps: (K, V, d, d + 1) A_g, with its constant in the last column.
        unrelated: (K, V, d, d + 1) the same of pairs shuffled within the class.
        halves: (2, K, V, d, d + 1) A_g fitted to each half of the training images.
        covariance: (K, d, d) sum of f fᵀ, f the components of f(x) about their mean.
        centre: (K, D) what is subtracted from features.
        components: (K, d, D) orthonormal rows: d numbers for each image.
        variance: (K,) share of the training features' variance that lies in the components.
    """

    classes: Tensor
    images: Tensor
    residual: Tensor
    shuffled: Tensor
    change: Tensor
    whole_change: Tensor
    size: Tensor
    penalty: Tensor
    maps: Tensor
    unrelated: Tensor
    halves: Tensor
    covariance: Tensor
    centre: Tensor
    components: Tensor
    variance: Tensor

    def shares(self) -> Shares:
        """(K, V) by class and view."""
        return self._shares(())

    def by_view(self) -> Shares:
        """(V,) of the images of all classes."""
        return self._shares((0,))

    def overall(self) -> Shares:
        """0-d, of the images of all classes and of all views."""
        return self._shares((0, 1))

    def _shares(self, over: tuple[int, ...]) -> Shares:
        control = torch.minimum(self.shuffled, self.change)
        terms = (self.residual, self.shuffled, control, self.change, self.whole_change, self.size)
        residual, shuffled, control, change, whole, size = (
            each.sum(dim=over) if over else each for each in terms
        )
        d = self.maps.shape[-2]
        unit = torch.eye(d, d + 1).to(self.maps)
        off = (self.maps - unit)[..., :-1].square().sum(dim=(-2, -1)).div(d).sqrt()
        found = Shares(
            explained=1 - residual / change,
            shuffled=1 - shuffled / change,
            beyond_controls=1 - residual / control,
            distance=off.mean(dim=over) if over else off,
            kept=change / whole,
        )
        nothing = whole <= ROUNDING * size
        undefined = {
            name: share.masked_fill(nothing, torch.nan)
            for name, share in found._asdict().items()
            if name != "distance"
        }
        return found._replace(**undefined)
