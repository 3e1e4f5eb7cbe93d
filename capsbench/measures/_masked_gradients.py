"""Signs of masked gradients: weaker attacks that mislead a model where stronger ones do not.

A model whose gradient is saturated, rounded or noisy resists attacks that climb it, and falls to
others: it only looks robust. Athalye et al. (2018, 'Obfuscated Gradients Give a False Sense of
Security', section 3.1) name the signs: one step beats many, and an attack that needs no gradient of
the model beats those that climb it. Each sign is tested on the same images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from capsbench.values import Condition, Quantity

ONE_STEP, SEVERAL_STEPS = "fgsm", ("bim", "pgd", "apgd-ce")  # on the cross-entropy
GRADIENT_FREE = ("square",)
LEVEL = 0.05


class Attack(NamedTuple):
    """One attack of a suite.

    Attributes:
        method: Its method.
        source: Label of the model that was attacked; None for the evaluated one.
        targeted: True if each image has a target class.
    """

    method: str
    source: str | None = None
    targeted: bool = False

    def __str__(self) -> str:
        return self.method if self.source is None else f"{self.method} from {self.source}"

    def quantity(self, metric: str) -> Quantity:
        """Return the quantity of a metric after this attack."""
        condition: dict[str, Condition] = {"method": self.method}
        condition |= {"targeted": True} if self.targeted else {}
        return Quantity(metric=metric, condition=condition, source=self.source)

    @property
    def uses_gradient(self) -> bool:
        """True if the attack climbs a gradient of the evaluated model."""
        return self.source is None and self.method not in GRADIENT_FREE


class Comparison(NamedTuple):
    """A weaker attack, and the stronger ones that should mislead the model where it does.

    Attributes:
        weaker: Name of the weaker attack.
        stronger: Names of the stronger ones.
        only_weaker: (E,) number of images that only the weaker attack misleads, by epsilon.
        only_stronger: (E,) number of images that only the stronger ones mislead.
    """

    weaker: str
    stronger: str
    only_weaker: Tensor
    only_stronger: Tensor


class MaskedGradients(NamedTuple):
    """Result of `masked_gradients`.

    Attributes:
        shares: (E,) float64, for each epsilon the largest share of images by which a weaker attack
            is ahead of the stronger ones; 0 where none is by more than chance.
        notes: A sentence for each epsilon at which one is.
    """

    shares: Tensor
    notes: tuple[str, ...]


def masked_gradients(
    misled: Mapping[Attack, Tensor], epsilons: Sequence[float]
) -> MaskedGradients | None:
    """Test whether weaker attacks mislead a model more often than stronger ones.

    FGSM, a single step, is compared with each of BIM, PGD and APGD, several steps on the same loss.
    Square, and each attack that was transferred from another model, is compared with all attacks by
    the model's own gradient together. A weaker attack is ahead by more than chance if McNemar's
    exact test, one-sided, has p below 0.05 after Bonferroni's correction for all comparisons and
    epsilons: by chance, each side misleads half of the images that exactly one of both misleads.

    Args:
        misled: (E, N) bool by untargeted attack, True where an image that was right is not any more
            after the attack.
        epsilons: E epsilons.

    Returns:
        None if there is nothing to compare.
    """
    from scipy.stats import binomtest  # takes longer to import than this module

    comparisons = _comparisons(misled)
    if not comparisons:
        return None
    num_images = next(iter(misled.values())).shape[1]
    tests = len(comparisons) * len(epsilons)
    shares, notes = [], []
    for row, epsilon in enumerate(epsilons):
        ahead = []
        for each in comparisons:
            weaker, stronger = int(each.only_weaker[row]), int(each.only_stronger[row])
            if weaker <= stronger:
                continue
            p = binomtest(weaker, weaker + stronger, alternative="greater").pvalue * tests
            if p < LEVEL:
                text = (
                    f"masked gradients at epsilon {epsilon:g}: {each.weaker} misleads "
                    f"{weaker} of {num_images} images that {each.stronger} misses, and the "
                    f"opposite holds for {stronger} (McNemar, corrected p {p:.1g}): accuracy under "
                    "attacks by the gradient overstates the robustness"
                )
                ahead.append(((weaker - stronger) / num_images, text))
        share, note = max(ahead, default=(0.0, ""))
        shares.append(share)
        notes += [note] if note else []
    return MaskedGradients(torch.tensor(shares, dtype=torch.float64), tuple(notes))


def _comparisons(misled: Mapping[Attack, Tensor]) -> list[Comparison]:
    """Return the comparisons among the attacks."""
    one_step = Attack(ONE_STEP)
    result = [
        _compare(one_step, method, misled[one_step], misled[Attack(method)])
        for method in SEVERAL_STEPS
        if one_step in misled and Attack(method) in misled
    ]
    by_gradient = [images for attack, images in misled.items() if attack.uses_gradient]
    if by_gradient:
        together = torch.stack(by_gradient).any(dim=0)
        name = "every attack by its gradient"
        result += [
            _compare(attack, name, images, together)
            for attack, images in misled.items()
            if not attack.uses_gradient
        ]
    return result


def _compare(attack: Attack, stronger: str, own: Tensor, other: Tensor) -> Comparison:
    return Comparison(str(attack), stronger, (own & ~other).sum(dim=1), (other & ~own).sum(dim=1))
