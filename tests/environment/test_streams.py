"""Standard streams: every text can be printed in every encoding."""

import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from capsbench.environment import streams

TEXT = "90.1\u00a0±\u00a00.4 −15° → x², ρ ≤ 1, Café, 中, \udcff"


def printed(encoding, text, errors="strict"):
    """Return a text as the bytes that a stream of an encoding prints."""
    stream = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors=errors)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        streams.make_ready()
        streams.print_line(text)
        assert streams.flush() is None
    return stream.buffer.getvalue()


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        ("ascii", r"90.1 +/- 0.4 -15 deg -> x2, rho <= 1, Cafe, \u4e2d, \udcff"),
        ("latin-1", "90.1\u00a0±\u00a00.4 -15° -> x², rho <= 1, Café, \\u4e2d, \\udcff"),
        ("cp437", "90.1\u00a0±\u00a00.4 -15° -> x², rho ≤ 1, Café, \\u4e2d, \\udcff"),
        ("utf-8", TEXT.replace("\udcff", "\\udcff")),
        ("utf-16", TEXT.replace("\udcff", "\\udcff")),
    ],
)
def test_signs_that_an_encoding_lacks_are_plain(encoding, expected):
    assert printed(encoding, TEXT).decode(encoding) == f"{expected}\n"


def test_every_character_has_a_plain_form():
    for code in (*range(0x3000), 0x4E2D, 0xD800, 0xFFFF, 0x1F600, 0x10FFFF):
        streams.plain(chr(code)).encode("ascii")


def run(code, redirections=""):
    """Run code in a process of its own, which prepares its streams, by a shell."""
    command = f'"{sys.executable}" -c "$CODE" {redirections}'
    code = f"from capsbench.environment import streams; streams.make_ready()\n{code}"
    return subprocess.run(
        ["sh", "-c", command],
        env=os.environ | {"CODE": code, "PYTHONUNBUFFERED": ""},
        capture_output=True,
        check=False,
    )


def test_closed_streams_take_any_text_and_no_file_gets_their_number(tmp_path):
    code = (
        f"import os, sys; file = open({str(tmp_path / 'file')!r}, 'wb')\n"
        "streams.print_line('text'); streams.print_error('text'); sys.stdin.read()\n"
        "os.write(1, b'of a library'); os.write(2, b'of a library'); file.close()"
    )
    result = run(code, "<&- >&- 2>&-")
    assert (result.returncode, result.stdout, result.stderr) == (0, b"", b"")
    assert (tmp_path / "file").read_bytes() == b""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux")
def test_a_full_disk_under_the_output_is_returned_once():
    result = run("streams.print_line('text'); print(streams.flush().errno, end='')", ">/dev/full")
    assert (result.returncode, result.stderr) == (0, b"")
