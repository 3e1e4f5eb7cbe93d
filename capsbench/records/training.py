"""Records of a training: what determines it, and its outcome."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from capsbench.data.overlap import Overlap
from capsbench.fingerprint import fingerprint
from capsbench.measures import TestSplit
from capsbench.records.provenance import Provenance
from capsbench.records.record import Count, Record, RecordPart, Seconds, Share
from capsbench.training.recipe import ProtocolRecipe
from capsbench.viewpoint.ranges import ViewRange

LEAST_ZERO_GRADIENT = 0.01  # share of a layer's presences without gradient that is told


class ModelConfig(RecordPart):
    """A model with its arguments.

    Attributes:
        name: Registered name; of a user's own file the class and a hash of the file's contents.
        arguments: Every argument, defaults filled in.
        revision: Number that rises when the model's numbers change.
    """

    name: str
    arguments: dict[str, Any]
    revision: int = 1


class DataConfig(RecordPart):
    """A data module with its arguments.

    Attributes:
        name: Registered name; of a user's own file the class and a hash of the file's contents.
        arguments: Every argument, defaults filled in.
        revision: Number that rises when the data module's numbers change.
        per_class: Training images of each class, or a share of them below 1; None for all.
        identity: Name, version and checksum of the data set.
        image_shape: (C, H, W).
        num_classes: Number of classes.
    """

    name: str
    arguments: dict[str, Any]
    revision: int = 1
    per_class: float | None = None
    identity: dict[str, Any]
    image_shape: tuple[int, int, int]
    num_classes: int


class TrainingConfig(Record):
    """Everything that determines a training; its fingerprint names the cell's folder.

    Attributes:
        model: The model.
        data: The data module.
        views: Views of the training and validation images.
        recipe: Optimization.
        seed: Seed of weights, order and views.
        follow: Test splits whose accuracy is logged during the training.
        threads: Processor threads that the protocol states, for a training on a processor; None on
            any other device.
        kornia: Version of kornia, whose defaults are part of an augmentation; None without one.
    """

    model: ModelConfig
    data: DataConfig
    views: ViewRange
    recipe: ProtocolRecipe
    seed: int
    follow: tuple[TestSplit, ...] = ()
    threads: int | None = None
    kornia: str | None = None

    @property
    def folder_name(self) -> str:
        """Name of the cell's folder, ``<seed>-<fingerprint>``."""
        return f"{self.seed}-{self.fingerprint}"

    @property
    def fingerprint(self) -> str:
        """Hash of the fields.

        An empty augmentation, no warm-up, and `threads` and `kornia` at None are left out, as views
        leave out factors at their identity, so that a factor or setting that is added later changes
        no fingerprint of trainings without it.
        """
        content = self.model_dump(mode="json")
        for name in ("augmentation", "warmup"):
            if not content["recipe"][name]:
                del content["recipe"][name]
        for name in ("threads", "kornia"):
            if content[name] is None:
                del content[name]
        return fingerprint(content)


class Selected(RecordPart):
    """Choice of a selection rule.

    Attributes:
        step: Optimizer steps before the selected weights.
        accuracy: Validation accuracy there.
        probability_exponent: Exponent of the probabilities, fitted on the validation images and
            stored with the weights; None in older records, for 1.
        exponent_note: Reason why the exponent is 1 and not fitted.
    """

    step: int = Field(ge=1)
    accuracy: Share | None = None
    probability_exponent: float | None = Field(default=None, gt=0, le=1e5)
    exponent_note: str | None = None


class ExecutionRecord(RecordPart):
    """Device and settings that a training was carried out with; part of no fingerprint.

    Attributes:
        device: ``cpu``, ``cuda`` or ``mps``.
        device_name: Name of the hardware.
        devices: Processes per node, one device each.
        nodes: Number of nodes.
        strategy: Lightning strategy.
        backend: Requested routing implementation.
        checkpoint_every: Requested steps between resumable states; None for those between
            validations.
        profile: True if some steps were profiled, which makes them slower.
        wandb: Mode of the mirror: ``off``, ``offline`` or ``online``.
        backends_used: Routing implementations that computed something.
        process: Settings of the process, on or off and why.
    """

    device: str
    device_name: str
    devices: int = 1
    nodes: int = 1
    strategy: str = "auto"
    backend: str = "auto"
    checkpoint_every: int | None = None
    profile: bool = False
    wandb: str = "off"
    backends_used: tuple[str, ...] = ()
    process: dict[str, str] = Field(default_factory=dict)


class TrainingRecord(Record):
    """Outcome of a training.

    Attributes:
        status: ``trained``, or ``diverged`` at a non-finite loss, which is a result.
        diverged_at: The step of the non-finite loss.
        parameters: Number of trained parameters.
        flops: Floating-point operations of one image, see `ModelCost.flops`; None in older records
            and of a network whose operations cannot be counted.
        images: Number of images by split.
        overlap: Test images and objects that training has seen; None in older records.
        largest_class: Share of the largest class among the test images, the accuracy of a constant
            answer; None in older records.
        seconds: Wall time.
        images_per_second: Training throughput over the wall time.
        selected: Choice of each selection rule.
        zero_gradient: Share of the presences of each layer that have no gradient, at the last
            validation; empty in older records and of models without presences.
        cell: Name of the cell's folder; None in records from before November 29, 2026.
        files: SHA-256 of the trajectory and of the checkpoints, by path in the folder.
        weights: SHA-256 of the numbers alone in each checkpoint, by its rule; a file has a date,
            too. Empty in records from before November 29, 2026.
        execution: Device and settings.
        provenance: Versions, commit and date.
    """

    status: Literal["trained", "diverged"]
    diverged_at: int | None = Field(default=None, ge=1)
    parameters: Count
    flops: Count | None = None
    images: dict[str, Count] = Field(default_factory=dict)
    overlap: Overlap | None = None
    largest_class: Share | None = None
    seconds: Seconds
    images_per_second: float | None = Field(default=None, ge=0, le=1e15)
    selected: dict[str, Selected] = Field(default_factory=dict)
    zero_gradient: dict[str, Share] = Field(default_factory=dict)
    cell: str | None = None
    files: dict[str, str] = Field(default_factory=dict)
    weights: dict[str, str] = Field(default_factory=dict)
    execution: ExecutionRecord
    provenance: Provenance

    @property
    def gradient_note(self) -> str:
        """Layers of which at least 1 % of the presences have no gradient; empty without any."""
        parts = [
            f"{100 * share:.0f} % of the {layer}"
            for layer, share in self.zero_gradient.items()
            if share >= LEAST_ZERO_GRADIENT
        ]
        return f"{', '.join(parts)} without gradient" if parts else ""

    @property
    def is_checksummed(self) -> bool:
        """True if it names its folder, as all records with a checksum do."""
        return self.cell is not None
