"""YAML 1.2 as plain Python: the only place that reads and writes YAML."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from math import isfinite
from numbers import Integral
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer, ComposerError
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from capsbench.errors import UserError

MAX_SIZE = 200_000  # characters of a text, and of its values after aliases are replaced
MAX_DEPTH = 50
TOO_DEEP = f"values are nested more than {MAX_DEPTH} deep"
MAX_SHOWN = 40  # characters of a value in a message
TAG = "tag:yaml.org,2002:"
DIRECTIVE = re.compile(r"^%YAML(?!\s+1\.2\s*$).*", re.MULTILINE)
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
# Tags of plain texts: a date, `=`, and `<<` that is no key, have tags of their own.
TEXTS = tuple(TAG + name for name in ("str", "timestamp", "value", "merge"))
PLAIN = re.compile(r"[A-Za-z][\w./-]*( [\w./-]+)*", re.ASCII)  # texts that need no quotes
WORDS: dict[str, dict[str, bool | None]] = {
    f"{TAG}null": {"": None, "~": None, "null": None},
    f"{TAG}bool": {"true": True, "false": False},
}

Key = str | float


def read_yaml(path: Path) -> Any:
    """Read a YAML file in UTF-8, see `parse_yaml`.

    Raises:
        UserError: It cannot be read, or is not YAML.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is not UTF-8 text; save it in that encoding") from None
    try:
        return parse_yaml(text)
    except ValueError as error:
        raise UserError(f"{path} is not valid YAML: {error}") from None


def parse_yaml(text: str) -> Any:
    """Read a text of YAML 1.2 as mappings, lists, texts, numbers, booleans and None.

    ``yes``, ``no``, ``on``, ``off``, times and dates are texts; ``0100`` is 100. Aliases are
    copies, so that a change to one changes no other.

    Raises:
        ValueError: It is not YAML, gives a key twice, or has tags, a second document, control
            characters or too many values.

    >>> parse_yaml("{steps: 0100, label: no, learning_rate: 1e-3}")
    {'steps': 100, 'label': 'no', 'learning_rate': 0.001}
    """
    if len(text) > MAX_SIZE:
        raise ValueError(f"expected at most {MAX_SIZE:,} characters, got {len(text):,}")
    if directive := DIRECTIVE.search(text):
        raise _error(
            text.count("\n", 0, directive.start()),
            f"expected YAML 1.2, got {directive[0].strip()}; remove this line",
        )
    reader = YAML(typ="safe", pure=True)
    reader.Composer = _Composer
    reader.composer.warn_double_anchors = False  # a second anchor of a name is valid
    try:
        node = reader.compose(text)
    except ReaderError as error:
        raise _error(text.count("\n", 0, error.position), _not_allowed(error.character)) from None
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        parts = [getattr(error, name, None) for name in ("context", "problem")]
        message = ", ".join(part for part in parts if part)
        if mark is None:
            raise ValueError(message) from None
        raise _error(mark.line, message, f", column {mark.column + 1}") from None
    return None if node is None else _Reading(reader.constructor).value(node, 0)


def write_yaml(value: Any) -> str:
    """Return a plain value as YAML on one line, which `parse_yaml` reads back.

    ruamel.yaml writes some texts, such as ``:0`` as a key, so that it cannot read them again.

    Raises:
        ValueError: It is not plain.

    >>> write_yaml({"label": "no", "values": [1, 2.5, "0100", None]})
    '{label: no, values: [1, 2.5, "0100", null]}'
    """
    match value:
        case None:
            return "null"
        case bool():
            return str(value).lower()
        case Integral():  # of numpy too
            return str(int(value))
        case float():
            return (
                repr(float(value))
                if isfinite(value)
                else f"{'-' * (value < 0)}.{str(value).removeprefix('-')}"
            )
        case str():
            plain = PLAIN.fullmatch(value) and value.lower() not in ("true", "false", "null")
            return value if plain else _quoted(value)
        case list() | tuple():
            return f"[{', '.join(map(write_yaml, value))}]"
        case dict():
            pairs = (f"{write_yaml(key)}: {write_yaml(each)}" for key, each in value.items())
            return f"{{{', '.join(pairs)}}}"
    raise ValueError(f"expected a number, a text, a list or a mapping, got {value!r}")


