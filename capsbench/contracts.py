"""What models and data modules exchange: batches, predictions, and the model's own contract."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from capsbench.capsules.layer import RoutingLayer
from capsbench.capsules.relative_error import max_or_nan, max_relative_error
from capsbench.errors import UserError
from capsbench.pretrained import Pretrained
from capsbench.viewpoint.views import Views

ImageShape = tuple[int, int, int]


@dataclass
class Batch:
    """Images with everything that is known of them.

    Attributes:
        images: (B, C, H, W), float in [0, 1], already seen from ``views``.
        targets: (B,) class indices, or (B, K) multi-hot where an image holds several objects.
        views: The view of each image relative to the stored one.
        index: (B,) each image's number in its split's source, the same in every run.
        poses: The true poses where the data knows them, as recorded: before any warp.
        objects: (B, M, C, H, W), each of an image's M objects alone, in the order of their classes;
            None where an image holds one.
    """

    images: Tensor
    targets: Tensor
    views: Views
    index: Tensor
    poses: Tensor | None = None
    objects: Tensor | None = None


class Prediction(NamedTuple):
    """What a model says about a batch.

    Attributes:
        scores: (B, K), larger for a likelier class; comparable by `Model.log_probabilities`.
        presences: (B, J), of the capsules of the last layer; of a classifier's class capsules it is
            the probability that each class is present.
        poses: (B, J, D) or (B, J, 4, 4), of the same capsules.
        reconstruction: (B, C, H, W) in [0, 1], of the image, or of what it would look like from
            the views that the model was told.
    """

    scores: Tensor
    presences: Tensor | None = None
    poses: Tensor | None = None
    reconstruction: Tensor | None = None


@dataclass(frozen=True)
class LayerOfInterest:
    """An activation that measures look at, found by a forward hook.

    Attributes:
        module: Dotted path of the module whose output it is.
        kind: ``vector`` (B, D), ``map`` (B, D, H, W), ``pose`` (B, ..., D) or (B, ..., 4, 4),
            ``presence`` (B, ...).
        output: Which item, where the module returns a tuple.
        stride: Input pixels from one place of a map to the next.
        offset: Input pixel, in x and y, of the centre of a map's first place.
    """

    module: str
    kind: Literal["vector", "map", "pose", "presence"]
    output: int | None = None
    stride: float = 1.0
    offset: float = 0.0


class Model(Pretrained, ABC):
    """An image classifier: images in [0, 1] in, `Prediction` out.

    ``save_pretrained(folder)`` and ``from_pretrained(folder)`` keep a trained one. The questions
    ``check_...`` compare, in evaluation mode, what should be equal, and answer with a
    `capsbench.capsules.relative_error.max_relative_error`.

    Constructors are keyword-only and take ``image_shape`` and ``num_classes`` beside arguments of
    their own. Standardisation of pixels happens inside, so that epsilon and zero padding mean the
    same for every model.

    Attributes:
        revision: Part of the fingerprint of a training. It rises whenever a change of code changes
            the numbers of the class. A subclass that changes only its own numbers raises its own.

    Args:
        image_shape: (C, H, W) of the images.
        num_classes: K.
    """

    revision: ClassVar[int] = 1

    def __init__(self, *, image_shape: ImageShape, num_classes: int) -> None:
        super().__init__()
        self.image_shape = image_shape
        self.num_classes = num_classes

    @abstractmethod
    def forward(self, images: Tensor, views: Views | None = None) -> Prediction:
        """Classify images (B, C, H, W) in [0, 1].

        Args:
            images: The images.
            views: Views from which to show them, seen from where they stand now, for a model that
                can render; others ignore them.
        """

    @abstractmethod
    def loss(self, prediction: Prediction, batch: Batch, progress: float) -> Tensor:
        """The training loss, a scalar averaged over the batch.

        Args:
            prediction: What `forward` returned for the batch.
            batch: The batch; ``targets`` may be class indices or multi-hot.
            progress: Share of the training that is over, in [0, 1], for schedules.
        """

    def log_probabilities(self, prediction: Prediction) -> Tensor:
        """(B, K) log-probabilities, so that attacks and calibration treat every model alike."""
        return torch.log_softmax(prediction.scores.float(), dim=-1)

    def advance(self, progress: float) -> None:
        """Told before each training step how much of the training is over, in [0, 1].

        A schedule inside `forward`, such as an inverse temperature, is kept in a buffer here, so
        that a checkpoint carries the value that it was trained with.
        """

    def layers_of_interest(self) -> Mapping[str, LayerOfInterest]:
        """The activations that measures look at, by the name that figures show."""
        return {}

    def addressed_modules(self) -> dict[str, nn.Module]:
        """Its modules by the dotted paths by which layers are named."""
        return {path: module for path, module in self.named_modules() if path}

    def check_batch_independence(self, images: Tensor) -> float:
        """Whether an image's prediction is the same beside others as alone.

        Args:
            images: (B, C, H, W), with B > 1.
        """
        with self._evaluating():
            together = self(images)
            alone = [self(image[None]) for image in images]
        parts = zip(*alone, strict=True)
        return max_or_nan(
            *(
                max_relative_error(beside, torch.cat(one_by_one))
                for beside, one_by_one in zip(together, parts, strict=True)
                if beside is not None
            )
        )

    def check_determinism(self, images: Tensor) -> float:
        """Whether images (B, C, H, W) are seen the same twice: evaluation draws nothing."""
        with self._evaluating():
            first, again = self(images), self(images)
        return max_or_nan(
            *(
                max_relative_error(one, other)
                for one, other in zip(again, first, strict=True)
                if one is not None
            )
        )

    def check_normalization(self, images: Tensor) -> float:
        """Whether the probabilities of the classes of images (B, C, H, W) sum to one."""
        with self._evaluating():
            sums = self.log_probabilities(self(images)).exp().sum(dim=1)
        return max_relative_error(sums, torch.ones_like(sums))

    def check_couplings(self, images: Tensor) -> float:
        """Whether routing shares each child out, over its parents (article, eq. 8, 29).

        Args:
            images: (B, C, H, W).

        Returns:
            The largest deviation of all routing layers; 0 for a model without any.
        """
        found = [0.0]

        def ask(layer: nn.Module, args: tuple[Any, ...]) -> None:
            assert isinstance(layer, RoutingLayer)
            found.append(layer.check_couplings(*args))

        layers = [layer for layer in self.modules() if isinstance(layer, RoutingLayer)]
        hooks = [layer.register_forward_pre_hook(ask) for layer in layers]
        try:
            with self._evaluating():
                self(images)
        finally:
            for hook in hooks:
                hook.remove()
        return max_or_nan(*found)

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        """Evaluation without gradients; afterwards each module is in its mode again."""
        modes = [(module, module.training) for module in self.modules()]
        self.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            for module, mode in modes:
                module.training = mode


class MaxPool(nn.Module):
    """A module that keeps the largest of several values of a map (B, D, H, W).

    Measures ask of it what goes in and what comes out.
    """


def one_hot(targets: Tensor, num_classes: int) -> Tensor:
    """Class indices (B,) or multi-hot targets (B, K) as float (B, K)."""
    if targets.dim() == 2:
        return targets.float()
    return nn.functional.one_hot(targets, num_classes).float()


def each_object(targets: Tensor, count: int) -> Tensor:
    """The classes of the objects in each image, one by one, in their order.

    Args:
        targets: (B, K) multi-hot, with ``count`` ones in each row.
        count: M.

    Returns:
        (B, M, K) one-hot.
    """
    numbers = torch.arange(1, count + 1, device=targets.device)[:, None]
    return targets[:, None] * (targets.cumsum(dim=1)[:, None] == numbers)


def class_recall(log_probabilities: Tensor, targets: Tensor) -> Tensor:
    """Which share of the objects in each image is among as many of the likeliest classes.

    An image is right where it is 1: with one object, where the likeliest class is the target; with
    several, where all of them are the likeliest, as Sabour et al. (2017), section 6, count. The
    mean of the shares themselves is what others count, object by object.

    Args:
        log_probabilities: (B, K).
        targets: (B,) class indices, or (B, K) multi-hot.

    Returns:
        (B,) in [0, 1], fp32.
    """
    likeliest = likeliest_classes(log_probabilities, targets)
    present = one_hot(targets, log_probabilities.shape[1]) > 0
    return (present & likeliest).sum(dim=-1) / present.sum(dim=-1)


def likeliest_classes(log_probabilities: Tensor, targets: Tensor) -> Tensor:
    """(B, K) bool: the likeliest class of each image, or the M likeliest of M objects.

    An image of whose numbers any is NaN has none: what diverged is never right.
    """
    known = ~log_probabilities.isnan().any(dim=-1, keepdim=True)
    if targets.dim() == 1:
        return one_hot(log_probabilities.argmax(-1), log_probabilities.shape[1]).bool() & known
    ranks = log_probabilities.argsort(dim=-1, descending=True).argsort(dim=-1)
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
