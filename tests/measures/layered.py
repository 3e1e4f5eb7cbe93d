"""Models whose layers are known functions of the image, and sets of noise images."""

from dataclasses import replace

import torch
from torch import nn
from torch.nn.functional import conv2d, one_hot

from capsbench.contracts import LayerOfInterest, Model, Prediction
from capsbench.data.batches import Split
from capsbench.data.images import Identity, ImageDataModule


class Function(nn.Module):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, images):
        return self.function(images)


class Layered(Model):
    """A model of layers by name: (function of the image, kind, and fields of the layer)."""

    def __init__(self, shape=(1, 32, 32), num_classes=10, **layers):
        super().__init__(image_shape=shape, num_classes=num_classes)
        self.functions = nn.ModuleDict({name: Function(one[0]) for name, one in layers.items()})
        self.layers = {
            name: LayerOfInterest(f"functions.{name}", kind, **dict(more[0] if more else {}))
            for name, (_, kind, *more) in layers.items()
        }
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, images, views=None):
        for function in self.functions.values():
            function(images)
        middle = images[:, 0, images.shape[2] // 2]
        return Prediction(self.scale * middle[:, -self.num_classes :])

    def loss(self, prediction, batch, progress):
        raise AssertionError("a measure trains nothing")

    def layers_of_interest(self):
        return self.layers


class NoiseImages(ImageDataModule):
    """Test images of noise, 4 x 4 pixels, two classes."""

    identity = Identity("noise", "1", "none")
    image_shape = (1, 4, 4)
    num_classes = 2
    class_names = ("a", "b")
    source = "made up"

    def load(self):
        draws = torch.Generator().manual_seed(0)
        images = torch.randint(0, 256, (640, 1, 4, 4), generator=draws, dtype=torch.uint8)
        whole = Split(images, torch.arange(640) % 2, torch.arange(640))
        return {"train": whole[:20], "validation": whole[20:40], "test": whole[40:]}

    @classmethod
    def availability(cls, data_root):
        return "made up"


class TwoClassNoise(NoiseImages):
    """The same images, labelled with both classes."""

    def on_after_batch_transfer(self, batch, dataloader_idx):
        batch = super().on_after_batch_transfer(batch, dataloader_idx)
        return replace(batch, targets=one_hot(batch.targets, 2) * 0 + 1)


def random(*size, seed=0):
    return torch.randn(size, generator=torch.Generator().manual_seed(seed))


def convolution(kernel, *, stride=1):
    """Return a convolution with zero padding."""

    def apply(images):
        return conv2d(images, kernel, stride=stride, padding=kernel.shape[-1] // 2)

    return apply


def orbit_mean(function):
    """Return the mean of a function over quarter turns of the image, invariant to them."""

    def apply(images):
        return torch.stack([function(images.rot90(turn, (2, 3))) for turn in range(4)]).mean(0)

    return apply
