"""Accuracy under adversarial attacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from capsbench.contracts import Model
from capsbench.data.images import ImageDataModule
from capsbench.errors import UserError
from capsbench.measures._attack_batches import (
    AttackBatch,
    AttackBudget,
    AttackMethod,
    attack_batches,
    classify_batches,
)
from capsbench.measures._attack_draws import wrong_classes
from capsbench.measures._attack_figure import ATTACKS_FIGURE, WORST_CASE
from capsbench.measures._config import MeasureConfig, TestSplit, require_distinct
from capsbench.measures._image_subset import familiar_batches, subset_rows
from capsbench.measures._masked_gradients import GRADIENT_FREE, Attack, masked_gradients
from capsbench.measures._measure import Headline, Measure, MeasureContext, ValueSpec
from capsbench.measures._result import Array, MeasureResult, index_name
from capsbench.values import Condition, Quantity, Value


class AttacksConfig(MeasureConfig):
    """Arguments of the accuracy under attacks.

    Attributes:
        sources: Labels of models of the benchmark from which attacks are transferred, trained with
            the same seed. The model itself among its sources is ignored.
        epsilons: Largest changes of a pixel, in units of the range from black to white, which is 1.
        methods: The suite. ``fgsm``, a single step (Goodfellow et al. 2015); ``bim``, several steps
            (Kurakin et al. 2017); ``pgd``, several steps from a random start (Madry et al. 2018);
            ``apgd-ce`` and ``apgd-dlr``, steps that adapt to each image, on the cross-entropy and
            on a margin that does not depend on the scale of logits (Croce, Hein 2020); ``square``,
            a random search without gradients (Andriushchenko et al. 2020).
        targeted: Also attack each image with a target class, a random wrong one.
        steps: Number of steps of all but ``fgsm`` and ``square``; those of ``bim`` and ``pgd`` are
            of 2.5 epsilon together (Madry et al. 2018).
        restarts: Number of random starts of ``pgd``, APGD and ``square``; only images that no
            earlier start misled are attacked again.
        queries: Number of queries of ``square``, for each image and start.
        images: Largest number of images, the classes in near-equal numbers.
    """

    measure: Literal["attacks"]
    sources: tuple[str, ...] = ()
    epsilons: tuple[Annotated[float, Field(ge=0, le=1)], ...] = Field(
        default=(0.01, 0.03, 0.1, 0.3), min_length=1
    )
    methods: tuple[AttackMethod, ...] = Field(
        default=("fgsm", "pgd", "apgd-ce", "apgd-dlr", "square"), min_length=1
    )
    targeted: bool = False
    steps: int = Field(default=20, ge=1)
    restarts: int = Field(default=1, ge=1)
    queries: int = Field(default=200, ge=1)
    images: int = Field(default=200, ge=1)

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

    White box: attacks know the evaluated model. Those by its gradient fail where it vanishes; the
    share of images without a gradient shows it, and Square needs none. Transferred attacks were
    computed on another model, the source. In the worst case an image counts only if it is right
    unchanged and after every attack of the suite, white box, targeted and transferred, at this and
    all smaller epsilons. Target classes, random starts and squares are drawn by the image's number,
    the same for all models.

    Values have the conditions ``method``, ``epsilon`` and, of a targeted attack, ``targeted``; the
    method of the worst case is ``worst-case``. An accuracy without ``epsilon`` is the mean over
    epsilons, and ``attack: none`` marks unchanged images. See `capsbench.measures._adversarial`,
    `capsbench.measures._apgd`, `capsbench.measures._square` and
    `capsbench.measures._masked_gradients`.
    """

    config = AttacksConfig
    revision = 2
    source = (
        "Goodfellow et al. (2015), Kurakin et al. (2017), Madry et al. (2018), Croce and Hein "
        "(2020), Andriushchenko et al. (2020)"
    )
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
        "masked": ValueSpec(
            "Share of images by which a weaker or gradient-free attack is ahead of those that "
            "should be stronger; 0 unless it is by more than chance (McNemar's exact test, p below "
            "0.05 after Bonferroni's correction). Above 0, the gradient is masked.",
            "share",
        ),
        "passes": ValueSpec(
            "Forward and backward passes of the attacked model for each image, the cost of an "
            "attack.",
        ),
    }
    headlines: ClassVar = (
        Headline(
            Quantity(metric="accuracy", condition={"method": "worst-case"}),
            "Accuracy after the worst attack on each image, mean over epsilons",
        ),
    )
    figures: ClassVar = (ATTACKS_FIGURE,)

    @classmethod
    def needs_gradient(cls, quantity: Quantity) -> bool:
        """All attacks but Square need one, of the attacked model; unchanged images do not.

        The worst case needs one too: without gradients it is not that of the suite.
        """
        is_unchanged = quantity.condition.get("attack") == "none"
        return not is_unchanged and quantity.condition.get("method") not in GRADIENT_FREE

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
        batches = _batches(data, config, context.device)
        unchanged = classify_batches(model, batches[config.targeted])
        context.advance()
        outcomes = {
            Attack(method, label, targeted): attack_batches(
                method,
                config.epsilons,
                AttackBudget(config.steps, config.restarts, config.queries),
                attacked=attacked_model,
                evaluated=model,
                batches=inputs,
                advance=context.advance,
            )
            for label, attacked_model in attacked.items()
            for method in config.methods
            for targeted, inputs in batches.items()
        }
        right = unchanged["accuracy"]
        after = {attack: each["accuracy"] for attack, each in outcomes.items()}
        worst = _worst_case([right.expand(len(config.epsilons), -1), *after.values()], config)
        results = [
            *((_quantity(metric, attack="none"), images) for metric, images in unchanged.items()),
            *(
                (attack.quantity(metric), images)
                for attack, each in outcomes.items()
                for metric, images in each.items()
            ),
            (_quantity("accuracy", method=WORST_CASE), worst),
        ]
        values = [
            value
            for quantity, images in results
            for value in _values(quantity, images, config.epsilons)
        ]
        masked = masked_gradients(
            {attack: right & ~images for attack, images in after.items() if not attack.targeted},
            config.epsilons,
        )
        if masked is not None:
            quantity = _quantity("masked", method=WORST_CASE)
            values += _by_epsilon(quantity, masked.shares, config.epsilons, right.shape[1])
        arrays: dict[str, Array] = {
            index_name(): _concatenate([each.index for each in batches[False]]),
            **{quantity.name: images.numpy() for quantity, images in results},
        }
        if config.targeted:
            classes = [each.target_classes for each in batches[True]]
            arrays["target_class"] = _concatenate([each for each in classes if each is not None])
        notes = tuple(
            f"no attacks from {label}: its trained network was not given; it diverged, or "
            f"'capsbench evaluate' needs --source {label}=FOLDER"
            for label, each in sources.items()
            if each is None
        )
        return MeasureResult(values, arrays, (*notes, *(masked.notes if masked else ())))


