"""The Picasso test: what a model makes of objects whose parts stand in each other's places."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics.functional.classification import binary_auroc

from capsbench import measures
from capsbench.contracts import Model, class_recall
from capsbench.data.batches import SplitName
from capsbench.data.images import ImageDataModule
from capsbench.measures._result import Measured
from capsbench.measures.kept_rows import KeptRows

SEVERAL_OBJECTS = "not measured: images hold several objects"
NO_PRESENCE = "the model has no class capsules: presence is not compared"


class Loss(NamedTuple):
    """How a quantity, the larger the surer, falls where parts are out of relation; 0-d each.

    Attributes:
        intact: Mean over the objects as they are.
        rearranged: Mean over the same objects with their parts in each other's places.
        loss: The difference, positive where it falls.
        auroc: How well it tells an intact object from a rearranged one, whichever they are: the
            chance that it is larger for the former. 0.5 for a bag of parts, 1 for a model that
            knows how parts belong together.
    """

    intact: Tensor
    rearranged: Tensor
    loss: Tensor
    auroc: Tensor


def part_whole(intact: Tensor, rearranged: Tensor) -> Loss:
    """What is lost where parts are out of relation.

    Args:
        intact: (N,) a quantity of each object as it is.
        rearranged: (N,) the same of each with its parts in each other's places.
    """
    both = torch.cat([intact, rearranged]).double()
    whole = torch.arange(len(both), device=both.device) < len(intact)
    means = intact.double().mean(), rearranged.double().mean()
    # In ranks, which are what it is a function of: values outside of [0, 1] would be squashed.
    ranks = both.unique(return_inverse=True)[1].double()
    auroc = binary_auroc(ranks / ranks.max().clamp_min(1), whole.long())
    return Loss(*means, means[0] - means[1], auroc)


class PartWhole(KeptRows):
    """`part_whole` of the objects of all batches and processes; it keeps both numbers of each.

    Args:
        **kwargs: Arguments of ``torchmetrics.Metric``.
    """

    higher_is_better = True

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(("intact", "rearranged"), **kwargs)

    def update(self, intact: Tensor, rearranged: Tensor) -> None:
        """Take in some objects; see `part_whole`."""
        self.keep(intact, rearranged)

    def compute(self) -> Loss:
        """What is lost over all objects so far."""
        return part_whole(*self.kept())

    def plot(self, val: Any = None, ax: Any = None) -> Any:
        """Draw the loss; of a list of results, one after the other.

        Args:
            val: What ``compute`` returned, or a list of such; its own value if left out.
            ax: Axes of matplotlib to draw into.
        """
        found: Any = self.compute() if val is None else val
        one = isinstance(found, Loss)
        return self._plot(found.loss if one else [each.loss for each in found], ax)


@torch.inference_mode()
def measure(
    entry: measures.PartWhole,  # noqa: ARG001  # it has no arguments
    model: Model,
    data: ImageDataModule,
    device: str,
    advance: Callable[[], None],
) -> Measured:
    """Measure a model on all test images and on the same with rearranged parts, from equal views.

    Keys are ``part-whole/<quantity>/<term>``, the terms those of `Loss`. Quantities are
    ``accuracy``, without an AUROC; ``true class``, its probability; ``confidence``, the probability
    of the likeliest class; and ``presence`` of the true class's capsule, where the model has one.
    Samples hold each image's loss, and ``<quantity> of rearranged``.

    Args:
        entry: The measure.
        model: The trained model, in evaluation mode on ``device``.
        data: The data module.
        device: Where the model is.
        advance: Called after the intact images, and after the others.

    Raises:
        UserError: The set does not know the parts of its objects.
    """
    intact, index = _look(model, data, "test", device)
    advance()
    rearranged, numbers = _look(model, data, "rearranged", device)
    advance()
    if not intact:
        return Measured({}, [], 0, {}, (SEVERAL_OBJECTS,))
    order, other = index.argsort(), numbers.argsort()
    assert torch.equal(index[order], numbers[other])
    values: dict[str, float] = {}
    samples: dict[str, NDArray[Any]] = {"index": index[order].numpy()}
    for name, whole in intact.items():
        pair = whole[order], rearranged[name][other]
        for term, value in part_whole(*pair)._asdict().items():
            if (name, term) != ("accuracy", "auroc"):
                values[f"part-whole/{name}/{term}"] = float(value)
        samples[f"part-whole/{name}/loss"] = (pair[0] - pair[1]).numpy()
        samples[f"{name} of rearranged"] = pair[1].numpy()
    notes = () if "presence" in intact else (NO_PRESENCE,)
    return Measured(values, [], len(index), samples, notes)


def _look(
    model: Model, data: ImageDataModule, split: SplitName, device: str
) -> tuple[dict[str, Tensor], Tensor]:
    """(N,) what a model says of each image, by quantity, and the images' numbers."""
    found: dict[str, list[Tensor]] = {}
    index = []
    for batch in data.evaluation.batches(split, device):
        index.append(batch.index.cpu())
        if batch.targets.dim() == 2:
            continue
        prediction = model(batch.images)
        log_probabilities = model.log_probabilities(prediction)
        own = batch.targets[:, None]
        said = {
            "accuracy": class_recall(log_probabilities, batch.targets),
            "true class": log_probabilities.gather(1, own)[:, 0].exp(),
            "confidence": log_probabilities.max(dim=1).values.exp(),
        }
        presences = prediction.presences
        if presences is not None and presences.shape == prediction.scores.shape:
            said["presence"] = presences.gather(1, own)[:, 0]
        for name, part in said.items():
            found.setdefault(name, []).append(part.float().cpu())
    return {name: torch.cat(parts) for name, parts in found.items()}, torch.cat(index)
