"""Schema of a file of claims: benchmarks, and the comparisons that decide each claim."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Self

from pydantic import Field, ValidationError, model_validator

from capsbench.arguments import explain
from capsbench.errors import UserError, unknown
from capsbench.measures import Name, load_measure
from capsbench.names import find, table
from capsbench.schema.benchmark import Benchmark
from capsbench.schema.code import names_of_code, relative_to, require_names
from capsbench.schema.loading import build_benchmark, read_fields
from capsbench.schema.parts import Changes, ModelEntry, Point, SchemaModel
from capsbench.schema.quantities import require_quantity
from capsbench.trusted_code import require_trusted
from capsbench.values import Quantity


class ClaimPart(SchemaModel):
    """A benchmark that the claims are tested on.

    Attributes:
        benchmark: Name of the benchmark.
        changes: Changes to it, by dotted place.
        scales: Further changes at each scale.
    """

    benchmark: str
    changes: Changes = Field(default_factory=dict)
    scales: dict[Name, Changes] = Field(default_factory=dict)


class ClaimTest(SchemaModel):
    """One comparison of two models on a part.

    Attributes:
        part: Name of the part.
        model: Label of the model that the claim is about.
        against: Label of the model that it is compared with.
        primary: True for the test that decides, one for each model and part. The others are shown
            with their raw p-values and decide nothing.
        at: Value, or name of the case, of what the part's benchmark varies, if it varies something.
        measure: Name of the measure.
        quantity: The number within the measure.
        against_quantity: The number of the other model, if it differs, as that of a layer does.
        learned: True if the claim can hold only by what training added: the model's own number must
            then have risen from that of the same network before its training, too.
        lower_is_better: True if a smaller number is better.
        margin: Smallest improvement that counts; a negative margin allows a loss of that size.
    """

    part: str
    model: str
    against: str
    primary: bool = False
    at: Point | None = None
    measure: str
    quantity: Quantity
    against_quantity: Quantity | None = None
    learned: bool = False
    lower_is_better: bool = False
    margin: float = 0.0


class Claim(SchemaModel):
    """A claim in words, with its source and its tests.

    Attributes:
        claim: The sentence.
        source: Its source.
        bound: Largest difference that counts as none where neither direction is shown, in the unit
            of the compared numbers. It is declared before any run, so that no result can choose it.
        tests: The tests. Each model has one primary test on each part where it has any.
    """

    claim: str
    source: str
    bound: float = Field(default=0.02, gt=0)
    tests: tuple[ClaimTest, ...] = Field(min_length=1)

    @property
    def networks(self) -> tuple[str, ...]:
        """Labels of the models that the claim is about."""
        return tuple(dict.fromkeys(test.model for test in self.tests))

    @model_validator(mode="after")
    def _one_primary_test(self) -> Self:
        counts = Counter[tuple[str, str]]()
        for test in self.tests:
            counts[test.model, test.part] += test.primary
        for (model, part), count in counts.items():
            if count != 1:
                raise ValueError(
                    f"{self.claim}: expected one primary test of '{model}' on part '{part}', got "
                    f"{count or 'none'}; mark the one that decides with 'primary: true'"
                )
        return self


class Claims(SchemaModel):
    """Claims with the benchmarks that test them, at a default size and at other scales."""

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
        """Names of the scales that any part has."""
        return tuple(dict.fromkeys(s for part in self.parts.values() for s in part.scales))

    def at(self, scale: str | None) -> str:
        """Return the name of the claims at a scale, which is also that of their folder."""
        return self.name if scale is None else f"{self.name}-{scale}"

    def changes(self, part: str, scale: str | None) -> Changes:
        """Return the changes to a part's benchmark at a scale."""
        entry = self.parts[part]
        return entry.changes | ({} if scale is None else entry.scales.get(scale, {}))

    def with_models(self, part: str, scale: str | None, models: Sequence[ModelEntry]) -> Self:
        """Return the claims with other models of a part at a scale, such as tuned ones."""
        content = {"models": [entry.model_dump(mode="json") for entry in models]}
        changes = {
            place: value
            for place, value in self.changes(part, scale).items()
            if place.partition(".")[0] != "models"
        } | content
        places = (
            {"changes": changes} if scale is None else {"changes": {}, "scales": {scale: changes}}
        )
        entry = self.parts[part].model_copy(update=places)
        return self.model_copy(update={"parts": self.parts | {part: entry}})

    def benchmark(self, part: str, scale: str | None) -> Benchmark:
        """Load the benchmark of a part, under a separate name.

        Raises:
            UserError: It is unknown, or a change does not fit it.
        """
        benchmark = build_benchmark(self.parts[part].benchmark, self.changes(part, scale))
        return benchmark.model_copy(update={"name": f"{self.at(scale)}-{part}"})


