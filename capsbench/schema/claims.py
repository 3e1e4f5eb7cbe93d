"""The schema of a file of claims: benchmarks, and what of them would bear a claim out."""

from __future__ import annotations

from typing import Self

from pydantic import Field, ValidationError, model_validator

from capsbench.arguments import one_line
from capsbench.errors import UserError, unknown
from capsbench.measures import Name
from capsbench.names import find, table
from capsbench.schema.benchmark import Benchmark
from capsbench.schema.loading import load_benchmark, read
from capsbench.schema.parts import Changes, Part


class ClaimPart(Part):
    """A benchmark that the claims are tested on.

    Attributes:
        benchmark: Its name.
        changes: What is changed of it, by dotted place.
        scales: What is changed besides at each scale.
    """

    benchmark: str
    changes: Changes = Field(default_factory=dict)
    scales: dict[Name, Changes] = Field(default_factory=dict)


class ClaimTest(Part):
    """One comparison of two models, which bears a claim out or not.

    Attributes:
        part: On which part.
        model: Label of the model that the claim speaks of.
        against: Label of the model that it is compared with.
        at: Where the part's benchmark varies something, at which value.
        measure: The measure.
        key: Its value.
        against_key: The value of the other model, if it is another one, as of a layer is.
        lower: Whether lower is better.
        least: By how much the model has to be better; below zero by how much it may be worse.
    """

    part: str
    model: str
    against: str
    at: float | None = None
    measure: str
    key: str
    against_key: str | None = None
    lower: bool = False
    least: float = 0.0


class Claim(Part):
    """A claim in words, where it is made, and its tests."""

    claim: str
    source: str
    tests: tuple[ClaimTest, ...] = Field(min_length=1)


class Claims(Part):
    """Claims with the benchmarks that test them, at a default size and at others."""

    name: str
    version: int = Field(ge=1)
    title: str
    question: str
    source: str
    expected: str
    parts: dict[Name, ClaimPart] = Field(min_length=1)
    claims: tuple[Claim, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _known(self) -> Self:
        for claim in self.claims:
            for test in claim.tests:
                if test.part not in self.parts:
                    raise ValueError(f"{claim.claim}: {unknown('part', test.part, self.parts)}")
        return self

    @property
    def scales(self) -> tuple[str, ...]:
        """The scales that some part has."""
        return tuple(dict.fromkeys(s for part in self.parts.values() for s in part.scales))

    def at(self, scale: str | None) -> str:
        """The name of the claims at a scale, under which they are stored."""
        return self.name if scale is None else f"{self.name}-{scale}"

    def changes(self, part: str, scale: str | None) -> Changes:
        """What is changed of a part's benchmark at a scale."""
        entry = self.parts[part]
        return entry.changes | ({} if scale is None else entry.scales.get(scale, {}))

    def benchmark(self, part: str, scale: str | None) -> Benchmark:
        """The benchmark of a part, under a name of its own.

        Raises:
            UserError: It is unknown, or a change does not fit it.
        """
        found = load_benchmark(self.parts[part].benchmark, self.changes(part, scale))
        return found.model_copy(update={"name": f"{self.at(scale)}-{part}"})


def is_claims(name: str) -> bool:
    """Whether a name, or a path, is of a file of claims rather than of a benchmark.

    Raises:
        UserError: There is no such file, or it cannot be read.
    """
    return "claims" in read(find("benchmarks", name).source())


def benchmark_names() -> list[str]:
    """The registered benchmarks, without the files of claims."""
    return sorted(name for name in table("benchmarks") if not is_claims(name))


def load_claims(name: str, scale: str | None = None) -> Claims:
    """Read a file of claims and check it.

    Raises:
        UserError: The file does not fit the schema, or has no such scale.
    """
    path = find("benchmarks", name).source()
    try:
        claims = Claims.model_validate(read(path))
    except ValidationError as error:
        raise UserError(f"claims '{name}' ({path.name}): {one_line(error)}") from None
    if scale is not None and scale not in claims.scales:
        raise unknown(f"scale of claims '{name}':", scale, claims.scales)
    benchmarks = {part: claims.benchmark(part, scale) for part in claims.parts}
    for claim in claims.claims:
        for test in claim.tests:
            _require_known(claim, test, benchmarks[test.part])
    return claims


def _require_known(claim: Claim, test: ClaimTest, benchmark: Benchmark) -> None:
    """A name that is written wrongly would be 'not decided', after an hour of training."""
    labels = [entry.label for entry in benchmark.models]
    measures = [entry.measure for entry in benchmark.measures]
    values = list(benchmark.vary.values) if benchmark.vary else [None]
    for what, given, known in (
        ("model", test.model, labels),
        ("model", test.against, labels),
        ("measure", test.measure, measures),
    ):
        if given not in known:
            raise unknown(f"{claim.claim}: {what} of part {test.part}:", given, known)
    if test.at not in values:
        raise UserError(
            f"{claim.claim}: part {test.part} has no value {test.at}; name one of {values} as 'at'"
        )
