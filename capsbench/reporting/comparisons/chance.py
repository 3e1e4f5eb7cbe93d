"""Seeds at chance: networks that answer no better than without the image.

The mean over seeds hides such a network, and its interval is too wide to say anything. Every page
and table therefore names the seed beside the mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import sqrt
from statistics import NormalDist

from capsbench.records import CellResult
from capsbench.reporting.formatting import listed
from capsbench.statistics.intervals import CONFIDENCE
from capsbench.values import Quantity

Z = NormalDist().inv_cdf((1 + CONFIDENCE) / 2)
FAMILIAR = Quantity(metric="accuracy", split="familiar")
# Of records from before November 30, 2026, which do not hold it: 1,135 of 10,000 digits are a 1.
LARGEST_CLASS = {"mnist": 0.1135, "affnist": 0.1135, "affnist-like": 0.1135}


def seeds_at_chance(cells: Iterable[CellResult]) -> tuple[int | None, ...]:
    """Return the seeds of a model whose networks are at chance, see `is_at_chance`."""
    return tuple(cell.seed for cell in cells if is_at_chance(cell))


def is_at_chance(cell: CellResult) -> bool:
    """Check that the binomial interval of a network's accuracy includes chance, or lies below.

    The accuracy is that on familiar test images, or else on the validation images that selected the
    weights. Chance is the accuracy of a constant answer: the share of the largest class where the
    training records it, else 1 / number of classes. The interval is the 95 % interval of
    Wilson (1927), from the number of images.

    Returns:
        False if no accuracy is known.
    """
    accuracy, images = _accuracy(cell)
    if accuracy is None or not images or cell.data is None:
        return False
    chance = None if cell.training is None else cell.training.largest_class
    if chance is None:
        chance = LARGEST_CLASS.get(cell.data.name, 1 / cell.data.num_classes)
    return wilson_lower(accuracy, images) <= chance


def wilson_lower(share: float, n: int) -> float:
    """Return the lower limit of the 95 % interval of a share of n images (Wilson 1927)."""
    root = sqrt(share * (1 - share) / n + (Z / (2 * n)) ** 2)
    return (share + Z**2 / (2 * n) - Z * root) / (1 + Z**2 / n)


def chance_text(seeds: Sequence[int | None]) -> str:
    """Return the seeds at chance in words; empty if there is none.

    >>> chance_text((0, 2)), chance_text((1,)), chance_text(())
    ('seeds 0 and 2 at chance', 'seed 1 at chance', '')
    """
    if not seeds:
        return ""
    if None in seeds:  # trained elsewhere, one model
        return "at chance"
    return f"seed{'s' if len(seeds) > 1 else ''} {listed(list(map(str, seeds)))} at chance"


def _accuracy(cell: CellResult) -> tuple[float | None, int | None]:
    """Return the accuracy of a network, and the number of images behind it."""
    for record in cell.measures.values():
        if (accuracy := record.get(FAMILIAR)) is not None:
            return accuracy, record.num_images(FAMILIAR)
    training = cell.training
    if training is None:
        return None, None
    selected = next(iter(training.selected.values()), None)
    accuracy = None if selected is None else selected.accuracy
    return accuracy, training.images.get("validation")
