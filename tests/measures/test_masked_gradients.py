"""Signs of masked gradients: which attacks are compared, and when one is ahead by chance."""

from math import comb

import pytest
import torch

from capsbench.measures._masked_gradients import Attack, masked_gradients


def signs(attacks, epsilons):
    """Return the signs of masked gradients where there is something to compare."""
    result = masked_gradients(attacks, epsilons)
    assert result is not None
    return result


def misled(*images, count=100):
    """Return (1, count) bool, True for some images."""
    mask = torch.zeros(1, count, dtype=torch.bool)
    mask[:, list(images)] = True
    return mask


def tail(only_weaker, only_stronger):
    """Return McNemar's exact p, one-sided: the upper tail of fair coins."""
    n = only_weaker + only_stronger
    return sum(comb(n, k) for k in range(only_weaker, n + 1)) / 2**n


@pytest.mark.parametrize("only_pgd", [0, 2, 3, 4, 10])
def test_square_is_ahead_if_a_sum_of_fair_coins_says_so(only_pgd):
    attacks = {
        Attack("pgd"): misled(*range(20, 20 + only_pgd), 90),
        Attack("square"): misled(*range(10), 90),
    }
    result = signs(attacks, [0.1])
    assert tail(10, 3) < 0.05 < min(tail(10, 4), 2 * tail(10, 3))
    expected = (10 - only_pgd) / 100 if tail(10, only_pgd) < 0.05 else 0
    assert result.shares.tolist() == [pytest.approx(expected)]
    assert bool(result.notes) == (expected > 0)


def test_more_comparisons_need_more_evidence():
    attacks = {Attack("pgd"): misled(), Attack("square"): misled(*range(6))}
    assert tail(6, 0) < 0.05 < 4 * tail(6, 0)
    assert signs(attacks, [0.1]).notes
    repeated = {attack: images.expand(4, -1) for attack, images in attacks.items()}
    assert not signs(repeated, [0.1, 0.2, 0.3, 0.4]).notes


def test_square_and_transferred_attacks_are_compared_with_all_gradients_together():
    attacks = {
        Attack("fgsm"): misled(*range(20)),
        Attack("apgd-dlr"): misled(*range(20, 40)),
        Attack("square"): misled(*range(40)),
        Attack("fgsm", "CNN"): misled(*range(50)),
        Attack("square", "CNN"): misled(*range(30)),
    }
    result = signs(attacks, [0.1])
    (note,) = result.notes
    assert "fgsm from CNN misleads 10 of 100" in note and "epsilon 0.1" in note
    assert result.shares.tolist() == [pytest.approx(0.1)]


@pytest.mark.parametrize("method", ["bim", "pgd", "apgd-ce"])
def test_one_step_should_not_beat_several(method):
    attacks = {Attack("fgsm"): misled(*range(30)), Attack(method): misled(*range(28, 31))}
    (note,) = signs(attacks, [0.1]).notes
    assert f"fgsm misleads 28 of 100 images that {method} misses" in note
    # On another loss it may.
    attacks = {Attack("fgsm"): misled(*range(30)), Attack("apgd-dlr"): misled(30)}
    assert masked_gradients(attacks, [0.1]) is None


def test_the_strongest_sign_is_told_at_each_epsilon():
    attacks = {
        Attack("fgsm"): torch.cat([misled(*range(20)), misled()]),
        Attack("pgd"): torch.cat([misled(), misled()]),
        Attack("square"): torch.cat([misled(*range(35)), misled(*range(50))]),
    }
    result = signs(attacks, [0.1, 0.2])
    assert result.shares.tolist() == [pytest.approx(0.2), pytest.approx(0.5)]
    assert "fgsm" in result.notes[0] and "square" in result.notes[1]
