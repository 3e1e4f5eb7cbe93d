"""YAML 1.2: values as people mean them, and one sentence for everything else."""

import json
import math
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from capsbench.errors import UserError
from capsbench.files.yaml import MAX_DEPTH, MAX_SIZE, parse_yaml, read_yaml, write_yaml

LAUGHS = "a: &a0 [x, x, x, x, x, x, x, x]\n" + "".join(
    f"b{n}: &a{n} [{', '.join(8 * [f'*a{n - 1}'])}]\n" for n in range(1, 12)
)
WORDS = ("no", "yes", "on", "off", "0100", "1e3", "10:30", "~", "null", "true", ".nan", "=", "<<")
SIGNS = (
    "- a",
    "a: b",
    "#",
    "''",
    '"',
    "---",
    "&a",
    "!!int 1",
    ":0",
    "a\n b",
    "\x85",
    "\u2028",
    "ä😀",
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *((word, word) for word in ("yes", "no", "on", "off", "y", "10:30", "2001-99-99", "=")),
        ("2001-01-01", "2001-01-01"),
        ("0100", 100),
        *((text, text) for text in ("1_000", "0.1_2", "0b11", "0x_1", "0o8", "-0x1", "1e", "٣")),
        *((text, text) for text in ("tRue", "nULL", ".iNf", "+.nan", "inf", "nan")),
        ("0o17", 15),
        ("0x1F", 31),
        ("+12", 12),
        (".5", 0.5),
        ("1.", 1.0),
        ("FALSE", False),
        ("Null", None),
        ("1e3", 1000.0),
        ("1e-3", 0.001),
        ("-.inf", -math.inf),
        ("true", True),
        ("~", None),
        ("", None),
        ("%YAML 1.2\n---\na: 1\n...\n", {"a": 1}),
        ("\ufeffa: 1", {"a": 1}),
        ("{10: a, 0.5: b}", {10: "a", 0.5: "b"}),
        ("a: &x 1\nb: &x 2\nc: *x", {"a": 1, "b": 2, "c": 2}),
    ],
)
def test_values(text, value):
    assert parse_yaml(text) == value
    assert type(parse_yaml(text)) is type(value)


def test_a_value_may_be_nested_as_deep_as_the_message_states():
    assert (
        json.dumps(parse_yaml("[" * MAX_DEPTH + "]" * MAX_DEPTH))
        == "[" * MAX_DEPTH + "]" * MAX_DEPTH
    )
    with pytest.raises(ValueError, match=f"nested more than {MAX_DEPTH}"):
        parse_yaml("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1))


def test_a_key_beside_a_merged_one_is_no_duplicate():
    base = "base: &base {a: 1, b: {c: 2}}\nmore: &more {b: 5, d: 4}\n"
    text = f"{base}x: {{<<: *base, a: 7}}\ny: {{a: 8, <<: [*base, *more]}}\n"
    assert parse_yaml(text)["x"] == {"a": 7, "b": {"c": 2}}
    assert parse_yaml(text)["y"] == {"a": 8, "b": {"c": 2}, "d": 4}


def test_aliases_are_copies():
    value = parse_yaml("a: &x {b: [1]}\nc: *x\nd: {<<: *x}")
    value["a"]["b"].append(2)
    assert value["c"] == value["d"] == {"b": [1]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", "line 3: 'a' .* line 1"),
        ("x:\n  a: 1\n  a: 1", "line 3: 'a' .* line 2"),
        ("{1: a, 1.0: b}", "'1.0' .* line 1"),
        ("a: &x {b: 1}\nc:\n  <<: *x\n  <<: *x", "line 4: '<<' .* line 3"),
        ("c: {<<: 3}", "takes an alias of a mapping"),
        (LAUGHS, f"more than {MAX_SIZE:,} characters"),
        ("x" * (MAX_SIZE + 1), "at most"),
        ("a: &a [*a]", "nested more than"),
        ("a: &a {<<: *a}", "nested more than"),
        ("[" * 60 + "]" * 60, "nested more than"),
        ("[" * 2000, "nested more than"),
        ("a: 1\n---\nb: 2", "line 2, column 1: .*another document"),
        ("a: !!python/object:os.system x", "line 1.*without tags, got !!python/object:os.system"),
        ("!!binary aGk=", "tags"),
        ("!!set {a}", "tags"),
        ("!own {a: 1}", "tags"),
        ('a: !!int "5"', "line 1, .*tags, got !!int"),
        ("!!str yes", "tags, got !!str"),
        ("a: !!float 5", "tags"),
        ("! a", "tags, got !"),
        ("!!map {a: 1}", "tags"),
        ("{!!str a: 1}", "tags"),
        ("9" * 5000, "cannot read the number 9"),
        ("[1, 2]: 3", "key should be"),
        ("~: 3", "key should be"),
        ("true: 3", "key should be"),
        ("a: b\x00", r"line 1: .*U\+0000"),
        ("a: 1\nb: \x07", r"line 2: .*U\+0007"),
        (r'"\e[31m"', r"U\+001B"),
        (r'"\ud800"', r"U\+D800"),
        ("a:\n\tb: 1", "line 2, column 1: "),
        ("a: *b", "alias 'b'"),
        ("a: [1", "line 1, column"),
        ("%YAML 1.1\n---\na: yes", "line 1: expected YAML 1.2"),
        ("%YAML 1.3\n---\na: yes", "line 1: expected YAML 1.2"),
    ],
)
def test_what_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parse_yaml(text)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a: 1".encode("utf-16"), "not UTF-8"),
        ("a: ä".encode("latin-1"), "not UTF-8"),
        (b"a: 1\na: 2", "f.yaml .*line 2"),
    ],
)
def test_files_that_are_refused(tmp_path, content, message):
    (tmp_path / "f.yaml").write_bytes(content)
    with pytest.raises(UserError, match=message):
        read_yaml(tmp_path / "f.yaml")
    with pytest.raises(UserError, match="cannot read"):
        read_yaml(tmp_path)


texts = st.text(st.characters(exclude_categories=["Cs", "Cc"])) | st.sampled_from((*WORDS, *SIGNS))
scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts
plain = st.recursive(
    scalars, lambda inner: st.lists(inner) | st.dictionaries(texts | st.integers(), inner)
)


@settings(max_examples=50, deadline=None)
@given(plain)
def test_what_is_written_is_read_back(value):
    text = write_yaml(value)
    assert "\n" not in text
    assert json.dumps(parse_yaml(text)) == json.dumps(value)


@settings(max_examples=100, deadline=None)
@given(st.text() | st.text("abx-:{}[]&*!#|>'\"%@`?, \n\t01.<=~\\"))
def test_any_text_is_read_or_refused(text):
    with suppress(ValueError):  # and nothing else
        parse_yaml(text)


def test_only_plain_values_are_written():
    assert write_yaml((1, float("nan"))) == "[1, .nan]"
    assert write_yaml([np.int64(5), np.float64(0.5), np.str_("0o1")]) == '[5, 0.5, "0o1"]'
    same = [1]
    assert write_yaml({"b": same, "a": same}) == "{b: [1], a: [1]}"
    with pytest.raises(ValueError, match="expected a number"):
        write_yaml({"a": object()})
