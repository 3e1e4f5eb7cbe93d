"""Linear equivariance: how much of what a view changes in features an affine map explains."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from capsbench.errors import UserError
from capsbench.measures._affine_fit import AffineFit
from capsbench.measures._affine_maps import (
    FOLDS,
    Division,
    Moments,
    choose_penalty,
    divide,
    principal_components,
    ridge,
    together,
)
from capsbench.measures.kept_rows import KeptRows

IMAGES_PER_COMPONENT = 10


def linear_equivariance(
    f_x: Tensor, f_gx: Tensor, classes: Tensor, division: Division, *, width: int
) -> AffineFit:
    """How much of the change of features under views is explained by one affine map per view.

    After Lenc & Vedaldi (2015), for f(Tx) = T f(x) (article, eq. 3) where nobody says what T is in
    the space of the features. Each class is a set of its own: plain R² over all classes would
    reward features that only know the class. Some of the images are held out, the same for
    all layers and models. From the others, and for each class, are found

    * the ``width`` principal components of f(x) and of f(T_g x) of all views together, about their
      common mean: one space for all maps, so that they can be applied one after the other;
    * A_g for each view by ridge regression from the components of f(x) to those of f(T_g x), with
      a constant. It is A_g - I that is penalized, by what errs least in cross-validation, for each
      class and view: without evidence nothing changes, and |A_g - I| is not of directions in which
      features never vary;
    * A_g the same way for pairs shuffled within the class, as control. The other control is the
      identity, which explains 0 by definition.

    What is reported is the change explained on held-out images; see `Shares`. Where the change is
    noise it is about 0, at worst -d/n for n training images. Where nothing changes, by more than
    the rounding of fp32, there is nothing to explain: NaN, told as 'undefined'.

    Of feature maps that are to be compared place by place (poses), give one place at a time, after
    `capsbench.measures._warped_maps` has moved them onto each other.

    Args:
        f_x: (N, ...) features of images, flattened to D numbers each.
        f_gx: (N, V, ...) features of the same images from V views.
        classes: (N,) class indices.
        division: Which images serve for what; rows of one image for the same.
        width: d, the components; the same for all layers that are compared, at most D.

    Raises:
        UserError: A class has less than 10 d training images, or the features less than d numbers.
    """
    x, gx = f_x.flatten(1), f_gx.flatten(2)
    known, member = classes.to(x.device).unique(return_inverse=True)
    division = division.to(x.device)
    training = [((member == k) & ~division.held_out).nonzero()[:, 0] for k in range(len(known))]
    testing = [((member == k) & division.held_out).nonzero()[:, 0] for k in range(len(known))]
    _require_enough(x.shape[1], known, training, width)

    source = x.new_zeros(len(x), width, dtype=torch.float64)
    target = x.new_zeros(*gx.shape[:2], width, dtype=torch.float64)
    spaces = []
    for row, test in zip(training, testing, strict=True):
        samples = torch.cat([x[row, None], gx[row]], dim=1).flatten(0, 1).double()
        space = principal_components(samples, width)
        for rows in (row, test):
            source[rows] = space.project(x[rows])
            target[rows] = space.project(gx[rows])
        spaces.append(space)
    centre, components, variance = (torch.stack(parts) for parts in zip(*spaces, strict=True))

    by_fold = [[row[division.fold[row] == part] for row in training] for part in range(FOLDS)]
    partner = _partners(training, division.order)
    folds = [Moments.of(source, target, rows) for rows in by_fold]
    shuffled = [Moments.of(source, target[partner], rows) for rows in by_fold]
    tested = Moments.of(source, target, testing)
    penalty = choose_penalty(folds)
    maps = ridge(together(folds), penalty)
    unrelated = ridge(together(shuffled), choose_penalty(shuffled))
    halves = (together(folds[: FOLDS // 2]), together(folds[FOLDS // 2 :]))
    changes = [gx[rows].double() - x[rows, None].double() for rows in testing]
    squares = [gx[rows].double().square() + x[rows, None].double().square() for rows in testing]
    return AffineFit(
        classes=known,
        images=tested.source[:, -1, -1].long(),
        residual=tested.error(maps),
        shuffled=tested.error(unrelated),
        change=tested.error(torch.eye(width, width + 1).to(maps)),
        whole_change=torch.stack([each.square().sum(dim=(0, 2)) for each in changes]),
        size=torch.stack([each.sum(dim=(0, 2)) / 2 for each in squares]),
        penalty=penalty,
        maps=maps,
        unrelated=unrelated,
        halves=torch.stack([ridge(half, penalty) for half in halves]),
        covariance=tested.covariance(),
        centre=centre,
        components=components,
        variance=variance,
    )


class LinearEquivariance(KeptRows):
    """`linear_equivariance` of the features of all batches and processes.

    It keeps the features, in float64: memory is images x (views + 1) x D x 8 bytes. Neither the
    batches nor their order change the value by more than rounding.

    Args:
        width: d, the components; the same for all layers that are compared, at most D.
        seed: Of the division of the images, and of the shuffling.
        **kwargs: Arguments of ``torchmetrics.Metric``.
    """

    higher_is_better = True
    plot_upper_bound = 1.0

    def __init__(self, width: int, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(("f_x", "f_gx", "classes", "index"), **kwargs)
        self.width = width
        self.seed = seed

    def update(self, f_x: Tensor, f_gx: Tensor, classes: Tensor, index: Tensor) -> None:
        """Take in the features of some images; see `linear_equivariance`."""
        self.keep(f_x, f_gx, classes, index)

    def compute(self) -> AffineFit:
        """The maps, and what they explain, of all images so far."""
        f_x, f_gx, classes, index = self.kept()
        index, order = index.long(), index.argsort()
        f_x = f_x.reshape(len(order), -1)
        f_gx = f_gx.reshape(len(order), -1, f_x.shape[1])[order]
        f_x, classes = f_x[order], classes[order].long()
        division = divide(index[order], self.seed)
        return linear_equivariance(f_x, f_gx, classes, division, width=self.width)

    def plot(self, val: Any = None, ax: Any = None) -> Any:
        """Draw the share explained by view, one mark for each; of a list, one line for each view.

        Args:
            val: What ``compute`` returned, or a list of such; its own value if left out.
            ax: Axes of matplotlib to draw into.
        """
        found: Any = self.compute() if val is None else val
        one = isinstance(found, AffineFit)
        shares = [each.by_view().explained for each in ([found] if one else found)]
        return self._plot(shares[0] if one else shares, ax)


def _partners(rows: list[Tensor], order: Tensor) -> Tensor:
    """(N,) a row with another image for each, of the same rows; itself for those in none.

    A cycle through the rows in random order, in which those of one image stand side by side; its
    step is the largest number of them, so that no image is its own partner.
    """
    partner = torch.arange(len(order), device=order.device)
    for row in rows:
        cycle = row[order[row].argsort()]
        step = order[row].unique(return_counts=True)[1].max()
        partner[cycle] = cycle.roll(int(step))
    return partner


def _require_enough(features: int, classes: Tensor, rows: list[Tensor], width: int) -> None:
    if width > features:
        raise UserError(
            f"a width of {width} components needs as many features; these have {features}: "
            "ask for a smaller width, for all layers that are compared"
        )
    counts = [len(row) for row in rows]
    fewest = min(counts)
    if fewest < IMAGES_PER_COMPONENT * width:
        raise UserError(
            f"a width of {width} components needs {IMAGES_PER_COMPONENT * width} training images "
            f"of each class; class {int(classes[counts.index(fewest)])} has {fewest} beside those "
            "held out: give more images, or ask for a smaller width"
        )