def _quoted(text: str) -> str:
    """Return a text in double quotes, with escapes for what is not printable."""
    quoted = json.dumps(text, ensure_ascii=False)
    return re.sub(r"[\x7f-\xa0\u2028\u2029\ufeff]", lambda found: f"\\u{ord(found[0]):04x}", quoted)


class _Composer(Composer):
    """A composer that stops at `MAX_DEPTH`, before the parser's time grows with its square."""

    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.depth > MAX_DEPTH:
            raise ComposerError(problem=TOO_DEEP, problem_mark=self.parser.peek_event().start_mark)
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


class _Reading:
    """The values of the nodes of one text."""

    def __init__(self, constructor: Any) -> None:
        self.numbers = {
            f"{TAG}int": constructor.construct_yaml_int,
            f"{TAG}float": constructor.construct_yaml_float,
        }
        self.size = 0  # of the values so far

    def value(self, node: Node, depth: int) -> Any:
        if depth > MAX_DEPTH:  # also an alias within its own anchor
            raise _at(node, TOO_DEEP)
        self.size += 1 + (len(node.value) if isinstance(node, ScalarNode) else 0)
        if self.size > MAX_SIZE:
            raise _at(node, f"aliases stand for more than {MAX_SIZE:,} characters of values")
        if isinstance(node, ScalarNode):
            return self._scalar(node)
        if isinstance(node, SequenceNode) and node.tag == f"{TAG}seq":
            return [self.value(each, depth + 1) for each in node.value]
        if isinstance(node, MappingNode) and node.tag == f"{TAG}map":
            return self._mapping(node, depth + 1)
        raise _tagged(node)

    def _mapping(self, node: MappingNode, depth: int) -> dict[Key, Any]:
        own: dict[Key, Any] = {}
        merged: dict[Key, Any] = {}
        lines: dict[Key, int] = {}
        for key_node, value_node in node.value:
            key, line = self._key(key_node), key_node.start_mark.line
            if key in lines:
                first = lines[key] + 1
                raise _error(line, f"'{key}' was given in line {first} already; keep one of them")
            lines[key] = line
            if key_node.tag == f"{TAG}merge":
                for each in self._merged(value_node, depth):
                    merged = each | merged  # the first one counts
            else:
                own[key] = self.value(value_node, depth)
        return merged | own

    def _merged(self, node: Node, depth: int) -> Iterator[dict[Key, Any]]:
        """Yield the mappings of a merge key, in their order."""
        for each in node.value if isinstance(node, SequenceNode) else [node]:
            if not isinstance(each, MappingNode):
                raise _at(each, "'<<' takes an alias of a mapping, or a list of them")
            yield self.value(each, depth)

    def _key(self, node: Node) -> Key:
        """Return a key: a text, or a number, such as a value that varies."""
        key = self._scalar(node) if isinstance(node, ScalarNode) else None
        if isinstance(key, bool) or not isinstance(key, str | int | float):
            raise _at(node, "a key should be a text or a number; write it in quotes")
        return key

    def _scalar(self, node: ScalarNode) -> Any:
        text = node.value
        if node.tag in TEXTS:
            if control := CONTROL.search(text):
                raise _at(node, _not_allowed(ord(control[0])))
            return text
        try:
            if node.tag in WORDS:
                return WORDS[node.tag][text.lower()]
            if node.tag in self.numbers:
                return self.numbers[node.tag](node)
        except (KeyError, ValueError):  # after a tag, or a number of thousands of digits
            shown = text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}..."
            raise _at(node, f"cannot read '{shown}' as {str(node.tag).removeprefix(TAG)}") from None
        raise _tagged(node)


def _not_allowed(character: int) -> str:
    return f"the character U+{character:04X} is not allowed"


def _tagged(node: Node) -> ValueError:
    tag = str(node.tag).replace(TAG, "!!")
    return _at(node, f"expected plain values without tags, got {tag}")


def _at(node: Node, problem: str) -> ValueError:
    return _error(node.start_mark.line, problem)


def _error(line: int, problem: str, column: str = "") -> ValueError:
    return ValueError(f"line {line + 1}{column}: {problem}")
