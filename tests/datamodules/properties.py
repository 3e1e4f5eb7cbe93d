"""Properties that every data module has."""

import torch

from capsbench.data.batches import SplitName
from capsbench.data.images import ImageDataModule

SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")


def splits(data):
    return [data.split(name) for name in SPLITS]


def require_disjoint(parts, *, one_source):
    """No image twice in a split, none in two; of two sources, the second is the test's."""
    numbers = [set(part.index.tolist()) for part in parts]
    assert all(len(own) == len(part) > 0 for own, part in zip(numbers, parts, strict=True))
    pairs = [(0, 1), (0, 2), (1, 2)] if one_source else [(0, 1)]
    assert all(numbers[a].isdisjoint(numbers[b]) for a, b in pairs)


def objects(part):
    """Return the objects in the images: (class, instance)."""
    instances = part.factors["instance"].tolist()
    return set(zip(part.targets.tolist(), instances, strict=True))


def require_same_splits(one, other):
    for name in SPLITS:
        first, second = one.split(name), other.split(name)
        assert torch.equal(first.index, second.index)
        assert torch.equal(first.images, second.images)
        assert torch.equal(first.targets, second.targets)


def images_by_number(batches):
    """Return pixels, angle and classes of each image, by its number."""
    return {
        number: (image, angle, target)
        for batch in batches
        for number, image, angle, target in zip(
            batch.index.tolist(), batch.images, batch.views.rotation, batch.targets, strict=True
        )
    }


def require_same_views(make, patch, split="test", *, atol=1e-6):
    """Each image is the same with other batches, another order, a limit, or two processes."""

    def one_pass(**changes):
        return images_by_number(make(**changes).evaluation.batches(split, "cpu"))

    everything = one_pass()
    patch.setattr("capsbench.data.evaluation.EVALUATION_BATCH", 7)
    others = [one_pass(seed=3), one_pass(limit=11)]
    shares = []
    for rank in range(2):
        with patch.context() as process:
            process.setattr(ImageDataModule, "rank_and_world_size", (rank, 2))
            shares.append(one_pass())
    assert shares[0].keys().isdisjoint(shares[1])
    others.append(shares[0] | shares[1])
    data = make()
    backwards = torch.arange(len(data.split(split))).flip(0).split(5)
    others.append(images_by_number(data.evaluation.get_batch(split, rows) for rows in backwards))
    assert len(others[0]) == len(others[2]) == len(others[3]) == len(everything)
    for other in others:
        for number, (image, angle, target) in other.items():
            expected, turned, label = everything[number]
            torch.testing.assert_close(image, expected, atol=atol, rtol=0)
            assert torch.equal(angle, turned)
            assert torch.equal(target, label)
    angles = torch.stack([angle for _, angle, _ in everything.values()])
    assert len(angles.unique()) > 1  # the views differ
