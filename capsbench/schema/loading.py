"""Read a benchmark file, with the changes that the command line makes to it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from capsbench.arguments import explain, shown
from capsbench.errors import UserError, unknown
from capsbench.files.yaml import parse_yaml, read_yaml
from capsbench.names import find
from capsbench.schema.benchmark import Benchmark
from capsbench.schema.code import names_of_code, relative_to, require_names
from capsbench.schema.parts import Changes, ModelEntry, point_text, require_separate
from capsbench.trusted_code import require_trusted, trust, trusting_code


def load_benchmark(
    name: str,
    changes: Mapping[str, Any] | None = None,
    *,
    scale: str | None = None,
    added: Sequence[ModelEntry] = (),
    trust_code: bool = False,
) -> Benchmark:
    """Read a benchmark file and check it.

    Args:
        name: A registered name or the path of a YAML file; in the file, ``net.py:Net`` is relative
            to the file's own folder.
        changes: Values by dotted path that replace the file's, such as ``{"recipe.steps": 500}``;
            in them ``net.py:Net`` is relative to the working directory.
        scale: Name of one of the file's ``scales``, whose changes are applied first.
        added: Models after those of the file; ``net.py:Net`` is relative to the working directory.
        trust_code: Accept code that the file names outside of its folder, see ``docs/safety.md``.

    Raises:
        UserError: The name is unknown, the file (or a change) does not fit the schema, or the file
            names code outside of its folder.
    """
    given = {**(changes or {}), "models": [entry.model_dump() for entry in added]}
    for _, code in names_of_code(given):
        trust(code)
    with trusting_code(trust_code):
        return build_benchmark(name, changes, scale=scale, added=added)


def build_benchmark(
    name: str,
    changes: Mapping[str, Any] | None = None,
    *,
    scale: str | None = None,
    added: Sequence[ModelEntry] = (),
) -> Benchmark:
    """Read a benchmark file, with changes that come from a file or a record; see `load_benchmark`.

    Their names of code are trusted no more than those of the file.

    Raises:
        UserError: See `load_benchmark`.
    """
    target = find("benchmarks", name)
    path = target.source()
    folder = path.parent if target.file is not None else None
    content = read_fields(path)
    if folder is None:
        for _, code in names_of_code(content):
            trust(code)  # of an installed package
    if scale is not None:
        for place, value in _scale(content, name, scale).items():
            set_value(content, place, deepcopy(value))  # whose names are made relative once
    if folder is not None:
        content = relative_to(folder, content)
    for place, value in (changes or {}).items():
        set_value(content, place, value)
    if isinstance(content.get("models"), list):  # anything else is refused below
        content["models"] += [entry.model_dump() for entry in added]
    try:
        for kind, code in names_of_code(content):
            require_trusted(kind, code, folder)
        require_names({"scales": content.get("scales")})  # their other values are checked when used
        benchmark = Benchmark.model_validate(content)
        variants(benchmark)
        return benchmark
    except ValidationError as error:
        raise UserError(f"benchmark '{name}' ({path.name}): {explain(error, Benchmark)}") from None
    except UserError as error:  # code that is not trusted, or an unknown measure
        raise UserError(f"benchmark '{name}' ({path.name}): {error}") from None


def parse_changes(pairs: Sequence[str], option: str = "--set") -> dict[str, Any]:
    """Parse ``place=value`` pairs of an option of the command line; values are read as YAML.

    Raises:
        UserError: A pair has another form, or a place is given twice or within another one.

    >>> parse_changes(["recipe.steps=500", "views.rotation=[-30, 30]"])
    {'recipe.steps': 500, 'views.rotation': [-30, 30]}
    """
    changes: list[tuple[str, Any]] = []
    for pair in pairs:
        place, equals, value = pair.partition("=")
        if not (equals and place):
            example = "recipe.steps=500" if option == "--set" else "rotation=[-30,30]"
            raise UserError(f"{option} takes place=value, such as {example}; got '{pair}'")
        try:
            changes.append((place, parse_yaml(value)))
        except ValueError as error:
            raise UserError(f"{option} {place}: '{value}' is not a YAML value: {error}") from None
    try:
        require_separate([place for place, _ in changes])
    except ValueError as error:
        raise UserError(f"{option}: {error}") from None
    return dict(changes)


def variants(benchmark: Benchmark) -> dict[float | None, Benchmark]:
    """Return the variants of a protocol by their position; under None if it varies nothing.

    A position is the value of what is varied, or the number of a case.

    Raises:
        ValidationError: A value does not fit its place.
        UserError: A value has no place, or changes the labels of the models.
    """
    vary = benchmark.vary
    if vary is None:
        return {None: benchmark}
    result: dict[float | None, Benchmark] = {}
    for point, changes in vary.points.items():
        content = benchmark.model_dump(mode="json")
        for place, value in changes.items():
            set_value(content, place, value)
        variant = Benchmark.model_validate(content)
        if [entry.label for entry in variant.models] != [entry.label for entry in benchmark.models]:
            raise UserError(
                f"vary: {point_text(point)} changes the labels of the models, which are common to "
                f"all cases and values, by {', '.join(changes)}"
            )
        result[vary.position(point)] = variant
    return result


def searched_variant(benchmark: Benchmark) -> Benchmark:
    """Return the protocol at the value of its search; unchanged if it varies nothing.

    Raises:
        UserError: It varies something, and names no value for the search.
    """
    vary, at = benchmark.vary, benchmark.search.at
    if vary is None:
        return benchmark
    if at is None:
        raise UserError(
            f"{benchmark.name} varies {vary.place or vary.name}: name the value at which --search "
            "tunes the models for all of them, by --set search.at=VALUE"
        )
    return variants(benchmark)[vary.position(at)].model_copy(update={"vary": None})


def _scale(content: dict[str, Any], name: str, scale: str) -> Changes:
    scales = content.get("scales")
    known = scales if isinstance(scales, dict) else {}
    if scale not in known or not isinstance(known[scale], dict):
        raise unknown(f"scale of benchmark '{name}':", scale, known)
    changes: Changes = known[scale]
    return changes


def read_fields(path: Path) -> dict[str, Any]:
    """Read a YAML file that holds a mapping.

    Raises:
        UserError: It cannot be read, is not YAML, or holds something else.
    """
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected a mapping of a benchmark's fields, got {shown(content)}")
    return content


def set_value(content: Any, place: str, value: Any) -> None:
    """Set ``content[a][b] = value`` for the place ``a.b``; a number is an index of a list.

    Raises:
        UserError: There is no such place.
    """
    *parents, last = str(place).split(".")  # a file can have a number as a name
    for part in parents:
        if isinstance(content, list):
            content = content[_index(content, part, place)]
        elif isinstance(content, dict):
            content = content.setdefault(part, {})
        else:
            break
    if isinstance(content, list):
        content[_index(content, last, place)] = value
    elif isinstance(content, dict):
        content[last] = value
    else:
        raise UserError(f"--set {place}: nothing can be set below '{parents[-1]}'")


def _index(content: list[Any], part: str, place: str) -> int:
    if part not in map(str, range(len(content))):  # so that each item has one place
        raise UserError(
            f"--set {place}: '{part}' should be an index below {len(content)} of that list"
        )
    return int(part)
