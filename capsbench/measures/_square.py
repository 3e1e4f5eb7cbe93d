"""The Square attack: a random search that needs no gradient."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from capsbench.contracts import Model
from capsbench.errors import UserError
from capsbench.measures._adversarial import AttackedImages, box_sizes, clip_to_box
from capsbench.measures._attack_draws import SquareDraws
from capsbench.measures._attack_losses import cross_entropy, is_misled, margin
from capsbench.profiling.evaluation_mode import evaluation_mode

FIRST_SHARE = 0.8  # of the pixels in the first window, as in AutoAttack
HALVED_AT = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)  # of 10,000 queries
COMPACTION = 10  # queries between two reads of the device


@torch.no_grad()
def square(
    model: Model,
    images: Tensor,
    labels: Tensor,
    epsilons: Sequence[float],
    target_classes: Tensor | None = None,
    *,
    draws: SquareDraws,
    queries: int = 200,
    early_stop: bool = True,
) -> AttackedImages:
    """Attack images by a random search over squares, without any gradient.

    The first query changes vertical stripes by plus or minus epsilon. Each later one proposes a
    square window, in which each channel becomes x plus or minus epsilon, and keeps it if the loss
    is larger (Andriushchenko et al. 2020, 'Square Attack', algorithms 1 and 2). The loss is the
    margin, of a targeted attack the log-probability of the target class (section 3.1). The window
    shrinks, see `window_side`. Each image has windows of its own.

    Images never wait for each other: what is decided for one is a mask, and the device is read
    every 10 queries, when images that are misled leave the batch.

    Args:
        model: The attacked model.
        images: (B, C, H, W) in [0, 1].
        labels: (B,) class indices, or (B, K) multi-hot.
        epsilons: E numbers of at least 0.
        target_classes: (B,) class of a targeted attack for each image. Default: untargeted.
        draws: At least ``queries`` - 1 windows for each image, see `square_draws`.
        queries: Number of forward passes.
        early_stop: Return the first point that misleads the model, and stop there. Else return the
            point of the largest loss, which transfers better to other models.

    Raises:
        UserError: There is no query, no epsilon, or a negative one.
    """
    if queries < 1:
        raise UserError(f"an attack needs at least one query; got {queries}")
    draws = SquareDraws(*(each.to(images) for each in draws))
    with evaluation_mode(model):
        attacked = [
            _search(
                model,
                images,
                labels,
                target_classes,
                size=size,
                draws=draws,
                queries=queries,
                early_stop=early_stop,
            )
            for size in box_sizes(epsilons, images)
        ]
    points, passes = (torch.stack(each) for each in zip(*attacked, strict=True))
    return AttackedImages(points, passes, None)


def window_side(query: int, queries: int, height: int, width: int) -> int:
    """Return the side of the window of a query in pixels.

    The window has a share p of the pixels: 0.8, halved after 10, 50, 200, 500, 1000, 2000, 4000,
    6000 and 8000 of 10,000 queries, and at the same shares of another number (section 4.1).

    Args:
        query: Number of the query; 0 is the first window.
        queries: Number of all queries.
        height: H of the image.
        width: W of the image.
    """
    halvings = sum(query * 10_000 > place * queries for place in HALVED_AT)
    side = round((FIRST_SHARE / 2**halvings * height * width) ** 0.5)
    return min(max(side, 1), height, width)


def windows(corners: Tensor, side: int, height: int, width: int) -> Tensor:
    """Return windows (B, 1, H, W) bool, uniform among those that lie within the image.

    Args:
        corners: (B, 2) in [0, 1), the position, y and x.
        side: Side of the windows in pixels.
        height: H of the image.
        width: W of the image.
    """
    room = corners.new_tensor([height - side + 1, width - side + 1])
    first = (corners * room).floor()[:, :, None]
    rows, columns = (torch.arange(size, device=corners.device) for size in (height, width))
    inside_y = (rows >= first[:, 0]) & (rows < first[:, 0] + side)
    inside_x = (columns >= first[:, 1]) & (columns < first[:, 1] + side)
    return (inside_y[:, :, None] & inside_x[:, None])[:, None]


def _search(
    model: Model,
    images: Tensor,
    labels: Tensor,
    target_classes: Tensor | None,
    *,
    size: Tensor,
    draws: SquareDraws,
    queries: int,
    early_stop: bool,
) -> tuple[Tensor, Tensor]:
    """Attack images at one epsilon.

    Args:
        model: The attacked model, in evaluation mode.
        images: (B, C, H, W).
        labels: (B,) or (B, K).
        target_classes: (B,), or None.
        size: Epsilon, (1, 1, 1, 1).
        draws: Windows of the images, on their device.
        queries: Number of forward passes.
        early_stop: See `square`.

    Returns:
        The attacked images, and the passes of each (B,).
    """
    height, width = images.shape[2:]
    rows = torch.arange(len(images), device=images.device)
    point = clip_to_box(images + size * draws.stripes, images, size)
    loss, misled = _evaluate(model, point, labels, target_classes)
    result, passes = point.clone(), torch.ones_like(rows)
    for query in range(queries - 1):
        if early_stop and query % COMPACTION == 0:
            result[rows] = point
            remaining = (~misled).nonzero()[:, 0]
            if not len(remaining):
                break
            rows, images, labels = rows[remaining], images[remaining], labels[remaining]
            point, loss, misled = point[remaining], loss[remaining], misled[remaining]
            target_classes = None if target_classes is None else target_classes[remaining]
        side = window_side(query, queries, height, width)
        inside = windows(draws.corners[rows, query], side, height, width)
        colored = images + size * draws.signs[rows, query, :, None, None]
        proposal = torch.where(inside, clip_to_box(colored, images, size), point)
        new_loss, new_misled = _evaluate(model, proposal, labels, target_classes)
        accepted = (new_loss > loss) | (new_misled & ~misled)
        if early_stop:
            accepted &= ~misled
        point = torch.where(accepted[:, None, None, None], proposal, point)
        loss = torch.where(accepted, new_loss, loss)
        misled |= accepted & new_misled
        passes[rows] += 1
    result[rows] = point
    return result, passes


def _evaluate(
    model: Model, points: Tensor, labels: Tensor, target_classes: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return the loss (B,), NaN as minus infinity, and the images that mislead the model, (B,)."""
    prediction = model(points)
    logits = model.logits(prediction)
    if target_classes is None:
        losses = margin(logits, labels)
    else:
        losses = cross_entropy(model.log_probabilities(prediction), labels, target_classes)
    losses = losses.nan_to_num(nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf)
    return losses, is_misled(logits, labels, target_classes)
