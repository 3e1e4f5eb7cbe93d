"""Operations that augment training images, as a recipe lists them (no torch)."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict, JsonValue, RootModel, field_validator

# kornia has no defaults here; these are torchvision's, on the same scale from 0 to 30.
DEFAULTS: dict[str, dict[str, JsonValue]] = {"RandAugment": {"n": 2, "m": 9}}
PROBABILITIES = ("p", "p_batch")  # arguments that kornia takes in any form, and does not check
SWITCHES = ("same_on_batch", "keepdim")
FORM = "a name such as RandomErasing, or a mapping with one key such as {RandomErasing: {p: 0.5}}"


class AugmentationOperation(RootModel[dict[str, dict[str, JsonValue]]]):
    """An operation of ``kornia.augmentation``: a mapping from its name to its arguments.

    A name alone is the operation with its default arguments.

    >>> operation = AugmentationOperation({"RandomErasing": {"p": 0.5, "scale": [0.02, 0.2]}})
    >>> str(operation)
    'RandomErasing(p=0.5, scale=[0.02, 0.2])'
    """

    model_config = ConfigDict(frozen=True, allow_inf_nan=False)

    @field_validator("root", mode="before")
    @classmethod
    def _mapping(cls, value: Any) -> Any:
        """Return a name alone as a mapping, and fill in arguments that kornia requires."""
        if isinstance(value, str):
            value = {value: {}}
        if not isinstance(value, dict) or len(value) != 1:
            raise ValueError(f"expected {FORM}")
        ((name, arguments),) = value.items()
        return {name: DEFAULTS.get(name, {}) | arguments} if isinstance(arguments, dict) else value

    @field_validator("root")
    @classmethod
    def _common_arguments(cls, value: dict[str, dict[str, JsonValue]]) -> Any:
        """Check the arguments that most operations have."""
        ((operation, arguments),) = value.items()
        for name, given in arguments.items():
            if name in PROBABILITIES and not _is_probability(given):
                raise ValueError(
                    f"{name} of {operation} should be a number from 0 to 1, got {given!r}"
                )
            if name in SWITCHES and not isinstance(given, bool):
                raise ValueError(f"{name} of {operation} should be true or false, got {given!r}")
        return value

    @property
    def name(self) -> str:
        """Name of the class in kornia."""
        return next(iter(self.root))

    @property
    def arguments(self) -> dict[str, JsonValue]:
        """Arguments of its constructor."""
        return self.root[self.name]

    def __str__(self) -> str:
        arguments = ", ".join(f"{name}={value}" for name, value in self.arguments.items())
        return f"{self.name}({arguments})" if arguments else self.name


def _is_probability(value: JsonValue) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1
