"""A module that gives logits, as a model of the benchmark."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from capsbench.capsules.losses import cross_entropy
from capsbench.contracts import (
    Batch,
    ImageShape,
    LayerOfInterest,
    Model,
    Prediction,
    one_hot,
)
from capsbench.errors import UserError, in_one_line
from capsbench.profiling.device import device_of
from capsbench.wrapping.channels import channels_taken, repeat_channels
from capsbench.wrapping.outputs import Key, select_logits

FEATURES = "features"


class LogitsModel(Model):
    """A module that returns logits, with cross-entropy as its loss.

    The module is tried on a black image when it is wrapped, so that a network that does not fit the
    images or classes is refused before anything is trained. Images with fewer channels than its
    first convolution takes are repeated in turn. The input of the classifier is the layer of
    interest ``features``: that of the linear layer of K outputs that is called last.

    Attributes:
        channels: Number of channels that the module is given.

    Args:
        module: Images (B, C, H, W) in, logits (B, K) out, or a tuple, dict or dataclass with them.
        image_shape: (C, H, W).
        num_classes: K.
        output_key: Index or name of the logits in an output that is no tensor.
        mean: Mean of each channel of the images with which the module was trained elsewhere, or
            one for all channels, which is subtracted from images in [0, 1].
        std: Standard deviation of each channel, or one for all, by which images are then divided.

    Raises:
        UserError: The module cannot classify such images, or the mean or standard deviation does
            not fit them.
    """

    mean: Tensor | None
    std: Tensor | None

    def __init__(
        self,
        module: nn.Module,
        *,
        image_shape: ImageShape,
        num_classes: int,
        output_key: Key | None = None,
        mean: Sequence[float] | None = None,
        std: Sequence[float] | None = None,
    ) -> None:
        super().__init__(image_shape=image_shape, num_classes=num_classes)
        self.module = module
        self.output_key = output_key
        # Not part of the weights: the arguments are saved.
        for name, values in (("mean", mean), ("std", std)):
            column = None if values is None else _column(name, values, device_of(module))
            self.register_buffer(name, column, persistent=False)
        self.channels = image_shape[0]
        self._features: str | None = None
        self._try_module()

    def forward(self, images: Tensor, views: Any = None) -> Prediction:
        """Classify images (B, C, H, W) in [0, 1]."""
        inputs = repeat_channels(images, self.channels)
        if self.mean is not None:
            inputs = inputs - self.mean
        if self.std is not None:
            inputs = inputs / self.std
        logits = select_logits(self.module(inputs), self.output_key, self._name)
        expected = (len(images), self.num_classes)
        if logits.shape != expected:
            raise UserError(
                f"expected logits of shape {expected} from {self._name}, got "
                f"{tuple(logits.shape)}; give the module one output for each class"
            )
        return Prediction(logits)

    def loss(self, prediction: Prediction, batch: Batch, progress: float) -> Tensor:
        """Return the cross-entropy, divided equally among the objects of an image."""
        return cross_entropy(prediction.scores, one_hot(batch.targets, self.num_classes))

    def layers_of_interest(self) -> Mapping[str, LayerOfInterest]:
        """Return ``features``, the input of the linear classifier, if there is one."""
        if self._features is None:
            return {}
        return {FEATURES: LayerOfInterest(self._features, "vector", input=True)}

    def addressed_modules(self) -> dict[str, nn.Module]:
        """Return the modules by their dotted paths within the wrapped module.

        None of a compiled graph, whose modules run no hooks.
        """
        if self.is_graph:
            return {}
        return {path: each for path, each in self.module.named_modules() if path}

    @property
    def is_graph(self) -> bool:
        """True for a compiled graph, of TorchScript or exported."""
        return isinstance(self.module, torch.jit.ScriptModule | FixedMode)

    @property
    def _name(self) -> str:
        return class_name(self.module)

    def _try_module(self) -> None:
        """Classify a black image; find the number of channels and the layer of features.

        Raises:
            UserError: The module cannot classify such images, or returns no logits of the classes.
        """
        own = self.channels
        columns = {"mean": self.mean, "std": self.std}
        counts = {name: len(each) for name, each in columns.items() if each is not None}
        for name, count in counts.items():
            if count > 1:
                self._give_channels(count, f"{name} is given for")
        try:
            self._classify_black_image()
        except UserError:
            raise
        except Exception as error:  # a user's network may raise anything
            taken = channels_taken(self.module)
            for name, count in counts.items():
                if taken is not None and count not in (1, taken):
                    raise UserError(
                        f"{name} has {count} values; expected 1, or one for each of the {taken} "
                        f"channels that {self._name} takes"
                    ) from None
            if taken is None or taken == self.channels:
                raise self._cannot_classify(error) from error
            self._give_channels(taken, f"{self._name} takes")
            try:
                self._classify_black_image()
            except UserError:
                raise
            except Exception as again:  # the same with other channels
                self.channels = own
                raise self._cannot_classify(again) from again

    def _give_channels(self, channels: int, reason: str) -> None:
        own = self.image_shape[0]
        if channels < own:
            raise UserError(
                f"{reason} {channels} of the images' {own} channels; build the network for {own} "
                "channels, or choose data with fewer"
            )
        self.channels = channels

    def _cannot_classify(self, error: Exception) -> UserError:
        shape = "x".join(map(str, self.image_shape))
        reason = in_one_line(error, type(self.module).__module__)
        return UserError(f"{self._name} cannot classify images of {shape}: {reason}")

    def _classify_black_image(self) -> None:
        """Classify one image in evaluation mode, and record the linear classifier of vectors."""
        called: list[str] = []

        def record(path: str) -> Any:
            def hook(_module: nn.Module, args: tuple[Any, ...]) -> None:
                if args and isinstance(args[0], Tensor) and args[0].dim() == 2:
                    called.append(path)

            return hook

        hooks = [
            each.register_forward_pre_hook(record(path))
            for path, each in self.addressed_modules().items()
            if isinstance(each, nn.Linear) and each.out_features == self.num_classes
        ]
        try:
            with self._evaluating():
                self(torch.zeros(1, *self.image_shape, device=device_of(self.module)))
        finally:
            for hook in hooks:
                hook.remove()
        self._features = called[-1] if called else None


class FixedMode(nn.Module):
    """A module whose mode, training or evaluation, was fixed when it was exported.

    Args:
        module: The exported module, which refuses ``train()`` and ``eval()``.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, images: Tensor) -> Any:
        """Call the module."""
        return self.module(images)

    def train(self, mode: bool = True) -> FixedMode:
        """Leave the module as it is."""
        self.training = mode
        return self


def _column(name: str, values: Sequence[float], device: torch.device | str) -> Tensor:
    """Return numbers of channels as a column (C, 1, 1).

    Raises:
        UserError: There are none, one is not finite, or a standard deviation is not positive.
    """
    numbers = [float(value) for value in values]
    positive = name != "std" or all(number > 0 for number in numbers)
    if not (numbers and positive and all(map(math.isfinite, numbers))):
        kind = "positive numbers" if name == "std" else "numbers"
        raise UserError(f"{name} must be {kind}, one or one for each channel; got {numbers}")
    return torch.tensor(numbers, device=device)[:, None, None]


def class_name(module: nn.Module) -> str:
    """Return the name of a module's class, without the wrappers of this package and TorchScript."""
    if type(module) in (LogitsModel, FixedMode):
        return class_name(module.get_submodule("module"))
    scripted = isinstance(module, torch.jit.ScriptModule)
    return str(module.original_name) if scripted else type(module).__name__
