"""Linear probe: prediction of a known transformation from a representation by ridge regression.

Poses are meant to encode position, size and orientation of a part (article, 'Part and Object
Representations'). If they do, these can be predicted from poses, linearly and for unseen images;
possibly also from features of a CNN, or from raw pixels. Compare at equal width.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from capsbench.data.randomness import generator
from capsbench.errors import UserError
from capsbench.statistics.principal_components import principal_components
from capsbench.statistics.ridge import (
    Moments,
    cross_validated_ridge,
    predict,
    r_squared,
    sum_moments,
)

# In units of the components' mean variance: from no shrinkage to shrinkage to the mean.
PENALTIES = tuple(10.0**exponent for exponent in range(-8, 4))
NUM_FOLDS = 5
ROWS_PER_COMPONENT = 10
HELD_OUT_SHARE = 0.5  # of the groups


class ProbeResult(NamedTuple):
    """Prediction of targets from a representation.

    Attributes:
        r2: (T,) R² of each target on held-out rows: 1 is perfect, 0 no better than their mean. NaN
            for a constant target.
        shuffled_r2: (T,) R² after fitting to targets shuffled over the training rows: about 0, or
            below.
        penalty: (T,) selected ridge penalty, in units of the components' mean variance.
        width: Number of components that were used.
        explained_variance: Share of the variance of the training features in the components.
        num_training: Number of training rows.
        squared_errors: (n', T) of the n' held-out rows.
    """

    r2: Tensor
    shuffled_r2: Tensor
    penalty: Tensor
    width: int
    explained_variance: float
    num_training: int
    squared_errors: Tensor


def cosine_and_sine(degrees: Tensor) -> Tensor:
    """Return cosine and sine, (N, 2), of angles (N,) in degrees: 359 is next to 0."""
    radians = torch.deg2rad(degrees.double())
    return torch.stack([radians.cos(), radians.sin()], dim=1)


def common_width(width: int, num_training: int) -> int:
    """Return the requested width, reduced to one component per ten training rows, at least 1.

    >>> common_width(160, 5000), common_width(160, 900)
    (160, 90)
    """
    return max(1, min(width, num_training // ROWS_PER_COMPONENT))


def held_out_rows(groups: Tensor) -> Tensor:
    """Select half of the groups as held out, the same for every representation, (N,) bool.

    Args:
        groups: (N,) number of each row's group, such as its image: views of an image stay together.
    """
    order = _random_positions(groups, "held-out images")
    return order < round(HELD_OUT_SHARE * (int(order.max()) + 1))


def fold_of_rows(groups: Tensor) -> Tensor:
    """Return the fold of each row, (N,); rows of a group are in one fold."""
    return _random_positions(groups, "folds") % NUM_FOLDS


def linear_probe(
    features: Tensor, targets: Tensor, held_out: Tensor, groups: Tensor, *, width: int
) -> ProbeResult:
    """Predict targets from features by ridge regression, and compute R² on held-out rows.

    Features are centred and projected on the first ``width`` principal components of the training
    rows. They keep their scale: a pixel that is lit in a single training row would, if
    standardised, be thousands of standard deviations off in other rows. The penalty is selected for
    each target by the squared error over five folds of the training rows.
    R² = 1 - Σ(y - ŷ)² / Σ(y - ȳ)², ȳ the mean of the held-out rows.

    Args:
        features: (N, ...) a representation of any shape; it is flattened.
        targets: (N, T), such as `cosine_and_sine` or a shift in pixels.
        held_out: (N,) bool, see `held_out_rows`.
        groups: (N,) number of each row's group: no group is in two folds.
        width: Number of components, see `common_width`. A representation of lower rank is used at
            its own rank, which is the width of the result.

    Returns:
        The result, in float64. A copy of the features in float64 must fit into memory.

    Raises:
        UserError: There are too few groups to fit or to hold out, or a target or feature is not
            finite.
    """
    rows, y = features.flatten(start_dim=1).double(), targets.to(features.device).double()
    if not (rows.isfinite().all() and y.isfinite().all()):
        raise UserError("a linear probe needs finite features and targets; got others")
    held_out, groups = held_out.to(rows.device), groups.to(rows.device)
    train = ~held_out
    fold = fold_of_rows(groups[train])
    if len(fold.unique()) < NUM_FOLDS or not held_out.any():
        raise UserError(
            f"a linear probe needs {NUM_FOLDS} images or more to fit and one or more to hold out; "
            f"got {len(groups[train].unique())} and {len(groups[held_out].unique())}"
        )
    components = principal_components(rows[train], width)
    x = components.project(rows)
    centre = y[train].mean(dim=0)
    y_train = y[train] - centre
    order = torch.randperm(len(y_train), generator=generator(0, "shuffled targets"))
    both = torch.cat([y_train, y_train[order.to(y.device)]], dim=1)[..., None]  # (n, 2 T, 1)
    by_fold = [
        Moments.of(x[train], both, [(fold == part).nonzero()[:, 0]]) for part in range(NUM_FOLDS)
    ]
    unit = sum_moments(by_fold).variance()
    maps, penalty = cross_validated_ridge(by_fold, PENALTIES, unit=unit)
    predicted = predict(maps[0], x[held_out])[..., 0] + centre.repeat(2)
    right, shuffled = predicted.chunk(2, dim=1)
    return ProbeResult(
        r2=r_squared(right, y[held_out]),
        shuffled_r2=r_squared(shuffled, y[held_out]),
        penalty=penalty[0].chunk(2)[0],
        width=len(components.directions),
        explained_variance=float(components.explained),
        num_training=len(y_train),
        squared_errors=(right - y[held_out]).square(),
    )


def _random_positions(groups: Tensor, name: str) -> Tensor:
    """Return the position of each row's group in a random order of the groups, (N,)."""
    known, member = groups.cpu().unique(return_inverse=True)
    positions: Tensor = torch.randperm(len(known), generator=generator(0, name))[member]
    return positions.to(groups.device)
