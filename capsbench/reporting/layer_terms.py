"""What is drawn layer by layer, and what a reader is told of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from capsbench.reporting.aggregate import keys
from capsbench.reporting.results import Cell
from capsbench.reporting.formatting import FACTORS

FACTOR = "{factor}"


@dataclass(frozen=True)
class Line:
    """One quantity of every layer.

    Attributes:
        key: Of the record, what stands before ``@<layer>``; `FACTOR` in it stands for a factor.
        name: What the legend calls it.
        control: Whether it says what is found where there is nothing to find.
    """

    key: str
    name: str
    control: bool = False


@dataclass(frozen=True)
class LayerFigure:
    """A figure with a column for each model and, where keys name factors, a row for each factor.

    Attributes:
        name: Of its file.
        measure: Whose values it draws.
        title: Its heading.
        axis: What the vertical axis counts.
        lines: What is drawn.
        references: Heights at which a line helps to read.
        caption: What it shows, how to read it, the definition, the source.
        floor: Of shares that cannot exceed 1: what lies below is drawn there, since a fit that is
            wrong has no lower bound; and no interval is drawn beyond 1.
    """

    name: str
    measure: str
    title: str
    axis: str
    lines: tuple[Line, ...]
    references: tuple[float, ...]
    caption: str
    floor: float | None = None

    def drawn_at(self, height: float) -> float:
        """Where a value, or the end of an interval, is drawn."""
        return height if self.floor is None else min(max(height, self.floor), 1.0)

    def factors(self, cells: Sequence[Cell]) -> list[str]:
        """The factors of which any of these cells has a value, or one empty name for them all."""
        found: dict[str, None] = {}
        for key in keys(cells, measure=self.measure):
            stem = key.partition("@")[0]
            for line in self.lines:
                pattern = re.escape(line.key).replace(re.escape(FACTOR), f"({'|'.join(FACTORS)})")
                if match := re.fullmatch(pattern, stem):
                    found[match[1] if FACTOR in line.key else ""] = None
        return list(found)

    def layers(self, cells: Sequence[Cell], factor: str) -> list[str]:
        """The layers that have a value, in the order of the record."""
        wanted = {line.key.replace(FACTOR, factor) for line in self.lines}
        parts = (key.partition("@") for key in keys(cells, measure=self.measure))
        return list(dict.fromkeys(layer for stem, _, layer in parts if stem in wanted))


LAYER_FIGURES = (
    LayerFigure(
        name="invariance",
        measure="invariance-error",
        title="What stays as it is: invariance error",
        axis="error",
        lines=(
            Line("{factor}/invariance/error", "beside other images"),
            Line("{factor}/invariance/class error", "beside images of the same class"),
        ),
        references=(0.0, 1.0),
        caption=(
            "How far a layer's features f move when the image x moves. At 0 nothing changes: "
            "f(Tx) = f(x). At 1 the moved image lies as far away as another image does, and above "
            "that even farther. The error is √E d²(f(Tx), f(x)) divided by the geometric mean of "
            "√E d²(f(x), f(x′)) and √E d²(f(Tx), f(Tx′)), d the Euclidean distance and x′ another "
            "image, so that features do not look invariant because they are all alike; over the "
            "views of the grid mean squares are averaged. Source: the article's equation 0."
        ),
    ),
    LayerFigure(
        name="spatial-equivariance",
        measure="spatial-equivariance",
        title="What moves with the image: spatial equivariance error",
        axis="error",
        lines=(
            Line("{factor}/equivariance/spatial/error", "error"),
            Line("{factor}/equivariance/fibre/error", "error, poses turned by a fitted map"),
            Line("{factor}/equivariance/interpolation/error", "moved there and back", control=True),
        ),
        references=(0.0, 1.0),
        caption=(
            "Whether a layer's map is the same, but moved, when the image is moved: "
            "f(Tx) = T f(x). At 0 it is; at 1 the two maps differ as the maps of different images "
            "do. The control is what is lost when the map itself is moved there and back, which "
            "interpolates twice: an error of half of it is what a perfect map would have. The "
            "definition is that of the invariance error with T f(x) in place of f(x), T carried "
            "out in the map's own grid of places, of those that stay within it. Capsules' poses "
            "also change in themselves, so for them one affine map of the pose, the same at all "
            "places, is fitted to other images. Source: the article's equation 3."
        ),
    ),
    LayerFigure(
        name="linear-equivariance",
        measure="linear-equivariance",
        title="Is there a map T for which f(Tx) = T f(x)?",
        axis="share",
        lines=(
            Line("equivariance/linear/beyond_controls", "explained beyond the controls"),
            Line("equivariance/linear/explained", "explained"),
            Line("equivariance/linear/shuffled", "explained for shuffled pairs", control=True),
        ),
        references=(0.0, 1.0),
        caption=(
            "For each view and each class an affine map A is fitted from features f(x) to features "
            "f(Tx) and tried on images that were held out, all layers in equally many principal "
            "components. Explained is 1 − E|f(Tx) − A f(x)|² / E|f(Tx) − f(x)|²: 1 if the map "
            "foretells the change of each image, 0 if it does no better than 'nothing changes', "
            "which is the control at the line 0. The dashed control is a map fitted to pairs "
            "shuffled within the class, which can foretell no more than the class's mean. Beyond "
            "the controls is what is left: 1 for a representation that is equivariant, 0 where a "
            "control does as well. What lies below −0.5 is drawn there. Source: after Lenc and "
            "Vedaldi (2015); the article's equation 3."
        ),
        floor=-0.5,
    ),
    LayerFigure(
        name="group-law",
        measure="linear-equivariance",
        title="Do the maps compose as the views do?",
        axis="share",
        lines=(
            Line("{factor}/equivariance/group/deviation", "deviation"),
            Line("{factor}/equivariance/group/distance", "distance from no change"),
            Line("{factor}/equivariance/group/floor", "deviation of halves of the data", True),
        ),
        references=(0.0,),
        caption=(
            "Moving twice should be one longer move. The deviation is "
            "E|(A_gh − A_g A_h) f|² / E|A_gh f|² on held-out images, A_g a fitted map as above; "
            "where the views are a whole group, fitted to images seen from every one of them. At "
            "the dashed noise floor (what maps fitted to two halves of the images "
            "differ by) the maps are a representation of the group of views. Where the distance "
            "|A − I| is near 0 the law says nothing: a map that changes nothing passes it. Source: "
            "the definition of a group representation."
        ),
    ),
    LayerFigure(
        name="lie-derivative",
        measure="lie-derivative",
        title="How fast features change as the image begins to move",
        axis="rate",
        lines=(
            Line("{factor}/lie/invariance", "as they are"),
            Line("{factor}/lie/equivariance", "after moving the map back"),
        ),
        references=(0.0,),
        caption=(
            "The root mean square derivative of a layer's features at the unmoved image, relative "
            "to the root mean square distance between the features of two images: per pixel "
            "of shift, per degree of rotation and shear, per unit of "
            "log scale. As they are, 0 means invariance; after the map of features has been moved "
            "back, 0 means equivariance. No step size is chosen: the derivative is exact, of an "
            "image interpolated without kinks. Source: Gruver et al. (2022)."
        ),
    ),
    LayerFigure(
        name="pose-readout",
        measure="pose-readout",
        title="Can the view be read from the features?",
        axis="held-out R²",
        lines=(
            Line("readout/{factor}/r2", "one fit for all classes"),
            Line("readout/within class/{factor}/r2", "a fit for each class"),
            Line("readout/{factor}/shuffled", "shuffled views", control=True),
        ),
        references=(0.0, 1.0),
        caption=(
            "Each test image is seen from a view of its own, and the view is foretold from a "
            "layer's features by ridge regression, from equally many principal components of every "
            "layer. R² on held-out images is 1 if the view is known exactly and 0 if nothing is "
            "known. What an invariant network throws away, a pose should keep; raw pixels are the "
            "base line, and views shuffled over the images are the control. The true class's pose "
            "is that of the capsule of the image's class. An angle is foretold as cosine and sine. "
            "Before and after stand for what goes into a max-pooling and what comes out. What lies "
            "below −0.5 is drawn there."
        ),
        floor=-0.5,
    ),
)
