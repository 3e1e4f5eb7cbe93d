"""The data module: uint8 images in memory, made float and warped to a view on the device."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Self

import torch
from torch import Tensor

from capsbench.contracts import Batch, ImageShape
from capsbench.data.augmentation import AugmentationOperation
from capsbench.data.batches import EvaluationPass, Split, SplitName, StoredBatch, TrainingStream
from capsbench.data.checks import require_valid_split
from capsbench.data.evaluation import EvaluationImages
from capsbench.data.lightning import Attachable, attach
from capsbench.data.randomness import derive, draw_views
from capsbench.data.splits import balanced_order, per_class_subset, recorded_within
from capsbench.data.training import training_stream
from capsbench.errors import UserError
from capsbench.viewpoint.joint import SweptView
from capsbench.viewpoint.part import Part
from capsbench.viewpoint.ranges import ViewRange, recorded_spreads
from capsbench.viewpoint.render import render
from capsbench.viewpoint.spread import Spread
from capsbench.viewpoint.views import Views
from capsbench.viewpoint.warp import Padding, centroids

if TYPE_CHECKING:
    from capsbench.data.augmenter import Augmenter


class Identity(NamedTuple):
    """Name, version and checksum of a data set; part of a training's fingerprint."""

    name: str
    version: str
    checksum: str


