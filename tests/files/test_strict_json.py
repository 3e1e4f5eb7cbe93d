"""Strict JSON: everything that Python's parser lets pass and a record may not hold is refused."""

import json

import pytest

from capsbench.errors import MAX_MESSAGE, UserError
from capsbench.files import atomic, strict_json

BAD = {
    "NaN": (b'{"a": NaN}', "NaN is no number"),
    "infinity": (b'{"a": [-Infinity]}', "-Infinity is no number"),
    "a float beyond all": (b'{"a": 1e999}', "1e999 is too large"),
    "an int beyond all": (b'{"a": 1' + b"0" * 400 + b"}", "too large"),
    "an int of many digits": (b'{"a": ' + b"9" * 10_000 + b"}", "too large"),
    "two equal keys": (b'{"b": {"a": 1, "a": 2}}', "'a' appears twice"),
    "a deep list": (b"[" * 200_000 + b"]" * 200_000, "deeply"),
    "a list of some depth": (b"[" * 60 + b"]" * 60, "deeply"),
    "an escape sequence": (rb'{"a": "\u001b[31mred"}', r"U\+001B"),
    "an escape sequence in a key": (rb'{"\u009b31m": 1}', r"U\+009B"),
    "a reversal of text": ('{"a": "\u202egnp.exe"}'.encode(), r"U\+202E"),
    "half a surrogate pair": (rb'{"a": "\ud800"}', r"U\+D800"),
    "NUL": (rb'{"a": "\u0000"}', r"U\+0000"),
    "a long text": (b'"' + b"a" * 100_000 + b'"', "100,000 characters"),
    "latin-1": (b'{"a": "\xe9"}', "UTF-8"),
    "UTF-16": ('{"a": 1}'.encode("utf-16"), "UTF-8"),
    "a byte order mark": (b"\xef\xbb\xbf{}", "UTF-8"),
    "zeros": (bytes(100), "not JSON"),
    "nothing": (b"", "not JSON"),
}


@pytest.mark.parametrize(("content", "words"), BAD.values(), ids=BAD)
def test_what_no_record_holds_is_refused(content, words, tmp_path):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=words) as caught:
        atomic.read_json(path)
    assert "a.json" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_plain_contents_come_back(tmp_path):
    content = {"text": "é 👩‍🔬\tand\nlines", "numbers": [-0.0, 1e-320, 2**70, 1e300], "none": None}
    atomic.write_json(tmp_path / "a.json", content)
    assert atomic.read_json(tmp_path / "a.json") == content
    assert strict_json.parse(json.dumps(content).encode()) == content


def test_a_folder_and_a_large_file_are_named(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="directory"):
        atomic.read_json(tmp_path)
    (tmp_path / "a.json").write_text('"a"')
    monkeypatch.setattr(atomic, "MAX_JSON", 2)
    with pytest.raises(UserError, match="3 bytes, more than 2"):
        atomic.read_json(tmp_path / "a.json")


def test_nothing_is_written_that_cannot_be_read(tmp_path):
    with pytest.raises(UserError, match="control character"):
        atomic.write_json(tmp_path / "a.json", {"name": "\x1b]0;title\x07"})
    assert not any(tmp_path.iterdir())


def test_messages_are_printable_and_bounded():
    assert str(UserError("no file '\x1b[2J\u202e'")) == r"no file '\x1b[2J\u202e'"
    message = str(UserError("a" * 10**6 + " remove it"))
    assert len(message) < MAX_MESSAGE
    assert message.endswith("remove it")
