"""Specifications of figures: plain descriptions of values, which reports draw."""

from __future__ import annotations

from dataclasses import dataclass, field

from capsbench.values import Condition


@dataclass(frozen=True)
class LineSpec:
    """One line of a figure.

    Attributes:
        metric: Metric of its values.
        name: Name in the legend.
        control: True for a baseline that is the same kind of number without the effect.
        condition: Conditions of its values.
    """

    metric: str
    name: str
    control: bool = False
    condition: dict[str, Condition] = field(default_factory=dict)

    def __hash__(self) -> int:
        return hash((self.metric, self.name, self.control))


@dataclass(frozen=True, kw_only=True)
class FigureSpec:
    """Fields of every figure.

    Attributes:
        name: File name without ending.
        title: Heading.
        caption: What it shows, how to read it, the definition, the source.
    """

    name: str
    title: str
    caption: str


@dataclass(frozen=True, kw_only=True)
class LayerFigureSpec(FigureSpec):
    """A figure that goes through the layers of each model, one column per model.

    Attributes:
        axis: Label of the vertical axis.
        lines: Lines over layers, from values with a layer and no view.
        by_factor: One row of panels per factor, from values with a factor; else one row from values
            without.
        references: Heights of horizontal reference lines.
        floor: Smallest height that is drawn of shares that cannot exceed 1; intervals end at 1.
    """

    axis: str
    lines: tuple[LineSpec, ...]
    by_factor: bool = True
    references: tuple[float, ...] = ()
    floor: float | None = None

    def height(self, value: float) -> float:
        """Return the height at which a value, or the end of an interval, is drawn."""
        return value if self.floor is None else min(max(value, self.floor), 1.0)


@dataclass(frozen=True, kw_only=True)
class ViewFigureSpec(FigureSpec):
    """A figure of one metric against the value of each factor, one line per model.

    Attributes:
        metric: Metric of the values, which have a factor and a view.
        axis: Label of the vertical axis.
    """

    metric: str
    axis: str


@dataclass(frozen=True, kw_only=True)
class HeatMapFigureSpec(FigureSpec):
    """A figure of one metric over joint views: a map per model, and one per difference.

    The differences are those from the first model.

    Attributes:
        metric: Metric of the values. Each has a factor and a view, and under the name of the second
            factor a condition; all have the same factors.
        axis: Label of the color bar.
        outcomes: Name of the per-image array (V, N) behind the V values, in their order; next to it
            is ``evaluated`` (V, N), False where an image has no outcome. Views at which two models
            do not differ significantly are marked. None if there is no such array.
    """

    metric: str
    axis: str
    outcomes: str | None = None


@dataclass(frozen=True, kw_only=True)
class ConditionFigureSpec(FigureSpec):
    """A figure of one metric against a numerical condition, one line per model.

    Attributes:
        metric: Metric of the values.
        axis: Label of the vertical axis.
        condition: Name of the condition on the horizontal axis, such as ``epsilon``.
        condition_axis: Label of the horizontal axis.
        panels: Fields or conditions that get one panel per combination, such as ``method``.
        names: Names of values of these fields in the titles of panels, if they differ.
        further_lines: Metrics drawn into the same panels with thinner, dashed lines.
        at_zero: Conditions of the value of ``metric`` that is drawn in every panel at 0 of the
            horizontal axis, such as that of unchanged images.
    """

    metric: str
    axis: str
    condition: str
    condition_axis: str
    panels: tuple[str, ...] = ()
    names: dict[str, str] = field(default_factory=dict)
    further_lines: tuple[LineSpec, ...] = ()
    at_zero: dict[str, Condition] = field(default_factory=dict, hash=False)
