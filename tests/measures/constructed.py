"""A set of turned figures, and networks of which it is known what they know of the turn."""

from abc import abstractmethod

import torch
from torch import nn

from capsbench.contracts import LayerOfInterest, Model, Prediction
from capsbench.data.batches import Split
from capsbench.data.images import Identity, ImageDataModule

SIZE = 20
POSES = "class poses"


class Figures(ImageDataModule):
    """An arm at an angle and a fainter hand, a quarter turn ahead (class 0) or behind (class 1).

    The two classes are mirror images, which no statistic of rings about the centre tells apart.
    """

    identity = Identity("figures", "1", "none")
    image_shape = (1, SIZE, SIZE)
    num_classes = 2
    class_names = ("ahead", "behind")
    source = "made up"
    spread = 360.0  # degrees within which the stored arms point

    def load(self):
        draws = torch.Generator().manual_seed(0)
        rows = torch.arange(640)
        angles = self.spread * (torch.rand(640, generator=draws) - 0.5)
        radii = 4 + 2 * torch.rand(640, generator=draws)
        hands = angles + 90 - 180 * (rows % 2)
        light = blobs(angles, radii) + 0.5 * blobs(hands, radii)
        images = (255 * light.clamp(0, 1)).round().to(torch.uint8)[:, None]
        whole = Split(images, rows % 2, rows)
        return {"train": whole[:20], "validation": whole[20:40], "test": whole[40:]}

    @classmethod
    def availability(cls, data_root):
        return "made up"


class UprightFigures(Figures):
    """The same, with arms that point to the right within 5 degrees."""

    spread = 10.0


def blobs(angles, radii):
    """Return (N, H, W) a blob at an angle, counter-clockwise from the right, and a radius."""
    x, y = grid()
    turns = torch.deg2rad(angles)
    across = x - (radii * turns.cos())[:, None, None]
    down = y + (radii * turns.sin())[:, None, None]
    return torch.exp(-(across.square() + down.square()) / 3)


def grid():
    """Return the coordinates x, to the right, and y, downwards, about the centre, (H, W) each."""
    place = torch.arange(float(SIZE)) - (SIZE - 1) / 2
    return place.expand(SIZE, SIZE), place[:, None].expand(SIZE, SIZE)


class PosesNetwork(Model):
    """A network whose layer `class poses` (B, 2, 2) is a function of the image."""

    def __init__(self):
        super().__init__(image_shape=(1, SIZE, SIZE), num_classes=2)
        self.poses = nn.Identity()
        self.scale = nn.Parameter(torch.ones(()))

    @abstractmethod
    def features(self, images):
        """Return poses (B, 2, 2) and the evidence (B,) for the first class."""

    def forward(self, images, views=None):
        poses, evidence = self.features(images)
        poses = self.poses(poses)
        scores = self.scale * torch.stack([evidence, -evidence], dim=1)
        return Prediction(scores, poses=poses)

    def loss(self, prediction, batch, progress):
        raise AssertionError("a measure trains nothing")

    def layers_of_interest(self):
        return {POSES: LayerOfInterest("poses", "pose")}


class Equivariant(PosesNetwork):
    """Capsules with the true pose, the direction of the arm, from the first two moments of light.

    The class is read from the relation of both, which does not turn with the image.
    """

    def features(self, images):
        x, y = grid()
        place = torch.complex(x, -y)
        light = images[:, 0]
        first = torch.einsum("bhw,hw->b", light.to(place.dtype), place)
        second = torch.einsum("bhw,hw->b", light.to(place.dtype), place.square())
        first, second = (each / each.abs().clamp_min(1e-6) for each in (first, second))
        evidence = -(second * first.conj().square()).imag
        arm = first * torch.complex(torch.tensor(1.0), -0.5 * evidence.sign())  # the hand left out
        poses = [each * sign for each in (arm / arm.abs(),) for sign in (1.0, 1j)]
        return torch.stack([torch.view_as_real(each) for each in poses], dim=1), evidence


class Invariant(PosesNetwork):
    """Light in four rings about the centre, which a turn does not change."""

    def features(self, images):
        x, y = grid()
        radius = (x.square() + y.square()).sqrt()
        rings = nn.functional.one_hot((radius / 2).long().clamp_max(3), 4)
        light = torch.einsum("bhw,hwr->br", images[:, 0], rings.float())
        return light.unflatten(1, (2, 2)), light[:, 1] - light[:, 2]


class Untrained(PosesNetwork):
    """A convolution and a linear layer with random weights."""

    def __init__(self, seed=0):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.layers = nn.Sequential(
                nn.Conv2d(1, 8, 5, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(512, 4)
            )

    def features(self, images):
        numbers = self.layers(images)
        return numbers.unflatten(1, (2, 2)), numbers[:, 0]
