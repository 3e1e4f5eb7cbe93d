"""What every set promises, asked of any data module."""

from typing import Any

import torch

from capsbench.data.batches import EvaluationPass
from capsbench.data.images import SplitName

SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")


def splits(data):
    return [data.split(name) for name in SPLITS]


def require_disjoint(parts, *, one_source):
    """No image twice in a split, none in two; of two sources, the second is the test's."""
    seen = [set(part.index.tolist()) for part in parts]
    assert all(len(found) == len(part) > 0 for found, part in zip(seen, parts, strict=True))
    pairs = [(0, 1), (0, 2), (1, 2)] if one_source else [(0, 1)]
    assert all(seen[a].isdisjoint(seen[b]) for a, b in pairs)


def objects(part):
    """The objects that are shown: (class, instance)."""
    instances = part.factors["instance"].tolist()
    return set(zip(part.targets.tolist(), instances, strict=True))


def require_same_splits(one, other):
    for name in SPLITS:
        first, second = one.split(name), other.split(name)
        assert torch.equal(first.index, second.index)
        assert torch.equal(first.images, second.images)
        assert torch.equal(first.targets, second.targets)


def seen(data, split):
    """What is seen of each image, by its number: pixels, angle, classes."""
    return {
        number: (image, angle, target)
        for batch in data.batches(split, "cpu")
        for number, image, angle, target in zip(
            batch.index.tolist(), batch.images, batch.views.rotation, batch.targets, strict=True
        )
    }


def require_same_views(make, patch, split="test", *, atol=1e-6):
    """Each image is seen alike with other batches, another order, a limit, or two processes."""
    everything = seen(make(), split)
    patch.setattr("capsbench.data.images.EVALUATION_BATCH", 7)
    others = [seen(make(seed=3), split), seen(make(limit=11), split)]
    shares = []
    for rank in range(2):
        data = make()
        patch.setattr(data, "_process", lambda rank=rank: (rank, 2))
        shares.append(seen(data, split))
    assert shares[0].keys().isdisjoint(shares[1])
    others.append(shares[0] | shares[1])
    data = make()
    backwards = EvaluationPass(
        torch.arange(len(data.split(split))).flip(0), take=data._taker(split, None), batch_size=5
    )
    found: dict[int, Any] = {}
    for stored in backwards:
        batch = data.on_after_batch_transfer(stored, 0)
        rows = zip(batch.images, batch.views.rotation, batch.targets, strict=True)
        found |= dict(zip(batch.index.tolist(), rows, strict=True))
    others.append(found)
    assert len(others[0]) == len(others[2]) == len(others[3]) == len(everything)
    for other in others:
        for number, (image, angle, target) in other.items():
            expected, turned, label = everything[number]
            torch.testing.assert_close(image, expected, atol=atol, rtol=0)
            assert torch.equal(angle, turned)
            assert torch.equal(target, label)
    angles = torch.stack([angle for _, angle, _ in everything.values()])
    assert len(angles.unique()) > 1  # there was something to be seen alike
