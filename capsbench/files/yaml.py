"""YAML 1.2 as plain Python: the only place that reads and writes YAML."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Callable, Iterator
from functools import partial
from numbers import Integral
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer, ComposerError, MaxDepthExceededError
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError
from ruamel.yaml.representer import SafeRepresenter

from capsbench.errors import UserError

MAX_SIZE = 200_000  # characters of a text, and of its values after aliases are replaced
MAX_DEPTH = 50
TOO_DEEP = f"values are nested more than {MAX_DEPTH} deep"
MAX_SHOWN = 40  # characters of a value in a message
MERGE = "<<"  # as a key without quotes
DIRECTIVE = re.compile(r"^%YAML(?!\s+1\.2\s*$).*", re.MULTILINE)
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")
PLAIN = re.compile(r"[A-Za-z][\w./-]*( [\w./-]+)*", re.ASCII)  # texts that need no quotes
# The core schema of YAML 1.2.2, section 10.3.2; every other plain text is a text.
WORDS: dict[str, bool | None] = dict.fromkeys(("", "~", "null", "Null", "NULL")) | {
    word: word.lower() == "true" for word in ("true", "True", "TRUE", "false", "False", "FALSE")
}
NUMBERS: tuple[tuple[re.Pattern[str], Callable[[str], float]], ...] = (
    (re.compile(r"[-+]?[0-9]+"), int),
    (re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+"), partial(int, base=0)),
    (re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?"), float),
    (
        re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"),
        lambda text: float(text.replace(".", "")),
    ),
)

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

    Numbers are those of the core schema: ``yes``, ``no``, ``on``, ``off``, ``1_000``, times and
    dates are texts; ``0100`` is 100. Aliases are copies, so that a change to one changes no other.

    Raises:
        ValueError: It is not YAML, gives a key twice, or has a tag, a second document, control
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
    reader.max_depth = MAX_DEPTH  # before the parser's time grows with its square
    reader.composer.warn_double_anchors = False  # a second anchor of a name is valid
    try:
        node = reader.compose(text)
    except MaxDepthExceededError as error:
        raise _error(error.problem_mark.line, TOO_DEEP) from None
    except ReaderError as error:
        raise _error(text.count("\n", 0, error.position), _not_allowed(error.character)) from None
    except YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        parts = [getattr(error, name, None) for name in ("context", "problem")]
        message = ", ".join(part for part in parts if part)
        if mark is None:
            raise ValueError(message) from None
        raise _error(mark.line, message, f", column {mark.column + 1}") from None
    return None if node is None else _Reading().value(node, 0)


def write_yaml(value: Any) -> str:
    """Return a plain value as YAML on one line, which `parse_yaml` reads back.

    Raises:
        ValueError: It is not plain.

    >>> write_yaml({"label": "no", "values": [1, 2.5, "0100", None]})
    '{label: no, values: [1, 2.5, "0100", null]}'
    """
    writer = YAML(typ="safe", pure=True)
    writer.Representer = _Representer
    writer.default_flow_style = True
    writer.width = sys.maxsize
    writer.sort_base_mapping_type_on_output = False  # type: ignore[assignment]  # typed as None
    stream = io.StringIO()
    writer.dump(value, stream)
    return stream.getvalue().removesuffix("\n").removesuffix("\n...")


class _Representer(SafeRepresenter):
    """Plain values without aliases, and quotes around all texts but simple ones.

    ruamel.yaml leaves out quotes that it needs to read ``:0`` as a key again.
    """

    def ignore_aliases(self, data: Any) -> bool:
        return True

    def text(self, value: str) -> ScalarNode:
        plain = PLAIN.fullmatch(value) and value not in WORDS
        return self.represent_scalar("tag:yaml.org,2002:str", value, style=None if plain else '"')

    def other(self, value: Any) -> ScalarNode:
        """Represent a value of a type without a representer of its own, such as numpy's numbers."""
        match value:
            case Integral():
                return self.represent_int(int(value))
            case float():
                return self.represent_float(float(value))
            case str():
                return self.text(str(value))
        raise ValueError(f"expected a number, a text, a list or a mapping, got {value!r}")


_Representer.add_representer(str, _Representer.text)
_Representer.add_representer(None, _Representer.other)


class _Composer(Composer):
    """A composer without tags, which would choose types of their own."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.parser.peek_event()
        if tag := getattr(event, "tag", None):  # an alias has none
            shown = str(tag).replace("tag:yaml.org,2002:", "!!")
            problem = f"expected plain values without tags, got {shown}"
            raise ComposerError(problem=problem, problem_mark=event.start_mark)
        return super().compose_node(parent, index)


class _Reading:
    """The values of the nodes of one text."""

    def __init__(self) -> None:
        self.size = 0  # of the values so far

    def value(self, node: Node, depth: int) -> Any:
        if depth > MAX_DEPTH:  # also an alias within its own anchor
            raise _at(node, TOO_DEEP)
        self.size += 1 + (len(node.value) if isinstance(node, ScalarNode) else 0)
        if self.size > MAX_SIZE:
            raise _at(node, f"aliases stand for more than {MAX_SIZE:,} characters of values")
        if isinstance(node, ScalarNode):
            return self._scalar(node)
        if isinstance(node, SequenceNode):
            return [self.value(each, depth + 1) for each in node.value]
        assert isinstance(node, MappingNode)  # the only other kind
        return self._mapping(node, depth + 1)

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
            if key == MERGE and key_node.style is None:
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
        if node.style is None:  # without quotes
            if text in WORDS:
                return WORDS[text]
            for pattern, number in NUMBERS:
                if pattern.fullmatch(text):
                    try:
                        return number(text)
                    except ValueError:  # thousands of digits
                        raise _at(node, f"cannot read the number {text[:MAX_SHOWN]}...") from None
        if control := CONTROL.search(text):
            raise _at(node, _not_allowed(ord(control[0])))
        return text


def _not_allowed(character: int) -> str:
    return f"the character U+{character:04X} is not allowed"


def _at(node: Node, problem: str) -> ValueError:
    return _error(node.start_mark.line, problem)


def _error(line: int, problem: str, column: str = "") -> ValueError:
    return ValueError(f"line {line + 1}{column}: {problem}")
