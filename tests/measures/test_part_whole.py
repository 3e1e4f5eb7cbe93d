"""The Picasso test on objects of two parts, with models that see their relation or do not."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from scipy.stats import mannwhitneyu

from capsbench.contracts import Model, Prediction
from capsbench.data.batches import Split
from capsbench.errors import UserError
from capsbench.measures import MeasureEntry, PartWhole
from capsbench.measures.part_whole import PartWhole as PartWholeMetric
from capsbench.measures.part_whole import measure, part_whole
from tests.data.made_up import Flat


class Halves(Flat):
    """A bright upper half and a dark lower one, of a brightness of its own; or upside down."""

    def load(self):
        splits = super().load()
        draws = torch.randint(100, 250, (60, 1, 1, 1), generator=torch.Generator().manual_seed(0))
        images = torch.cat([draws.expand(60, 1, 4, 8), (draws // 3).expand(60, 1, 4, 8)], dim=2)
        targets = torch.zeros(60, dtype=torch.long)
        whole = Split(images.to(torch.uint8), targets, torch.arange(60))
        return {name: whole[split.index] for name, split in splits.items()}

    def rearrange(self):
        test = self.split("test")
        order = torch.arange(len(test)).flip(0)  # the measure has to find which is which
        flipped = Split(test.images.flip(2), test.targets, test.index)
        return flipped[order]


class Looks(Model):
    """Class 0 by a score of the image."""

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
    entry = TypeAdapter(MeasureEntry).validate_python({"measure": "part-whole"})
    assert isinstance(entry, PartWhole)
    steps = []
    found = measure(entry, model.eval(), data or Halves(), "cpu", lambda: steps.append(1))
    assert len(steps) == entry.steps
    return found


def test_a_bag_of_parts_loses_nothing():
    values = measured(Looks(bag)).values
    assert values["part-whole/true class/loss"] == pytest.approx(0, abs=1e-6)
    assert values["part-whole/confidence/auroc"] == pytest.approx(0.5, abs=0.01)
    assert values["part-whole/accuracy/intact"] == values["part-whole/accuracy/rearranged"] == 1


def test_who_knows_the_relation_loses_confidence():
    found = measured(Looks(relation, presence=True))
    values = found.values
    assert values["part-whole/true class/loss"] > 0.3
    assert values["part-whole/true class/auroc"] == pytest.approx(1)
    assert values["part-whole/presence/auroc"] == pytest.approx(1)
    assert values["part-whole/accuracy/loss"] == 1
    assert "part-whole/accuracy/auroc" not in values
    assert found.notes == ()
    assert found.n == 15
    # Paired by the image's number: here each object's loss follows from its own brightness.
    test = Halves().split("test")
    bright = test.images[:, 0, 0, 0].float() / 255
    dark = test.images[:, 0, 7, 0].float() / 255
    margins = [
        Prediction(torch.stack([s, 0 * s, 0 * s], 1))
        for s in (4 * (bright - dark), 4 * (dark - bright))
    ]
    own = [margin.scores.softmax(dim=1)[:, 0].numpy() for margin in margins]
    order = test.index.argsort().numpy()
    loss = found.samples["part-whole/true class/loss"]
    np.testing.assert_allclose(loss, (own[0] - own[1])[order], atol=1e-5)
    assert np.mean(loss) == pytest.approx(values["part-whole/true class/loss"])


def test_auroc_is_that_of_ranks():
    draws = torch.Generator().manual_seed(0)
    intact = torch.randn(40, generator=draws).round(decimals=1) + 3
    rearranged = torch.randn(40, generator=draws).round(decimals=1) + 2.5
    found = part_whole(intact, rearranged)
    expected = mannwhitneyu(intact.numpy(), rearranged.numpy()).statistic / 1600
    assert found.auroc.item() == pytest.approx(expected)
    assert found.loss.item() == pytest.approx((intact - rearranged).mean().item(), rel=1e-5)
    assert part_whole(torch.ones(3), torch.ones(3)).auroc.item() == 0.5


def test_the_metric_is_the_function_over_batches():
    intact, rearranged = torch.rand(2, 30, generator=torch.Generator().manual_seed(0))
    metric = PartWholeMetric()
    for rows in torch.arange(30).split(11):
        metric.update(intact[rows], rearranged[rows])
    assert metric.compute() == part_whole(intact, rearranged)
    figure, axes = metric.plot()
    assert axes.lines[0].get_ydata() == pytest.approx([metric.compute().loss.item()])
    plt.close(figure)


def test_what_cannot_be_asked_is_told():
    assert measured(Looks(bag)).notes == (
        "the model has no class capsules: presence is not compared",
    )
    with pytest.raises(UserError, match="does not know the parts"):
        measured(Looks(bag), Flat())
