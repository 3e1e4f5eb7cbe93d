"""Contracts between models and data modules: batches, predictions, and the model itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, NamedTuple, Self, final

import torch
from torch import Tensor, nn

from capsbench.capsules.layer import RoutingLayer
from capsbench.capsules.relative_error import max_or_nan, max_relative_error
from capsbench.errors import UserError
from capsbench.pretrained import Pretrained
from capsbench.representations import Representation
from capsbench.search_space import Knob
from capsbench.viewpoint.views import Views

ImageShape = tuple[int, int, int]

EXPONENT = "probability_exponent"  # name of the buffer in saved weights


@dataclass
class Batch:
    """Images with their targets, views and poses.

    Attributes:
        images: (B, C, H, W), float in [0, 1], already warped to ``views``.
        targets: (B,) class indices, or (B, K) multi-hot where an image holds several objects.
        views: The view of each image relative to the stored one.
        index: (B,) each image's number in its split's source, the same in every run.
        poses: The true poses as recorded, before any warp, if the data has them.
        objects: (B, M, C, H, W), each of an image's M objects alone, in the order of their classes;
            None if an image holds one.
    """

    images: Tensor
    targets: Tensor
    views: Views
    index: Tensor
    poses: Tensor | None = None
    objects: Tensor | None = None

    def __getitem__(self, rows: slice) -> Self:
        """Return some of the images."""
        known: dict[str, Any] = {k: value for k, value in vars(self).items() if value is not None}
        return replace(self, **{name: value[rows] for name, value in known.items()})


class Prediction(NamedTuple):
    """Output of a model for a batch.

    Attributes:
        scores: (B, K), larger for a more likely class; `Model.log_probabilities` makes the scores
            of different models comparable, see `Model.logits`.
        presences: (B, J), of the capsules of the last layer; for class capsules, the probability
            that each class is present.
        poses: (B, J, D) or (B, J, 4, 4), of the same capsules.
        reconstruction: (B, C, H, W) in [0, 1], of the image, or of the image seen from the views
            that `Model.forward` was given.
    """

    scores: Tensor
    presences: Tensor | None = None
    poses: Tensor | None = None
    reconstruction: Tensor | None = None


@dataclass(frozen=True)
class LayerOfInterest:
    """An activation that measures evaluate, recorded by a forward hook.

    Attributes:
        module: Dotted path of the module whose output it is.
        kind: ``vector`` (B, D), ``map`` (B, D, H, W), ``pose`` (B, ..., D) or (B, ..., 4, 4),
            ``presence`` (B, ...).
        output: Index of the item, if the module returns a tuple.
        stride: Input pixels from one position of a map to the next.
        offset: Input pixel, in x and y, of the centre of a map's first position.
        input: True for the module's first input in place of its output.
        transformation: Declaration of how the output transforms with the image, if the model has
            one; the measure ``declared-equivariance`` tests it.
    """

    module: str
    kind: Literal["vector", "map", "pose", "presence"]
    output: int | None = None
    stride: float = 1.0
    offset: float = 0.0
    input: bool = False
    transformation: Representation | None = None


class Model(Pretrained, ABC):
    """An image classifier from images in [0, 1] to a `Prediction`.

    ``save_pretrained(folder)`` saves a trained model and ``from_pretrained(folder)`` loads it. The
    methods ``check_...`` compare values that should be equal, in evaluation mode, and return their
    `capsbench.capsules.relative_error.max_relative_error`.

    Constructors are keyword-only and take ``image_shape`` and ``num_classes`` in addition to their
    own arguments. A model standardises pixels itself, so that epsilon and zero padding mean the
    same for every model.

    Attributes:
        family: Kind of network, by which results are filtered: ``capsules``, ``convolutions``,
            ``linear``, or another word.
        revision: Part of the fingerprint of a training. It rises whenever a change of code changes
            the numbers of the class. A subclass that changes only its own numbers raises its own.
        probability_exponent: () fp32 buffer by which logits are multiplied before the softmax of
            `log_probabilities`, the inverse of a temperature. It is 1 until it is fitted after the
            training, and in weights that were saved without it. No training loss depends on it.
        knobs: Arguments of the constructor that ``--search`` tunes beside learning rate and weight
            decay: by name a `capsbench.search_space.Range`, or a tuple of choices.

    Args:
        image_shape: (C, H, W) of the images.
        num_classes: K, the number of classes.
    """

    family: ClassVar[str] = "other"
    revision: ClassVar[int] = 1
    knobs: ClassVar[Mapping[str, Knob]] = {}

    probability_exponent: Tensor

    @classmethod
    def revision_with(cls, arguments: Mapping[str, Any]) -> int:
        """Return the revision of the model that arguments build; it may hold another model."""
        return cls.revision

    def __init__(self, *, image_shape: ImageShape, num_classes: int) -> None:
        super().__init__()
        self.image_shape = image_shape
        self.num_classes = num_classes
        self.register_buffer(EXPONENT, torch.ones((), dtype=torch.float32))

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Refuse a class with log-probabilities of its own, which no fitted exponent would reach.

        Raises:
            UserError: The class overrides `log_probabilities`, or inherits another one.
        """
        super().__init_subclass__(**kwargs)
        if cls.log_probabilities is not Model.log_probabilities:
            raise UserError(
                f"{cls.__name__} overrides log_probabilities, which is the same for every model; "
                "override logits, which returns log-probabilities up to a constant of each image"
            )

    def __call__(self, images: Tensor, *args: Any, **kwargs: Any) -> Prediction:
        """Call `forward` with a copy of the images.

        A network that normalises its input in place therefore changes nothing that others see: the
        target of a reconstruction, an attack, or the next pass over the same batch.
        """
        prediction: Prediction = super().__call__(images.clone(), *args, **kwargs)
        return prediction

    @abstractmethod
    def forward(self, images: Tensor, views: Views | None = None) -> Prediction:
        """Classify images (B, C, H, W) in [0, 1].

        Args:
            images: The images, which may be changed in place.
            views: Views of the reconstruction, relative to the images, for a model that can render
                them; other models ignore them.
        """

    @abstractmethod
    def loss(self, prediction: Prediction, batch: Batch, progress: float) -> Tensor:
        """Return the training loss, a scalar averaged over the batch.

        A `Task` calls it with at least one image. The losses of `capsbench.capsules` are 0 without.

        Args:
            prediction: Output of `forward` for the batch.
            batch: The batch; ``targets`` may be class indices or multi-hot.
            progress: Completed share of the training, in [0, 1], for schedules.
        """

    def logits(self, prediction: Prediction) -> Tensor:
        """Return the log-probabilities (B, K), fp32, up to a constant of each image.

        By default they are the scores. A model whose scores are presences returns their logarithms.
        They are in the order of the scores, and do not depend on `probability_exponent`.
        """
        return prediction.scores.float()

    @final
    def log_probabilities(self, prediction: Prediction) -> Tensor:
        """Return the log-probabilities (B, K), fp32, which every measure uses for every model.

        They are the log-softmax of `probability_exponent` times `logits`: temperature scaling (Guo
        et al. 2017, section 4.2). The exponent is positive and changes no order of classes.
        """
        return torch.log_softmax(self.probability_exponent * self.logits(prediction), dim=-1)

    def advance(self, progress: float) -> None:
        """Update schedules before a training step.

        A schedule inside `forward`, such as an inverse temperature, is kept in a buffer, so that a
        checkpoint contains the value of its last step.

        Args:
            progress: Completed share of the training, in [0, 1].
        """

    def layers_of_interest(self) -> Mapping[str, LayerOfInterest]:
        """Return the activations that measures evaluate, by their name in figures."""
        return {}

    def addressed_modules(self) -> dict[str, nn.Module]:
        """Return the modules by their dotted paths, which name the layers of interest."""
        return {path: module for path, module in self.named_modules() if path}

    def check_batch_independence(self, images: Tensor) -> float:
        """Check that an image's prediction does not depend on the other images of a batch.

        Args:
            images: (B, C, H, W), with B > 1; they are compared with two batches of half of them.
        """
        with self._evaluating():
            together = self._outputs(images)
            halves = [self._outputs(half) for half in images.chunk(2)]
        parts = zip(*halves, strict=True)
        return max_or_nan(
            *(
                max_relative_error(batched, torch.cat(half))
                for batched, half in zip(together, parts, strict=True)
            )
        )

    def check_determinism(self, images: Tensor) -> float:
        """Check that two evaluations of images (B, C, H, W) agree: nothing is drawn at random."""
        with self._evaluating():
            first, again = self._outputs(images), self._outputs(images)
        return max_or_nan(
            *(max_relative_error(one, other) for one, other in zip(again, first, strict=True))
        )

    def check_couplings(self, images: Tensor) -> float:
        """Check that the coupling coefficients of each child sum to one (article, eq. 8, 29).

        Args:
            images: (B, C, H, W).

        Returns:
            The largest error of all routing layers; 0 for a model without any.
        """
        errors = [0.0]

        def check(layer: nn.Module, args: tuple[Any, ...]) -> None:
            assert isinstance(layer, RoutingLayer)
            errors.append(layer.check_couplings(*args))

        layers = [layer for layer in self.modules() if isinstance(layer, RoutingLayer)]
        hooks = [layer.register_forward_pre_hook(check) for layer in layers]
        try:
            with self._evaluating():
                self(images)
        finally:
            for hook in hooks:
                hook.remove()
        return max_or_nan(*errors)

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        """Load weights; the exponent of weights that were saved without one is 1.

        Weights of earlier versions, and of networks that were trained elsewhere, have none. This is
        the only name that weights may lack.
        """
        state_dict.setdefault(prefix + EXPONENT, torch.ones((), dtype=torch.float32))
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _outputs(self, images: Tensor) -> list[Tensor]:
        """Return copies of the outputs, which the next pass may overwrite in a buffer.

        Integers and half precision become float32, in which differences do not overflow.
        """
        return [
            part.to(torch.promote_types(part.dtype, torch.float32), copy=True)
            for part in self(images)
            if part is not None
        ]

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        """Evaluate without gradients, then set each module back to its mode."""
        modes = [(module, module.training) for module in self.modules()]
        self.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            for module, mode in modes:
                module.training = mode


