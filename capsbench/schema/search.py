"""Schema of a search for recipes, and the values of its trials."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple

from pydantic import AfterValidator, Field

from capsbench.errors import UserError
from capsbench.schema.parts import Point, SchemaModel
from capsbench.search_space import Knob, Range, value_at
from capsbench.statistics.design import sobol_design

DIMENSIONS = 16  # of every design, so that it is the same for models of few and of many knobs
DESIGN = "scrambled Sobol sequence"
NO_DECAY = 0.25  # share of the trials without weight decay
DRAWN = ("learning_rate", "weight_decay")  # values of the recipe that every trial replaces
TUNING_SEEDS = (1000, 1001, 1002)  # of all trials, and of the best ones; reported seeds lie below
# Scrambling of the sequence. In most others the first eight trials have one value of a knob at all
# high rates. In this one each half of the rates has one trial without weight decay, and each third
# of the first two knobs.
SCRAMBLING = 238


def _interval(limits: tuple[float, float]) -> tuple[float, float]:
    low, high = limits
    if not 0 < low < high:
        raise ValueError("expected the lowest and the highest value, both above 0")
    return limits


Interval = Annotated[tuple[float, float], AfterValidator(_interval)]


class TrialValues(NamedTuple):
    """Values of one trial.

    Attributes:
        recipe: Values of the recipe, by their names in it.
        arguments: Values of the model's knobs.
    """

    recipe: dict[str, float]
    arguments: dict[str, Any]


class Search(SchemaModel):
    """Search of ``--search``: equal trials for every model, judged on validation images.

    Attributes:
        trials: Number of trials of each model.
        finalists: Number of best trials of each model that are trained again with the other tuning
            seeds; the best mean of all seeds is chosen.
        learning_rate: Lowest and highest rate; all factors between them are equally likely.
        weight_decay: Lowest and highest weight decay, drawn in the same way; a quarter of the
            trials has none.
        fixed: Knobs of models that are not searched, since the benchmark compares their values.
        at: Value, or name of the case, at which a benchmark that varies something is searched.
    """

    trials: int = Field(default=8, ge=1, le=1024)
    finalists: int = Field(default=2, ge=1)
    learning_rate: Interval = (1e-3, 6e-2)
    weight_decay: Interval = (1e-6, 1e-3)
    fixed: tuple[str, ...] = ()
    at: Point | None = None

    def free(self, knobs: Mapping[str, Knob]) -> dict[str, Knob]:
        """Return the knobs that are searched."""
        return {name: knob for name, knob in knobs.items() if name not in self.fixed}

    def draw(self, knobs: Mapping[str, Knob]) -> list[TrialValues]:
        """Return the values of all trials of a model.

        They are a function of the search and the knobs alone. Every model has the same recipes in
        the same order, also in other benchmarks, which share the trials of equal trainings. A
        search of more trials begins with the same ones.

        Args:
            knobs: Knobs that are searched.

        Raises:
            UserError: There are more knobs than the design has dimensions.
        """
        from capsbench.data.randomness import derive  # which imports torch

        most = DIMENSIONS - 2
        if len(knobs) > most:
            raise UserError(f"a search takes at most {most} knobs of a model, got {len(knobs)}")
        intervals = self.learning_rate, self.weight_decay
        rates, decays = (Range(low=low, high=high) for low, high in intervals)
        design = sobol_design(self.trials, DIMENSIONS, derive("search", SCRAMBLING)).tolist()
        return [
            TrialValues(
                dict(zip(DRAWN, (rates.at(rate), _decay(decays, decay)), strict=True)),
                {
                    name: value_at(knob, share)
                    for (name, knob), share in zip(sorted(knobs.items()), others, strict=False)
                },
            )
            for rate, decay, *others in design
        ]


def _decay(decays: Range, share: float) -> float:
    return 0.0 if share < NO_DECAY else decays.at((share - NO_DECAY) / (1 - NO_DECAY))
