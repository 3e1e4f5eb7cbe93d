"""Accuracy under adversarial attacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from capsbench.contracts import Model
from capsbench.data.images import ImageDataModule
from capsbench.errors import UserError
from capsbench.measures._adversarial import wrong_classes
from capsbench.measures._attack_batches import (
    AttackBatch,
    AttackMethod,
    attack_batches,
    classify_batches,
)
from capsbench.measures._config import MeasureConfig, TestSplit, require_distinct
from capsbench.measures._figures import ConditionFigureSpec, LineSpec
from capsbench.measures._image_subset import familiar_batches, subset_rows
from capsbench.measures._measure import Measure, MeasureContext, ValueSpec
from capsbench.measures._result import Array, MeasureResult, index_name
from capsbench.values import Condition, Quantity, Value


class AttacksConfig(MeasureConfig):
    """Arguments of the accuracy under attacks.

    Attributes:
        sources: Labels of models of the benchmark from which attacks are transferred, trained with
            the same seed. The model itself among its sources is ignored.
        epsilons: Largest changes of a pixel, in units of the range from black to white, which is 1.
        methods: ``fgsm``, a single step (Goodfellow et al. 2015); ``bim``, several steps (Kurakin
            et al. 2017); ``pgd``, several steps from a random start (Madry et al. 2018).
        targeted: Also attack each image with a target class, a random wrong one.
        iterations: Number of steps of ``bim`` and ``pgd``, of 2.5 epsilon together (Madry et al.
            2018).
        images: Largest number of images, the classes in near-equal numbers.
    """

    measure: Literal["attacks"]
    sources: tuple[str, ...] = ()
    epsilons: tuple[Annotated[float, Field(ge=0, le=1)], ...] = Field(
        default=(0.01, 0.03, 0.1, 0.3), min_length=1
    )
    methods: tuple[AttackMethod, ...] = Field(default=("fgsm", "bim"), min_length=1)
    targeted: bool = False
    iterations: int = Field(default=10, ge=1)
    images: int = Field(default=100, ge=1)

    @property
    def required_splits(self) -> tuple[TestSplit, ...]:
        """The familiar images."""
        return ("familiar",)

    @property
    def source_models(self) -> tuple[str, ...]:
        """The sources."""
        return self.sources

    def for_model(self, label: str) -> Self:
        """Return this config for one model: the model itself is removed from the sources."""
        others = tuple(source for source in self.sources if source != label)
        return self.model_copy(update={"sources": others})

    @property
    def num_progress_steps(self) -> int:
        """One step for the unchanged images, then one for each epsilon of each attack."""
        attacks = len(self.methods) * (1 + self.targeted) * (1 + len(self.sources))
        return 1 + len(self.epsilons) * attacks

    @model_validator(mode="after")
    def _check(self) -> Self:
        require_distinct("epsilons", self.epsilons)
        require_distinct("methods", self.methods)
        require_distinct("sources", self.sources)
        return self


class Attacks(Measure[AttacksConfig]):
    """Accuracy on familiar test images that are changed by adversarial attacks.

    White box: attacks climb the gradient of the evaluated model. A model whose gradients vanish
    looks robust; the share of images without a gradient shows it. Transferred attacks were computed
    on another model, the source, and need no gradient of the evaluated one. Target classes and
    random starts are drawn by the image's number, the same for all models.

    Values have the conditions ``method``, ``epsilon`` and, of a targeted attack, ``targeted``; an
    accuracy without ``epsilon`` is the mean over epsilons, and ``attack: none`` marks unchanged
    images. See `capsbench.measures._adversarial`.
    """

    config = AttacksConfig
    source = "Goodfellow et al. (2015), Kurakin et al. (2017), Madry et al. (2018)"
    metrics: ClassVar[Mapping[str, ValueSpec]] = {
        "accuracy": ValueSpec(
            "Share of all attacked images of which every object is recognized.", "share"
        ),
        "target_success": ValueSpec(
            "Share of images of a targeted attack that are classified as the target class.", "share"
        ),
        "zero_gradient": ValueSpec(
            "Share of images for which the attacked model has no gradient at any step, so that the "
            "attack has no direction.",
            "share",
        ),
    }
    figures: ClassVar = (
        ConditionFigureSpec(
            name="attacks",
            title="Adversarial attacks",
            metric="accuracy",
            axis="share of images",
            condition="epsilon",
            condition_axis="epsilon (1 = from black to white)",
            panels=("method", "targeted", "source"),
            names={"fgsm": "FGSM", "bim": "BIM", "pgd": "PGD"},
            further_lines=(
                LineSpec("target_success", "target class"),
                LineSpec("zero_gradient", "no gradient", control=True),
            ),
            at_zero={"attack": "none"},
            caption=(
                "Accuracy on test images that were changed so that the model errs, no pixel by "
                "more than epsilon of the range from black to white; at 0 they are unchanged. FGSM "
                "takes one step along the sign of the gradient of log p (Goodfellow et al. 2015), "
                "BIM several (Kurakin et al. 2017), PGD several from a random start (Madry et al. "
                "2018). Of targeted attacks, 'target class' is the share of images that are "
                "classified as their target class. 'No gradient' is the share of images for which "
                "the attacked model gives no gradient: an attack that knows the model (white box) "
                "cannot climb there, and a model that looks robust may only lack gradients. Images "
                "'from' another model were made to fool that one (a transferred attack), which "
                "needs no gradient of this one."
            ),
        ),
    )

    @classmethod
    def needs_gradient(cls, quantity: Quantity) -> bool:
        """All attacks need one, of the attacked model; unchanged images do not."""
        return quantity.condition.get("attack") != "none"

    @classmethod
    def compute(
        cls, config: AttacksConfig, model: Model, data: ImageDataModule, context: MeasureContext
    ) -> MeasureResult:
        """Attack images on the model and on the context's sources, and classify them by the model.

        Raises:
            UserError: A source has other image shapes or classes than the model.
        """
        sources = {label: context.sources.get(label) for label in config.sources}
        attacked: dict[str | None, Model] = {None: model}
        attacked |= {
            label: _check_source(model, each) for label, each in sources.items() if each is not None
        }
        batches = list(familiar_batches(data, context.device, subset_rows(data, config.images)))
        arrays: dict[str, Array] = {index_name(): _concatenate([each.index for each in batches])}
        untargeted = [AttackBatch(batch, None) for batch in batches]
        batches_by_targeted = {False: untargeted}
        if config.targeted:
            classes = [
                wrong_classes(batch.targets, batch.index, data.num_classes, "aims of attacks")
                for batch in batches
            ]
            arrays["target_class"] = _concatenate(classes)
            batches_by_targeted[True] = [
                AttackBatch(batch, each) for batch, each in zip(batches, classes, strict=True)
            ]
        results = [
            (Quantity(metric=metric, condition={"attack": "none"}), images)
            for metric, images in classify_batches(
                model, batches_by_targeted[config.targeted]
            ).items()
        ]
        context.advance()
        for label, attacked_model in attacked.items():
            for method in config.methods:
                for targeted, inputs in batches_by_targeted.items():
                    condition: dict[str, Condition] = {"method": method}
                    condition |= {"targeted": True} if targeted else {}
                    outcomes = attack_batches(
                        method,
                        config.epsilons,
                        config.iterations,
                        attacked=attacked_model,
                        evaluated=model,
                        batches=inputs,
                        advance=context.advance,
                    )
                    results += [
                        (Quantity(metric=metric, condition=condition, source=label), images)
                        for metric, images in outcomes.items()
                    ]
        arrays |= {quantity.name: images.numpy() for quantity, images in results}
        values = [
            value
            for quantity, images in results
            for value in _values(quantity, images, config.epsilons)
        ]
        notes = tuple(
            f"no attacks from {label}: its trained network was not given; it diverged, or "
            f"'capsbench evaluate' needs --source {label}=FOLDER"
            for label, each in sources.items()
            if each is None
        )
        return MeasureResult(values, arrays, notes)


def _check_source(model: Model, source: Model) -> Model:
    """Return a source, if it has the image shape and the number of classes of the model."""
    signatures = [(tuple(each.image_shape), each.num_classes) for each in (source, model)]
    if signatures[0] != signatures[1]:
        raise UserError(
            "attacks transfer between models of the same images and classes; the source takes "
            "{} and has {} classes, the model {} and {}".format(*signatures[0], *signatures[1])
        )
    return source


def _values(quantity: Quantity, images: Tensor, epsilons: Sequence[float]) -> list[Value]:
    """Return the values of outcomes (E, N): by epsilon and, of the accuracy, their mean."""
    n = images.shape[1]
    mean = quantity.with_value(float(images.double().mean()), n)
    if quantity.matches(attack="none"):
        return [mean]
    values = [
        quantity.model_copy(
            update={"condition": {**quantity.condition, "epsilon": epsilon}}
        ).with_value(share, n)
        for epsilon, share in zip(epsilons, images.double().mean(dim=1).tolist(), strict=True)
    ]
    return [*values, mean] if quantity.metric == "accuracy" else values


def _concatenate(parts: Sequence[Tensor]) -> Array:
    result: Array = torch.cat(list(parts)).cpu().numpy()
    return result