def is_claims(name: str) -> bool:
    """Check that a name or path refers to a file of claims rather than a benchmark.

    Raises:
        UserError: There is no such file, or it cannot be read.
    """
    return "claims" in read_fields(find("benchmarks", name).source())


@cache
def benchmark_names() -> tuple[str, ...]:
    """Return the registered benchmarks, without the files of claims; their files are read once."""
    return tuple(name for name in table("benchmarks") if not is_claims(name))


def load_claims(name: str, scale: str | None = None) -> Claims:
    """Read a file of claims and check it.

    Raises:
        UserError: The file does not fit the schema, or has no such scale.
    """
    target = find("benchmarks", name)
    path = target.source()
    try:
        claims = Claims.model_validate(read_fields(path))
        if target.file is not None:
            parts = {part: _from_folder(entry, path.parent) for part, entry in claims.parts.items()}
            claims = claims.model_copy(update={"parts": parts})
        for entry in claims.parts.values():
            require_names(entry.scales)
    except ValidationError as error:
        raise UserError(f"claims '{name}' ({path.name}): {explain(error, Claims)}") from None
    except UserError as error:  # code that is not trusted, or an unknown name
        raise UserError(f"claims '{name}' ({path.name}): {error}") from None
    if scale is not None and scale not in claims.scales:
        raise unknown(f"scale of claims '{name}':", scale, claims.scales)
    benchmarks = {part: claims.benchmark(part, scale) for part in claims.parts}
    for claim in claims.claims:
        for test in claim.tests:
            _require_known(claim, test, benchmarks[test.part])
    return claims


def _from_folder(part: ClaimPart, folder: Path) -> ClaimPart:
    """Return a part with its benchmark file and its names of code relative to a folder.

    Raises:
        UserError: The benchmark file, or code that a change names, lies outside of the folder and
            is not trusted.
    """
    name = part.benchmark
    if name.endswith((".yaml", ".yml")):
        name = str(folder / name)
        require_trusted("benchmarks", name, folder)
    changes, scales = relative_to(folder, part.changes), relative_to(folder, part.scales)
    for each in (changes, scales):
        for kind, code in names_of_code(each):
            require_trusted(kind, code, folder)
    return part.model_copy(update={"benchmark": name, "changes": changes, "scales": scales})


def _require_known(claim: Claim, test: ClaimTest, benchmark: Benchmark) -> None:
    """Refuse unknown names, which would end as 'not decided' after an hour of training."""
    labels = [entry.label for entry in benchmark.models]
    measures = [entry.measure for entry in benchmark.measures]
    values = list(benchmark.vary.points) if benchmark.vary else [None]
    for what, given, known in (
        ("model", test.model, labels),
        ("model", test.against, labels),
        ("measure", test.measure, measures),
    ):
        if given not in known:
            raise unknown(f"{claim.claim}: {what} of part {test.part}:", given, known)
    for quantity in (test.quantity, test.against_quantity or test.quantity):
        try:
            require_quantity(test.measure, quantity, benchmark.measures)
        except UserError as error:
            raise UserError(f"{claim.claim}: {error}") from None
    if test.learned and not load_measure(test.measure).controlled:
        raise UserError(
            f"{claim.claim}: {test.measure} is not measured before training, so that nothing is "
            "known of what was learned; leave out 'learned'"
        )
    if test.at not in values:
        raise UserError(
            f"{claim.claim}: part {test.part} has no value {test.at}; name one of {values} as 'at'"
        )
