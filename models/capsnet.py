"""One capsule network for every routing."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from capsbench.arguments import NonNegative, Positive
from capsbench.capsules.capsule import Capsules, length, squash
from capsbench.capsules.losses import cross_entropy, margin_loss
from capsbench.capsules.routings import ROUTINGS
from capsbench.capsules.window_layers import SIZE, Pose, Routed
from capsbench.contracts import (
    Batch,
    ImageShape,
    LayerOfInterest,
    Model,
    Prediction,
    one_hot,
    require_size,
)
from capsbench.errors import UserError
from capsbench.models._geometry import LayerWindow, output_size, smallest_input, stride_and_offset
from capsbench.models._stems import StemName, make_stem
from capsbench.representations import AFFINE, Invariant, SpatialMap, whole_strides
from capsbench.search_space import Knob
from capsbench.viewpoint.views import Views

PRIMARY = LayerWindow(3, padding=1)
CLAIM = (
    "the article on capsule networks, section on the two solutions: a view changes poses, and not "
    "the probability that an entity is present"
)
Routing = Literal["dynamic", "em", "self", "vb", "attention", "heinsen", "orthogonal", "average"]
SQUASHED = ("dynamic", "orthogonal", "average")  # whose presences are the lengths of squashed poses


class CapsNet(Model):
    """Capsule network of a stem, primary capsules, capsule layers and class capsules.

    Stem, sizes and routing are arguments. Every layer of capsules has the same votes under every
    routing; class capsules have a window that covers the whole map. Under ``dynamic``,
    ``orthogonal`` and ``average`` the lengths of squashed poses are the presences, and the loss is
    the margin loss, so that the first and the last differ in the routing alone. The others have
    primary presences of their own, and the cross-entropy of logits. Poses and presences of primary
    capsules are 3 x 3 convolutions with batch norm, as in the network that Hahn, Pyeon and Kim
    (2019) compare routings on.

    Args:
        image_shape: (C, H, W) of the images.
        num_classes: K, the number of classes.
        routing: Name of the routing, see `capsbench.capsules.routings`.
        stem: ``conv``, one convolution and a ReLU; ``residual``, six with batch norm; or
            ``timm:NAME``, the deepest map of a network of timm with at most 8 pixels a position.
        channels: Channels of the first convolution of the first two.
        kernel: Width of the window of a ``conv`` stem.
        stride: Step of that window.
        primary_types: Types of primary capsules.
        types: Types of capsules in each layer between them and the classes.
        strides: Step of the window of each of these layers.
        capsule_kernel: Width of their windows, without padding.
        pose: A ``vector`` of 16, or a ``matrix`` of 4 x 4.
        iterations: Routing iterations; without effect on ``self``, ``orthogonal``, ``average``.
        shared: One transformation from all primary capsules, or those between, to each parent.
        pose_gain: Standard deviation of the elements of initial primary poses.
        vote_scale: That of initial votes of such poses, in units of it.
    """

    family: ClassVar[str] = "capsules"
    source: ClassVar[str] = (
        "our own frame for the routings of Sabour et al. (2017), Hinton et al. (2018), Hahn et al. "
        "(2019), Heinsen (2019), Ribeiro et al. (2020), Tsai et al. (2020), Geng et al. (2024)"
    )
    name: ClassVar[str] = "capsnet"
    knobs: ClassVar[Mapping[str, Knob]] = {"iterations": (1, 2, 3)}

    def __init__(
        self,
        *,
        image_shape: ImageShape,
        num_classes: int,
        routing: Routing = "dynamic",
        stem: StemName = "residual",
        channels: Positive = 16,
        kernel: Positive = 9,
        stride: Positive = 1,
        primary_types: Positive = 16,
        types: tuple[Positive, ...] = (),
        strides: tuple[Positive, ...] = (),
        capsule_kernel: Positive = 3,
        pose: Pose = "vector",
        iterations: Positive = 3,
        shared: bool = False,
        pose_gain: NonNegative = 1.0,
        vote_scale: NonNegative = 1.0,
    ) -> None:
        super().__init__(image_shape=image_shape, num_classes=num_classes)
        if len(types) != len(strides):
            raise UserError(
                f"{self.name} needs one stride for each layer of capsule types; got types "
                f"{list(types)} and strides {list(strides)}"
            )
        self.stem = make_stem(stem, image_shape, channels=channels, kernel=kernel, stride=stride)
        self.capsule_windows = [LayerWindow(capsule_kernel, step) for step in strides]
        upper = [PRIMARY, *self.capsule_windows]
        require_size(self.name, image_shape, smallest_input([*self.stem.windows, *upper]))
        self.squashed = routing in SQUASHED
        self.pose = pose
        self.primary_types = primary_types
        features = self.stem.channels
        norm = nn.BatchNorm2d(primary_types * SIZE)
        nn.init.constant_(norm.weight, pose_gain)
        self.primary_poses = nn.Sequential(
            nn.Conv2d(features, primary_types * SIZE, 3, padding=1, bias=False), norm
        )
        self.primary_presences = None
        if not self.squashed:
            self.primary_presences = nn.Sequential(
                nn.Conv2d(features, primary_types, 3, padding=1, bias=False),
                nn.BatchNorm2d(primary_types),
                nn.Sigmoid(),
            )
        widths = (primary_types, *types)
        arguments: dict[str, Any] = {
            "iterations": iterations,
            "pose": pose,
            "vote_scale": vote_scale,
            "shared": shared,
        }
        layer = ROUTINGS[routing]
        square = capsule_kernel, capsule_kernel
        self.capsules = nn.ModuleList(
            layer(in_types=below, out_types=above, kernel=square, stride=step, **arguments)
            for below, above, step in zip(widths, types, strides, strict=False)
        )
        height, width = self.stem.size(*image_shape[1:])
        self.routed_classes = layer(
            in_types=widths[-1],
            out_types=num_classes,
            kernel=(output_size(height, upper), output_size(width, upper)),
            **arguments,
        )
        self.classes = OnlyPosition()

    def advance(self, progress: float) -> None:
        """Update the schedules of all layers."""
        for layer in (*self.capsules, self.routed_classes):
            layer.advance(progress)

    def forward(self, images: Tensor, views: Views | None = None) -> Prediction:
        """Classify images (B, C, H, W) in [0, 1]."""
        features = self.stem(images)
        poses = self.primary_poses(features).permute(0, 2, 3, 1)
        poses = poses.unflatten(-1, (self.primary_types, SIZE))
        if self.primary_presences is None:
            poses = squash(poses)
            presences = length(poses)
        else:
            presences = self.primary_presences(features).permute(0, 2, 3, 1)
        if self.pose == "matrix":
            poses = poses.unflatten(-1, (4, 4))
        capsules = Capsules(poses, presences)
        for layer in self.capsules:
            routed = layer(capsules)
            capsules = Capsules(routed.poses, routed.presences)
        poses, presences, logits = self.classes(self.routed_classes(capsules))
        return Prediction(logits, presences, poses)

    def loss(self, prediction: Prediction, batch: Batch, progress: float) -> Tensor:
        """Compute the margin loss of squashed class capsules, the cross-entropy of others."""
        targets = one_hot(batch.targets, self.num_classes)
        if self.squashed:
            assert prediction.presences is not None
            return margin_loss(prediction.presences, targets)
        return cross_entropy(prediction.scores, targets)

    def layers_of_interest(self) -> Mapping[str, LayerOfInterest]:
        """Return the stem, poses and presences of layers between, and those of the classes.

        Maps move with the image by whole strides: exactly if those of the stem do and parents of
        other positions do not compete for a child, otherwise but for the border. Presences of
        classes are claimed not to change with the view.
        """
        layers = {"stem": self.stem.layer("stem")}
        windows = [*self.stem.windows, PRIMARY]
        for count, window in enumerate(self.capsule_windows):
            windows.append(window)
            stride, offset = stride_and_offset(windows)
            strides = whole_strides(stride)
            if self.stem.moves and not self.routed_classes.across_positions:
                moving = SpatialMap(exact=strides)
            else:
                moving = SpatialMap(claimed=strides, source=CLAIM)
            for kind in ("pose", "presence"):
                layers[f"capsules {count + 1} {kind}s"] = LayerOfInterest(
                    f"capsules.{count}",
                    "pose" if kind == "pose" else "presence",
                    ("pose", "presence").index(kind),
                    stride=stride,
                    offset=offset,
                    transformation=moving,
                )
        still = Invariant(claimed=AFFINE, source=CLAIM)
        layers["class poses"] = LayerOfInterest("classes", "pose", 0)
        layers["class presences"] = LayerOfInterest("classes", "presence", 1, transformation=still)
        return layers


class OnlyPosition(nn.Module):
    """Take the parents of a map of one position."""

    def forward(self, routed: Routed) -> tuple[Tensor, Tensor, Tensor]:
        """Return poses (B, P, ...), presences (B, P) and logits (B, P)."""
        poses, presences, logits = (part[:, 0, 0] for part in routed[:3])
        return poses, presences, logits
