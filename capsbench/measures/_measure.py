"""The interface of a measure: its arguments, computation, values and figures."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, NamedTuple, TypeVar

from pydantic import ValidationError

from capsbench.arguments import explain, shown
from capsbench.errors import UserError
from capsbench.measures._config import MeasureConfig
from capsbench.measures._figures import FigureSpec
from capsbench.measures._result import MeasureResult
from capsbench.names import find, from_folder
from capsbench.trusted_code import require_trusted
from capsbench.values import Quantity

if TYPE_CHECKING:  # a list of measures imports no torch
    from capsbench.contracts import Model
    from capsbench.data.images import ImageDataModule

ConfigT = TypeVar("ConfigT", bound=MeasureConfig)
Unit = Literal[
    "share",  # within [0, 1], written in per cent
    "ratio",  # 0 or more, written in per cent
    "difference of shares",  # written in percentage points
    "squared error",  # of pixels in [0, 1]
    "number",
    "count",
    "bytes",
    "per second",
]


ROUNDING = 1e-4  # of a share


class ValueSpec(NamedTuple):
    """Description of a metric that a measure returns.

    Attributes:
        description: Definition, in a sentence or two.
        unit: Unit of the number, which decides how it is written.
    """

    description: str
    unit: Unit = "number"

    def allows(self, value: float) -> bool:
        """Return False for a share outside of [0, 1], but for rounding."""
        return self.unit != "share" or -ROUNDING <= value <= 1 + ROUNDING


class Headline(NamedTuple):
    """A value of a measure that the answer of a page states for every model.

    Attributes:
        quantity: The value.
        words: Name of the value, which begins a sentence.
        lower_is_better: True if a smaller number is better.
    """

    quantity: Quantity
    words: str
    lower_is_better: bool = False


def _no_progress() -> None:
    pass


def _no_notes(model: Model) -> tuple[str, ...]:  # noqa: ARG001  # the signature of a function of notes
    return ()


@dataclass(frozen=True)
class MeasureContext:
    """Device, progress and source models of a computation.

    Attributes:
        device: Device of the model: ``cpu``, ``cuda`` or ``mps``.
        advance: Called after each step, as often as the config's ``num_progress_steps``.
        sources: Trained models by label that the measure uses in addition to its model, in
            evaluation mode on ``device``. A source that diverged is missing.
        model_notes: Function that returns notes on a model or source, for every measure that runs
            it, see `capsbench.measures._repeated_passes.repeated_pass_notes`.
        untrained: The model before training, in evaluation mode on ``device``; None if its initial
            weights are not known.
    """

    device: str
    advance: Callable[[], None] = _no_progress
    sources: Mapping[str, Model] = field(default_factory=dict)
    model_notes: Callable[[Model], tuple[str, ...]] = _no_notes
    untrained: Model | None = None


class Measure(ABC, Generic[ConfigT]):
    """A measure of a trained model; a subclass is one file with config, computation and figures.

    Attributes:
        config: Class of the arguments.
        revision: Number in the fingerprint of every record; raise it when the numbers change.
        source: Paper, section and equation of the definition; empty if it is our own.
        metrics: Every metric that values name, with its definition and unit.
        headlines: Values for the answer of a page.
        figures: Figures that reports draw from the values.
        outputs: Outputs of the model that values without a layer are computed from:
            ``log-probabilities``, ``presences``, ``reconstruction``. If one is not finite, these
            values are not measured. Layers are observed where they are captured.
        controlled: True if numbers can be high without learning: the measure is also computed of
            the network before training, see `capsbench.measures._untrained_control`.
    """

    config: ClassVar[type[MeasureConfig]]
    revision: ClassVar[int] = 1
    source: ClassVar[str] = ""
    metrics: ClassVar[Mapping[str, ValueSpec]]
    headlines: ClassVar[tuple[Headline, ...]] = ()
    figures: ClassVar[tuple[FigureSpec, ...]] = ()
    outputs: ClassVar[tuple[str, ...]] = ("log-probabilities",)
    controlled: ClassVar[bool] = False

    @classmethod
    def needs_gradient(cls, quantity: Quantity) -> bool:
        """Return True if a value needs the gradient of an output with respect to the image.

        The output is the layer of the quantity, or else the log-probabilities, of its source or of
        the model. Without a gradient the value is not measured.
        """
        return False

    @classmethod
    @abstractmethod
    def compute(
        cls, config: ConfigT, model: Model, data: ImageDataModule, context: MeasureContext
    ) -> MeasureResult:
        """Compute the measure.

        Args:
            config: Arguments of the measure.
            model: The trained model, in evaluation mode on the context's device.
            data: The data module; its ``views`` define what is familiar.
            context: Device, progress and source models.

        Raises:
            NotMeasuredError: The model lacks a part that the measure needs.
            UserError: The measure cannot be computed on this data.
        """


def load_measure(name: str) -> type[Measure[Any]]:
    """Import a measure by its registered name, ``package.module:Class`` or ``file.py:Class``.

    A record can name any path, so a path has to be trusted, see `capsbench.trusted_code`.

    Raises:
        UserError: The name is unknown, does not name a measure, or is a path that is not trusted.
    """
    require_trusted("measures", name)
    measure: type[Measure[Any]] = find("measures", name).load_subclass(Measure)
    return measure


def run_measure(
    config: MeasureConfig, model: Model, data: ImageDataModule, context: MeasureContext
) -> MeasureResult:
    """Compute a measure and check its result; every measure passes through here.

    A controlled measure is also computed of the network before training, from the same images.

    What cannot be measured is a note with the reason: if the model lacks a part that the measure
    needs, if outputs are not finite, or if they have no gradient, see
    `capsbench.measures._checked_result`.

    Args:
        config: Arguments of the measure, which name it.
        model: The trained model, in evaluation mode on the context's device.
        data: The data module.
        context: Device, progress and source models.

    Raises:
        UserError: The measure cannot be computed on this data, or its result has an undeclared
            metric, the same quantity twice, or a share outside of [0, 1].
    """
    from capsbench.measures._untrained_control import compute_with_control

    measure = load_measure(config.measure)
    result = compute_with_control(measure, config, model, data, context)
    _check_values(measure, config.measure, result)
    return result


def _check_values(measure: type[Measure[Any]], given: str, result: MeasureResult) -> None:
    """Check that quantities differ, that metrics are declared, and that shares are in [0, 1].

    Raises:
        UserError: See `run_measure`.
    """
    names = [value.name for value in result.values]
    if repeated := [name for name in names if names.count(name) > 1]:
        raise UserError(f"measure '{given}' returned {repeated[0]} twice; return it once")
    for value in result.values:
        if value.metric not in measure.metrics:
            raise UserError(
                f"measure '{given}' returned the metric '{value.metric}', but declares "
                f"{', '.join(measure.metrics)}; add it to its metrics"
            )
        if not measure.metrics[value.metric].allows(value.value):
            raise UserError(
                f"measure '{given}' returned {value.name} {value.value:g}, but declares a share, "
                "which is within [0, 1]; declare another unit"
            )


def parse_config(content: Any) -> MeasureConfig:
    """Build the config of a measure from a mapping such as ``{"measure": "calibration"}``.

    The path of a user's own file becomes absolute, so that records can be read from any folder.

    Raises:
        ValueError: The mapping names no measure, or an argument is wrong; pydantic shows the
            message.
        UserError: There is no measure of that name.
    """
    if isinstance(content, MeasureConfig):
        return content
    if not isinstance(content, Mapping):
        raise ValueError(
            f"a measure is a mapping with its name, such as {{measure: cost}}, got {shown(content)}"
        )
    if "measure" not in content:
        names = ", ".join(map(str, content)) or "nothing"
        raise ValueError(f"a measure is a mapping with the key 'measure', its name; got {names}")
    if not isinstance(content["measure"], str):
        raise ValueError(f"measure: expected a text, got {shown(content['measure'])}")
    name = from_folder(Path.cwd(), content["measure"])
    config = load_measure(name).config
    try:
        return config.model_validate({**content, "measure": name})
    except ValidationError as error:
        raise ValueError(f"{content['measure']}: {explain(error, config)}") from None