def _check_source(model: Model, source: Model) -> Model:
    """Return a source, if it has the image shape and the number of classes of the model."""
    signatures = [(tuple(each.image_shape), each.num_classes) for each in (source, model)]
    if signatures[0] != signatures[1]:
        raise UserError(
            "attacks transfer between models of the same images and classes; the source takes "
            "{} and has {} classes, the model {} and {}".format(*signatures[0], *signatures[1])
        )
    return source


def _batches(
    data: ImageDataModule, config: AttacksConfig, device: str
) -> dict[bool, list[AttackBatch]]:
    """Return the images to attack under False and, if they have target classes too, under True."""
    untargeted = [
        AttackBatch(batch.images, batch.targets, batch.index)
        for batch in familiar_batches(data, device, subset_rows(data, config.images))
    ]
    if not config.targeted:
        return {False: untargeted}
    targeted = [
        replace(
            each,
            target_classes=wrong_classes(
                each.labels, each.index, data.num_classes, "aims of attacks"
            ),
        )
        for each in untargeted
    ]
    return {False: untargeted, True: targeted}


def _worst_case(right: Sequence[Tensor], config: AttacksConfig) -> Tensor:
    """Return images (E, N) that are right in all outcomes (E, N) of this and smaller epsilons.

    An image within a smaller epsilon is within the larger one too.
    """
    order = torch.tensor(config.epsilons).argsort()
    return torch.stack(list(right)).all(dim=0)[order].cumprod(dim=0).bool()[order.argsort()]


def _quantity(metric: str, **condition: Condition) -> Quantity:
    return Quantity(metric=metric, condition=condition)


def _values(quantity: Quantity, images: Tensor, epsilons: Sequence[float]) -> list[Value]:
    """Return the values of outcomes (E, N): by epsilon and, of the accuracy, their mean."""
    n = images.shape[1]
    mean = quantity.with_value(float(images.double().mean()), n)
    if quantity.matches(attack="none"):
        return [mean]
    values = _by_epsilon(quantity, images.double().mean(dim=1), epsilons, n)
    return [*values, mean] if quantity.metric == "accuracy" else values


def _by_epsilon(
    quantity: Quantity, numbers: Tensor, epsilons: Sequence[float], n: int
) -> list[Value]:
    """Return a value of n images for each epsilon, from numbers (E,)."""
    return [
        quantity.model_copy(
            update={"condition": {**quantity.condition, "epsilon": epsilon}}
        ).with_value(number, n)
        for epsilon, number in zip(epsilons, numbers.tolist(), strict=True)
    ]


def _concatenate(parts: Sequence[Tensor]) -> Array:
    result: Array = torch.cat(list(parts)).cpu().numpy()
    return result