class MaxPool(nn.Module):
    """Base class of max-pooling modules on maps (B, D, H, W).

    Measures compare the input and the output of each instance.
    """


def one_hot(targets: Tensor, num_classes: int) -> Tensor:
    """Return class indices (B,) or multi-hot targets (B, K) as float (B, K)."""
    if targets.dim() == 2:
        return targets.float()
    return nn.functional.one_hot(targets, num_classes).float()


def one_hot_by_object(targets: Tensor, count: int) -> Tensor:
    """Return the class of each object of an image, in the order of the classes.

    Args:
        targets: (B, K) multi-hot, with ``count`` ones in each row.
        count: M, the number of objects.

    Returns:
        (B, M, K) one-hot.
    """
    numbers = torch.arange(1, count + 1, device=targets.device)[:, None]
    return targets[:, None] * (targets.cumsum(dim=1)[:, None] == numbers)


def class_recall(scores: Tensor, targets: Tensor) -> Tensor:
    """Return the share of each image's M objects that is among its M most likely classes.

    An image is classified correctly if its recall is 1. With one object, the most likely class is
    then the target; with several, all of them are predicted, as Sabour et al. (2017), section 6,
    count. The mean recall is the accuracy by object, which other authors report.

    Args:
        scores: (B, K), logits, or numbers in their order. Logits decide: probabilities that are
            computed from them can be rounded to equal numbers.
        targets: (B,) class indices, or (B, K) multi-hot.

    Returns:
        (B,) in [0, 1], fp32.
    """
    predicted = predicted_classes(scores, targets)
    present = one_hot(targets, scores.shape[1]) > 0
    return (present & predicted).sum(dim=-1) / present.sum(dim=-1)


def predicted_classes(scores: Tensor, targets: Tensor) -> Tensor:
    """Return (B, K) bool, the most likely class of each image, or the M most likely of M objects.

    If any score is NaN or infinite, no class is predicted; minus infinity is a class that is ruled
    out, unless all are.
    """
    known = scores.amax(dim=-1, keepdim=True).isfinite()
    if targets.dim() == 1:
        return one_hot(scores.argmax(-1), scores.shape[1]).bool() & known
    ranks = scores.argsort(dim=-1, descending=True).argsort(dim=-1)
    return (ranks < (targets > 0).sum(dim=-1, keepdim=True)) & known


def require_size(model: str, image_shape: ImageShape, smallest: int) -> None:
    """Refuse images that are too small for a model.

    Raises:
        UserError: Height or width lies below ``smallest`` pixels.
    """
    _, height, width = image_shape
    if min(height, width) < smallest:
        raise UserError(
            f"{model} needs images of at least {smallest} x {smallest} pixels "
            f"with these arguments; got {height} x {width}"
        )
