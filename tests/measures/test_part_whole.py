"""Picasso test on objects of two parts, with models that use their relation or do not."""

import numpy as np
import pytest
import torch
from scipy.stats import mannwhitneyu

from capsbench.contracts import Model, Prediction
from capsbench.data.batches import Split
from capsbench.errors import UserError
from capsbench.measures.part_whole import part_whole_loss
from tests.data.made_up import Flat
from tests.measures.computing import compute, number, numbers


class Halves(Flat):
    """A bright upper half and a dark lower one, of random brightness; rearranged upside down."""

    def load(self):
        splits = super().load()
        draws = torch.randint(100, 250, (60, 1, 1, 1), generator=torch.Generator().manual_seed(0))
        images = torch.cat([draws.expand(60, 1, 4, 8), (draws // 3).expand(60, 1, 4, 8)], dim=2)
        targets = torch.zeros(60, dtype=torch.long)
        whole = Split(images.to(torch.uint8), targets, torch.arange(60))
        return {name: whole[split.index] for name, split in splits.items()}

    def rearrange(self):
        test = self.split("test")
        order = torch.arange(len(test)).flip(0)  # the measure pairs images by their numbers
        flipped = Split(test.images.flip(2), test.targets, test.index)
        return flipped[order]


class Scored(Model):
    """Predicts class 0 by a score of the image."""

    def __init__(self, score, *, presence=False):
        super().__init__(image_shape=(1, 8, 8), num_classes=3)
        self.score, self.presence = score, presence

    def forward(self, images, views=None):
        score = self.score(images)
        scores = torch.stack([score, 0 * score, 0 * score], dim=1)
        return Prediction(scores, presences=scores.sigmoid() if self.presence else None)

    def loss(self, prediction, batch, progress):
        raise AssertionError("a measure trains nothing")


def bag(images):
    return images.mean(dim=(1, 2, 3))


def relation(images):
    return 4 * (images[:, 0, :4].mean(dim=(1, 2)) - images[:, 0, 4:].mean(dim=(1, 2)))


def measured(model, data=None):
    return compute("part-whole", model.eval(), data or Halves())


def test_a_bag_of_parts_loses_nothing():
    result = measured(Scored(bag))
    assert number(result, metric="true_class_probability_loss") == pytest.approx(0, abs=1e-6)
    assert number(result, metric="confidence_auroc") == pytest.approx(0.5, abs=0.01)
    for parts in ("intact", "rearranged"):
        assert number(result, metric="accuracy", parts=parts) == 1


def test_a_model_that_uses_the_relation_loses_confidence():
    result = measured(Scored(relation, presence=True))
    assert number(result, metric="true_class_probability_loss") > 0.3
    assert number(result, metric="true_class_probability_auroc") == pytest.approx(1)
    assert number(result, metric="presence_auroc") == pytest.approx(1)
    assert number(result, metric="accuracy_loss") == 1
    assert "accuracy_auroc" not in numbers(result)
    assert result.notes == ()
    assert {value.n for value in result.values} == {15}
    # Images are paired by their numbers: each object's loss follows from its brightness.
    test = Halves().split("test")
    bright = test.images[:, 0, 0, 0].float() / 255
    dark = test.images[:, 0, 7, 0].float() / 255
    margins = [
        Prediction(torch.stack([s, 0 * s, 0 * s], 1))
        for s in (4 * (bright - dark), 4 * (dark - bright))
    ]
    own = [margin.scores.softmax(dim=1)[:, 0].numpy() for margin in margins]
    order = test.index.argsort().numpy()
    loss = result.per_image["true_class_probability_loss"]
    np.testing.assert_allclose(loss, (own[0] - own[1])[order], atol=1e-5)
    mean_loss = number(result, metric="true_class_probability_loss")
    assert np.mean(loss) == pytest.approx(mean_loss)
    for parts in ("intact", "rearranged"):
        mean = number(result, metric="true_class_probability", parts=parts)
        per_image = result.per_image[f"true_class_probability[parts={parts}]"]
        assert np.mean(per_image) == pytest.approx(mean)


def test_auroc_is_the_mann_whitney_statistic():
    draws = torch.Generator().manual_seed(0)
    intact = torch.randn(40, generator=draws).round(decimals=1) + 3
    rearranged = torch.randn(40, generator=draws).round(decimals=1) + 2.5
    result = part_whole_loss(intact, rearranged)
    expected = mannwhitneyu(intact.numpy(), rearranged.numpy()).statistic / 1600
    assert result.auroc.item() == pytest.approx(expected)
    assert result.loss.item() == pytest.approx((intact - rearranged).mean().item(), rel=1e-5)
    assert part_whole_loss(torch.ones(3), torch.ones(3)).auroc.item() == 0.5


def test_missing_capsules_are_noted_and_unknown_parts_refused():
    (note,) = measured(Scored(bag)).notes
    assert "no class capsules" in note
    with pytest.raises(UserError, match="parts"):
        measured(Scored(bag), Flat())
