"""Read-out: how well a representation tells a known transformation, by linear regression.

Poses are meant to hold where a part is, how large and how turned (article, 'Part and Object
Representations'). If they do, these can be read from them, linearly and from unseen images; so can
they perhaps from features of a CNN, or from raw pixels. Compare at equal width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from capsbench.data.randomness import generator
from capsbench.errors import UserError
from capsbench.measures.kept_rows import KeptRows

# Of the components' mean variance times the number of rows: from none to shrinking to the mean.
PENALTIES = tuple(10.0**exponent for exponent in range(-8, 4))
FOLDS = 5
ROWS_PER_COMPONENT = 10
RANK = 1e-12  # of the largest variance: components below are rounding


class ReadOut(NamedTuple):
    """How well targets are read from a representation.

    Attributes:
        r2: (T,) of each target on held-out rows; 1 is perfect, 0 no better than their mean. NaN
            where the target is constant there.
        shuffled: (T,) the same after fitting to targets shuffled over the training rows: about 0,
            or below.
        penalties: (T,) the ridge penalty chosen, in units of the components' mean variance times
            the number of rows.
        width: Number of components that were used.
        explained: Share of the variance of the training features in them.
        n_train: Number of training rows.
        errors: (n', T) squared errors of the n' held-out rows.
    """

    r2: Tensor
    shuffled: Tensor
    penalties: Tensor
    width: int
    explained: float
    n_train: int
    errors: Tensor


def angle(degrees: Tensor) -> Tensor:
    """(N, 2) cosine and sine of angles (N,) in degrees: 359 is next to 0.

    The R² of the angle as a whole is the mean of both, where all angles are alike likely.
    """
    radians = torch.deg2rad(degrees.double())
    return torch.stack([radians.cos(), radians.sin()], dim=1)


def common_width(widths: Sequence[int], n_train: int) -> int:
    """The width at which representations are compared: the narrowest, with ten rows a component.

    Args:
        widths: Numbers of features of the representations.
        n_train: Number of training rows.
    """
    return max(1, min(*widths, n_train // ROWS_PER_COMPONENT))


def held_out_rows(groups: Tensor, *, share: float = 0.5, seed: int = 0) -> Tensor:
    """(N,) bool, which rows are held out: whole groups, the same for every representation.

    Args:
        groups: (N,) number of the image of each row, so that views of an image stay together.
        share: Of the groups, to be held out.
        seed: Of the split.
    """
    order = _positions(groups, "held-out images", seed)
    return order < round(share * (int(order.max()) + 1))


def read_out(
    features: Tensor,
    targets: Tensor,
    held_out: Tensor,
    groups: Tensor,
    *,
    width: int | None = None,
    penalties: Sequence[float] = PENALTIES,
    seed: int = 0,
) -> ReadOut:
    """Predict targets from features by ridge regression; R² on held-out rows.

    Features are centred and projected on their first ``width`` principal components, all as the
    training rows say. They keep their scale: a pixel that is lit in one training row alone would,
    if standardised, be thousands of standard deviations off in others. On the components,
    ŷ = ȳ + (Z'Z + λI)⁻¹ Z'(y - ȳ), with λ chosen for each target by the squared error over five
    folds of the training rows. A singular value decomposition of each fold serves all λ.
    R² = 1 - Σ(y - ŷ)² / Σ(y - ȳ)², ȳ here the mean of the held-out rows.

    Args:
        features: (N, ...), one representation, of any shape: it is flattened.
        targets: (N, T), such as `angle` or a shift in pixels.
        held_out: (N,) bool, see `held_out_rows`.
        groups: (N,) number of the image of each row: no image stands in two folds.
        width: Number of components, see `common_width`; as many as there are where it is None. A
            representation of lower rank is used at its own width, which is returned.
        penalties: To choose from, in units of the components' mean variance times the rows.
        seed: Of the folds and of the shuffled targets.

    Returns:
        In float64; a copy of the features in float64 must fit into memory.

    Raises:
        UserError: There are too few rows, or images, to fit and to hold out; or a target or feature
            is not a number.
    """
    rows, wanted = features.flatten(start_dim=1).double(), targets.to(features.device).double()
    if not (rows.isfinite().all() and wanted.isfinite().all()):
        raise UserError("a read-out needs finite features and targets; got some that are not")
    held_out, groups = held_out.to(rows.device), groups.to(rows.device)
    folds = _positions(groups[~held_out], "folds", seed).to(rows.device) % FOLDS
    if len(folds.unique()) < FOLDS or not held_out.any():
        raise UserError(
            f"a read-out needs {FOLDS} images or more to fit and one or more to hold out; "
            f"got {len(groups[~held_out].unique())} and {len(groups[held_out].unique())}"
        )
    train, test, explained = _components(rows[~held_out], rows[held_out], width)
    known = wanted[~held_out]
    order = torch.randperm(len(known), generator=generator(seed, "shuffled targets"))
    both = torch.cat([known, known[order.to(known.device)]], dim=1)  # (n, 2 T)
    strengths = train.new_tensor(penalties)
    by_row = strengths * (train.square().mean() if train.numel() else 1)
    errors = torch.zeros(len(by_row), both.shape[1]).to(both)
    for fold in range(FOLDS):
        fit, left = folds != fold, folds == fold
        predicted = _predict(train[fit], both[fit], train[left], by_row)
        errors += (predicted - both[left]).square().sum(dim=1)
    chosen = errors.argmin(dim=0)  # (2 T,)
    every = _predict(train, both, test, by_row)  # (L, n', 2 T)
    picked = every.gather(0, chosen.expand(1, *every.shape[1:]))[0]
    r2, shuffled = (r_squared(part, wanted[held_out]) for part in picked.chunk(2, dim=1))
    return ReadOut(
        r2,
        shuffled,
        strengths[chosen.chunk(2)[0]],
        train.shape[1],
        explained,
        len(train),
        (picked.chunk(2, dim=1)[0] - wanted[held_out]).square(),
    )


class LinearReadOut(KeptRows):
    """`read_out` of the rows of all batches and processes, half of the images held out.

    It keeps the features, in float64: memory is rows x D x 8 bytes. Neither the batches nor their
    order change the value by more than rounding.

    Args:
        width: Number of components, see `common_width`; as many as there are where it is None.
        seed: Of the folds and of the shuffled targets.
        **kwargs: Arguments of ``torchmetrics.Metric``.
    """

    higher_is_better = True
    plot_upper_bound = 1.0

    def __init__(self, width: int | None = None, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(("features", "targets", "groups", "index"), **kwargs)
        self.width = width
        self.seed = seed

    def update(self, features: Tensor, targets: Tensor, groups: Tensor, index: Tensor) -> None:
        """Take in rows; see `read_out`. ``index`` (N,) is a number that each has for itself."""
        self.keep(features, targets, groups, index)

    def compute(self) -> ReadOut:
        """What all rows so far tell."""
        features, targets, groups, index = self.kept()
        order = index.argsort()
        features, targets = (each.reshape(len(order), -1)[order] for each in (features, targets))
        groups = groups.long()
        held_out = held_out_rows(groups[order])
        return read_out(
            features, targets, held_out, groups[order], width=self.width, seed=self.seed
        )

    def plot(self, val: Any = None, ax: Any = None) -> Any:
        """Draw R² of each target, one mark for each; of a list, one line for each target.

        Args:
            val: What ``compute`` returned, or a list of such; its own value if left out.
            ax: Axes of matplotlib to draw into.
        """
        found: Any = self.compute() if val is None else val
        one = isinstance(found, ReadOut)
        scores = [each.r2 for each in ([found] if one else found)]
        return self._plot(scores[0] if one else scores, ax)


def r_squared(predicted: Tensor, targets: Tensor) -> Tensor:
    """(T,) 1 - Σ(y - ŷ)² / Σ(y - ȳ)² of (N, T); NaN (undefined) where y is constant."""
    residual = (targets - predicted).square().sum(dim=0)
    total = (targets - targets.mean(dim=0)).square().sum(dim=0)
    constant = (targets == targets[:1]).all(dim=0)  # its mean may be off by rounding
    return (1 - residual / total).masked_fill(constant, torch.nan)


def _components(train: Tensor, test: Tensor, width: int | None) -> tuple[Tensor, Tensor, float]:
    """Rows (n, D) and (n', D) on principal components; these components' share of the variance."""
    varies = (train != train[:1]).any(dim=0)  # the mean of what is constant may be off by rounding
    mean = train[:, varies].mean(dim=0)
    train, test = (part[:, varies] - mean for part in (train, test))
    if not varies.any():
        return train, test, 1.0
    # The smaller of both products has the same eigenvalues.
    wide = train.shape[1] > train.shape[0]
    values, vectors = torch.linalg.eigh(train @ train.T if wide else train.T @ train)
    count = min(int((values > RANK * values[-1]).sum()), width or len(values))
    kept, axes = values[-count:].flip(0), vectors[:, -count:].flip(1)
    if wide:
        axes = train.T @ axes / kept.sqrt()
    return train @ axes, test @ axes, float(kept.sum() / train.square().sum())


def _predict(train: Tensor, targets: Tensor, test: Tensor, penalties: Tensor) -> Tensor:
    """(L, n', T): ridge predictions for rows (n', d) by a fit to (n, d) and (n, T), for each λ.

    Args:
        train: Rows to fit to.
        targets: Their targets.
        test: Rows to predict.
        penalties: (L,) λ by row.
    """
    centre, middle = train.mean(dim=0), targets.mean(dim=0)
    left, values, right = torch.linalg.svd(train - centre, full_matrices=False)
    # (L, d): what is left of each direction; one of no variance counts as nothing.
    shrunk = values / (values.square() + len(train) * penalties[:, None])
    shrunk = torch.where(values > 0, shrunk, 0)
    weights = right.T @ (shrunk[..., None] * (left.T @ (targets - middle)))  # (L, d, T)
    return (test - centre) @ weights + middle


def _positions(groups: Tensor, name: str, seed: int) -> Tensor:
    """(N,) place of each row's group in a random order of the groups."""
    known, rows = groups.cpu().unique(return_inverse=True)
    places: Tensor = torch.randperm(len(known), generator=generator(seed, name))[rows]
    return places.to(groups.device)