class ImageDataModule(Attachable, ABC):
    """Images with class labels, seen from views that the framework chooses.

    A subclass describes its set by class attributes and loads its splits; what depends on arguments
    is set in the constructor instead. Batches are gathered by index from memory and warped on the
    device of the model, so that no worker process is needed. Images may be stored larger than
    ``image_shape``: a model sees their middle, after the warp.

    An instance is a LightningDataModule. `detached` makes one without importing Lightning, with the
    same images, for planning and measures.

    Attributes:
        revision: Part of the fingerprint of a training. It rises whenever a change of code changes
            the images, splits or views of the class. A subclass that changes only its own numbers
            raises its own.
        identity: Name, version and checksum of the set.
        image_shape: (C, H, W) of the images that a model sees.
        num_classes: Number of classes.
        class_names: One name for each class, in the order of their indices.
        turned_alike: Groups of classes that a half turn makes alike, such as 6 and 9 among digits.
        source: Publication of the set and place of its files, in one line.
        factors: Factors of the view that were recorded with each image.
        has_masks: Whether there is a mask of the object in each image.
        own_name: Name that the user gave to a set of their own, which then names the folder of its
            trainings; None for a set that the class itself stands for.
        padding: Pixels outside of an image when it is warped.
        evaluation: The images of each split in batches, at chosen views.

    Args:
        views: The views of the training and validation images.
        batch_size: Images in a training batch, over all processes together.
        seed: Seed of the order and views of training, and of the images that ``per_class`` keeps.
            Splits, and the views of evaluation images, do not depend on it.
        per_class: Number of training images of each class, or their share (below 1). Validation
            keeps the same number of its images, or as many as it has.
        limit: The most images of each split, the classes in near-equal numbers.
        data_root: Folder of data files.
        augmentation: Operations of kornia on training images, after their views.

    Raises:
        UserError: The views restrict a factor that the set does not record, an augmentation is
            unknown, or a number of images is not above 0.
    """

    revision: ClassVar[int] = 2
    identity: Identity
    image_shape: ImageShape
    num_classes: int
    class_names: tuple[str, ...]
    turned_alike: ClassVar[tuple[tuple[int, ...], ...]] = ()
    source: ClassVar[str]
    factors: tuple[str, ...] = ()
    has_masks: bool = False
    own_name: str | None = None
    padding: Padding = "zeros"

    def __new__(cls, *_: Any, **__: Any) -> Self:
        """Make an instance that is a LightningDataModule."""
        attach()
        return super().__new__(cls)

    @classmethod
    def detached(cls, **arguments: Any) -> Self:
        """Make an instance without importing Lightning.

        A Trainer takes it as well: `capsbench.training.task` makes it a LightningDataModule.

        Args:
            arguments: Arguments of the constructor.
        """
        data = super().__new__(cls)
        data.__init__(**arguments)  # type: ignore[misc]  # as a call of the class would do
        return data

    def __init__(
        self,
        *,
        views: ViewRange | None = None,
        batch_size: int = 64,
        seed: int = 0,
        per_class: float | None = None,
        limit: int | None = None,
        data_root: Path | str | None = None,
        augmentation: tuple[AugmentationOperation, ...] = (),
    ) -> None:
        super().__init__()
        numbers = {"batch_size": batch_size, "limit": limit, "per_class": per_class}
        for name, number in numbers.items():
            if number is not None and not number > 0:
                raise UserError(f"{name} of a data module is above 0; got {number}")
        self.views = views or ViewRange()
        self.batch_size = batch_size
        self.seed = seed
        self.per_class = per_class
        self.limit = limit
        self.data_root = Path("data" if data_root is None else data_root)
        self.augmentation = augmentation
        self._augmenter = _augmenter(augmentation)
        self.evaluation = EvaluationImages(self)
        self._splits: dict[SplitName, Split] = {}
        self.require_views(self.views)

    @abstractmethod
    def load(self) -> dict[SplitName, Split]:
        """Read the set and divide it into ``train``, ``validation`` and ``test``.

        A set may add its own ``novel`` split, whose images are seen as they are stored. The
        division is a function of the files and of the familiar recorded views.

        Raises:
            UserError: A file is missing or damaged.
        """

    @classmethod
    @abstractmethod
    def availability(cls, data_root: Path) -> str:
        """Return one line that says if the files are in a folder, and what to do if not."""

    @property
    def notes(self) -> list[str]:
        """Sentences about the files that were loaded, such as a known defect; mostly none."""
        return []

    def objects(self, images: Split) -> Tensor | None:
        """Return the objects in images: (N, D) integers, equal rows for the same object.

        They are the recorded instances of each class. A set whose classes are objects, or that
        knows them otherwise, overrides this method.

        Args:
            images: N images of one of the splits.

        Returns:
            None if no objects are recorded.
        """
        if "instance" not in images.factors:
            return None
        return torch.stack([images.targets, images.factors["instance"].long()], dim=1)

    def require_views(self, views: ViewRange | SweptView) -> None:
        """Refuse views that this set cannot show.

        Raises:
            UserError: A factor is not recorded, or there are no masks of objects.
        """
        name = self.identity.name
        for factor in recorded_spreads(views):
            if factor not in self.factors:
                known = f"only {', '.join(self.factors)}" if self.factors else "no view"
                raise UserError(f"{name} records {known}: views cannot be chosen by {factor}")
        if views.part == "object" and not self.has_masks:
            raise UserError(
                f"{name} has no masks of its objects: views.part cannot be 'object'; "
                "give a window (width, height, x, y)"
            )

    def require_augmentation(self, operations: tuple[AugmentationOperation, ...]) -> None:
        """Refuse an augmentation that cannot be applied to the images of this set.

        Raises:
            UserError: An operation is unknown, does not take its arguments, does not fit the
                images, or changes their size.
        """
        if operations:
            from capsbench.data.augmenter import require_fit
        for operation in operations:
            require_fit(operation, self.image_shape)

    def split(self, name: SplitName) -> Split:
        """Return the images of a split, after ``per_class`` and ``limit``.

        ``familiar`` and ``novel`` are the test images recorded inside and outside of the views of
        training; a set that records no view has them all in ``familiar``. ``rearranged`` are test
        images with the objects' parts out of relation, if the set can show them.

        Raises:
            UserError: There are no such images, or those that were loaded are not as declared.
        """
        if not self._splits:
            loaded = self.load()
            for key, split in loaded.items():
                self.require_valid(f"{key} images", split)
            self._splits = {key: self.subset(key, split) for key, split in loaded.items()}
        if name in self._splits:
            return self._splits[name]
        if name == "rearranged":
            return self.rearrange()
        test = self._splits["test"]
        familiar = recorded_within(test, self.familiar_factors)
        selected = familiar if name == "familiar" else ~familiar
        if not selected.any():
            raise UserError(
                f"{self.identity.name} has no {name} test images with these views: "
                "name ranges of views to test on"
            )
        return test[selected]

    def require_valid(self, what: str, images: Split) -> None:
        """Refuse images that are not as the set declares them.

        Args:
            what: Name of the images, for messages.
            images: Some of the images that were loaded.

        Raises:
            UserError: Shapes, types or values do not fit, see `require_valid_split`.
        """
        require_valid_split(
            images,
            f"the {what} of {self.identity.name}",
            channels=self.image_shape[0],
            class_names=self.class_names,
            num_classes=self.num_classes,
            factors=self.factors,
        )

    @property
    def familiar_factors(self) -> dict[str, Spread]:
        """The recorded factors, with their values, that make a test image familiar."""
        return self.views.recorded

    def default_views(self, name: SplitName) -> ViewRange:
        """Return the range of views from which a split is evaluated if no view is chosen.

        It is that of training. A ``novel`` split of the set's own is seen as it is stored.
        """
        return ViewRange() if name == "novel" and name in self._splits else self.views

    def rearrange(self) -> Split:
        """Return the test images, in the same order, with the objects' parts out of relation.

        Raises:
            UserError: The set does not know the parts of its objects.
        """
        raise UserError(
            f"{self.identity.name} does not know the parts of its objects: it has no rearranged "
            "images"
        )

    def subset(self, name: SplitName, split: Split) -> Split:
        """Return the part of a loaded split that ``per_class`` and ``limit`` keep.

        A set whose images are made of several others makes them here, of the images that are kept.
        """
        if self.per_class is not None and name in ("train", "validation"):
            split = split[per_class_subset(split.targets, self.per_class, name, self.seed)]
        if self.limit is None or self.limit >= len(split):
            return split
        return split[balanced_order(split.targets, "limit", name)[: self.limit].sort().values]

    def setup(self, stage: str) -> None:
        """Load the set; Lightning calls this in every process."""
        self.split("train")

    def train_dataloader(self) -> TrainingStream:
        """Return the stream of training batches; this process's share if there are several.

        It starts at the next batch of a training that is running.

        Raises:
            UserError: The processes cannot share a batch, or the Trainer repeats some batches.
        """
        return training_stream(self)

    def val_dataloader(self) -> EvaluationPass:
        """Return the validation images, each from the same familiar view in every run."""
        return self.evaluation.stored_batches("validation")

    def test_dataloader(self) -> EvaluationPass:
        """Return the test images, each from the same familiar view in every run."""
        return self.evaluation.stored_batches("test")

    def predict_dataloader(self) -> EvaluationPass:
        """Return the test images in order, each from the same familiar view in every run."""
        return self.test_dataloader()

    def make_training_batch(self, number: int, rows: Tensor, share: slice) -> StoredBatch:
        """Return a share of a training batch, with views drawn for the whole batch.

        Args:
            number: The batch's number.
            rows: (B,) the rows in the training split of all of its images.
            share: The rows of this process.
        """
        views = draw_views(self.views, len(rows), self.seed, "views", number)
        return self.make_batch(self.split("train")[rows[share]], views[share], self.views.part)

    def make_batch(self, images: Split, views: Views, part: Part) -> StoredBatch:
        """Return images with the views from which they will be seen.

        A set whose images are composed on the device overrides this method and `render_batch`.

        Args:
            images: B images.
            views: B views, or one for all images.
            part: The part of the image that moves.
        """
        masks = images.masks if part == "object" else None
        if masks is not None:
            views = views.with_centre(centroids(masks))
        return StoredBatch(images.images, images.targets, views, images.index, masks, images.poses)

    def on_after_batch_transfer(self, batch: StoredBatch, dataloader_idx: int) -> Batch:
        """Render images as a model sees them, and augment those of training, on the device."""
        rendered = self.render_batch(batch)
        if batch.augmentation is None:
            return rendered
        number, share = batch.augmentation
        return replace(rendered, images=self.augment(rendered.images, number))[share]

    def augment(self, images: Tensor, number: int) -> Tensor:
        """Return training images after the augmentation.

        Args:
            images: (B, C, H, W) in [0, 1].
            number: Number of the batch, of which the draws are a function, and of the seed.
        """
        if self._augmenter is None:
            return images
        return self._augmenter(images, derive(self.seed, "augmentation", number))

    def render_batch(self, batch: StoredBatch) -> Batch:
        """Make images float in [0, 1] and warp them to their views, on the device.

        A set whose images are composed on the device overrides this method.
        """
        _, height, width = self.image_shape
        images = render(
            batch.images, batch.views, (height, width), masks=batch.masks, padding=self.padding
        )
        return Batch(images, batch.targets, batch.views.to(images), batch.index, batch.poses)

    @property
    def rank_and_world_size(self) -> tuple[int, int]:
        """Rank of this process and number of processes; (0, 1) without a trainer."""
        if self.trainer is None:
            return 0, 1
        return self.trainer.global_rank, self.trainer.world_size


def _augmenter(operations: tuple[AugmentationOperation, ...]) -> Augmenter | None:
    """Return the augmentation of training images; without one, kornia is not imported."""
    if not operations:
        return None
    from capsbench.data.augmenter import Augmenter

    return Augmenter(operations)
