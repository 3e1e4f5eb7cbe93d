"""Downloads from a server that misbehaves: whole and right, or one sentence."""

import resource
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest

from capsbench import __version__
from capsbench.errors import UserError
from capsbench.files import download
from capsbench.files.download import fetch
from capsbench.files.remote import RemoteFile
from tests.files.server import serving
from tests.formats import made

DATA = made.zipped({"1.mat": np.random.default_rng(0).bytes(3 << 20)})


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "Set" / "raw"


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(download, "CHUNK", 1 << 16)


def names(folder):
    return sorted(path.name for path in folder.iterdir() if path.name != ".lock")


def test_missing_files_are_downloaded_and_others_left_alone(server, folder):
    server.add("one", DATA)
    server.add("two", b"2" * 100)
    folder.mkdir(parents=True)
    (folder / "two").write_bytes(b"2" * 100)
    files = [server.remote("one"), server.remote("two")]
    fetch(files, folder, what="Set")
    assert (folder / "one").read_bytes() == DATA
    assert names(folder) == ["one", "two"]
    assert server.requests == [("/a/one", None)]
    assert server.agents == {f"capsbench/{__version__}"}


def test_where_everything_is_there_nothing_is_asked_or_written(server, folder):
    server.add("one", DATA)
    folder.mkdir(parents=True)
    (folder / "one").write_bytes(DATA)
    folder.chmod(0o555)
    before = folder.stat().st_mtime_ns
    fetch([server.remote("one")], folder, what="Set")
    assert list(folder.iterdir()) == [folder / "one"]
    assert folder.stat().st_mtime_ns == before
    assert not server.requests
    folder.chmod(0o755)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(DATA[:-1], f"expected {len(DATA)} bytes, found {len(DATA) - 1}", id="short"),
        pytest.param(
            b"x" + DATA[1:], "expected SHA-256 [0-9a-f]{64}, found [0-9a-f]", id="changed"
        ),
    ],
)
def test_a_wrong_file_is_named_and_kept(server, folder, content, message):
    server.add("one", DATA)
    folder.mkdir(parents=True)
    (folder / "one").write_bytes(content)
    with pytest.raises(
        UserError, match=rf"one is damaged or another file: {message}.*; replace it"
    ):
        fetch([server.remote("one")], folder, what="Set")
    assert (folder / "one").read_bytes() == content
    assert not server.requests


@pytest.mark.parametrize("known", [True, False])
def test_a_broken_download_is_resumed_by_the_next_call(server, folder, known):
    server.add("one", DATA)
    server.cut["a"] = 1 << 20
    file = server.remote("one", known=known)
    with pytest.raises(UserError, match=rf"ended after {1 << 20} of {len(DATA)} bytes"):
        fetch([file], folder, what="Set")
    assert names(folder) == ["one.part"]
    fetch([file], folder, what="Set")
    assert (folder / "one").read_bytes() == DATA
    assert names(folder) == ["one"]
    assert [asked for _, asked in server.requests] == [None, f"bytes={1 << 20}-"]


def test_a_broken_download_is_resumed_by_the_next_mirror(server, folder):
    server.add("one", DATA)
    server.cut["a"] = 1 << 20
    fetch([server.remote("one", "a", "b")], folder, what="Set")
    assert (folder / "one").read_bytes() == DATA
    assert server.requests == [("/a/one", None), ("/b/one", f"bytes={1 << 20}-")]


@pytest.mark.parametrize("length", [True, False])
def test_a_mirror_that_cannot_resume_starts_again(server, folder, length):
    server.add("one", DATA)
    server.ignore_range.add("a")
    if not length:
        server.no_length.add("a")
    folder.mkdir(parents=True)
    (folder / "one.part").write_bytes(DATA[:1000])
    fetch([server.remote("one")], folder, what="Set")
    assert (folder / "one").read_bytes() == DATA
    assert server.requests == [("/a/one", "bytes=1000-")]


@pytest.mark.parametrize(
    "part",
    [
        pytest.param(b"x" * 1000, id="another beginning"),
        pytest.param(b"x" * len(DATA), id="whole and wrong"),
        pytest.param(b"x" * (len(DATA) + 5), id="too long"),
    ],
)
@pytest.mark.parametrize("size", [True, False])
def test_a_wrong_beginning_is_thrown_away(server, folder, part, size):
    server.add("one", DATA)
    folder.mkdir(parents=True)
    (folder / "one.part").write_bytes(part)
    file = server.remote("one")
    fetch([file if size else replace(file, size=None)], folder, what="Set")
    assert (folder / "one").read_bytes() == DATA
    assert names(folder) == ["one"]


def test_a_whole_part_is_put_in_place(server, folder):
    server.add("one", DATA)
    folder.mkdir(parents=True)
    (folder / "one.part").write_bytes(DATA)
    fetch([server.remote("one")], folder, what="Set")
    assert names(folder) == ["one"]
    assert not server.requests


@pytest.mark.parametrize(
    ("instead", "length"),
    [
        pytest.param(b"x" + DATA[1:], True, id="changed"),
        pytest.param(b"<html>log in</html>", True, id="a web page"),
        pytest.param(DATA + b"more", False, id="too long"),
        pytest.param(DATA[:-7], False, id="too short"),
    ],
)
def test_a_corrupt_mirror_is_passed_over(server, folder, instead, length):
    server.add("one", DATA)
    server.instead["a"] = instead
    if not length:
        server.no_length.add("a")
    fetch([server.remote("one", "a", "b")], folder, what="Set")
    assert (folder / "one").read_bytes() == DATA
    assert names(folder) == ["one"]


def test_a_file_of_unknown_sum_is_taken_whole(server, folder):
    server.add("one", DATA)
    fetch([server.remote("one", known=False)], folder, what="Set")
    assert (folder / "one").read_bytes() == DATA


PARQUET = b"PAR1" + DATA[:5000] + b"PAR1"


@pytest.mark.parametrize(
    ("form", "content"),
    [pytest.param("zip", DATA, id="zip"), pytest.param("parquet", PARQUET, id="parquet")],
)
@pytest.mark.parametrize(
    "instead",
    [
        pytest.param(lambda content: b"<!doctype html><p>log in</p>", id="a web page"),
        pytest.param(lambda content: content[:3000], id="cut short"),
        pytest.param(lambda content: content[:-1], id="a byte short"),
        pytest.param(lambda content: b"", id="empty"),
        pytest.param(lambda content: content[:4], id="its beginning"),
    ],
)
def test_a_file_of_unknown_sum_has_its_form(server, folder, form, content, instead):
    """A mirror that sends anything else, and does not say how much, is passed over."""
    server.add("one", content)
    server.instead["a"] = instead(content)
    server.no_length |= {"a", "b"}
    file = replace(server.remote("one", "a", "b", known=False), form=form)
    fetch([file], folder, what="Set")
    assert (folder / "one").read_bytes() == content
    assert names(folder) == ["one"]
    (folder / "one").unlink()
    with pytest.raises(UserError, match=rf"a/one: expected a whole {form} file, got .*; put one"):
        fetch([replace(file, urls=file.urls[:1])], folder, what="Set")
    assert names(folder) == []
    (folder / "one").write_bytes(instead(content))
    with pytest.raises(UserError, match=rf"one is damaged .* expected a whole {form} file"):
        fetch([file], folder, what="Set")


def test_all_mirrors_failing_is_one_sentence(server, folder):
    server.add("one", DATA)
    server.add("two", b"2")
    server.fail["a"] = 503
    server.instead["b"] = b"x" + DATA[1:]
    server.instead["c"] = b"<html>log in</html>"
    file = server.remote("one", "a", "b", "c")
    nobody = "http://127.0.0.1:9/one"  # nothing listens there
    file = replace(file, urls=(*file.urls, nobody))
    two = server.remote("two")
    with pytest.raises(UserError) as raised:
        fetch([file, two], folder, what="Set")
    message = str(raised.value)
    assert message.startswith("Set: one could not be downloaded (")
    assert f"{server.address}/a/one: HTTP 503 Service Unavailable; " in message
    assert f"{server.address}/b/one: expected SHA-256 {file.sha256}, got " in message
    assert f"{server.address}/c/one: expected {len(DATA)} bytes, it offers 19; " in message
    assert f"{nobody}: Connection refused" in message
    assert message.endswith(
        f"); put one (SHA-256 {file.sha256}), two (SHA-256 {two.sha256}) in {folder}, "
        "or name its root by --data-root"
    )
    assert "\n" not in message
    assert names(folder) == []


def test_a_silent_mirror_is_given_up(server, folder, monkeypatch):
    server.add("one", DATA)
    server.delay = 0.5
    monkeypatch.setattr(download, "PATIENCE", 0.05)
    with pytest.raises(UserError, match="no answer for 0 s"):
        fetch([server.remote("one")], folder, what="Set")


def test_a_folder_that_cannot_be_written_is_named(server, folder):
    server.add("one", DATA)
    folder.parent.write_bytes(b"a file where a folder should be")
    with pytest.raises(UserError, match=r"raw cannot be written .* --data-root"):
        fetch([server.remote("one")], folder, what="Set")


def test_a_full_disk_is_told_and_the_download_resumed(server, folder):
    server.add("one", DATA)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        with pytest.raises(UserError, match=r"one cannot be written \(File too large\); make room"):
            fetch([server.remote("one")], folder, what="Set")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    fetch([server.remote("one")], folder, what="Set")
    assert (folder / "one").read_bytes() == DATA
    assert server.requests[-1][1] is not None


def test_two_processes_at_once_download_a_file_once(server, folder):
    server.add("one", DATA)
    server.delay = 0.5
    code = (
        "import sys; from pathlib import Path\n"
        "from capsbench.files.download import fetch\n"
        "from capsbench.files.remote import RemoteFile\n"
        f"fetch([{server.remote('one')!r}], Path(sys.argv[1]), what='Set')\n"
    )
    command = [sys.executable, "-c", code, str(folder)]
    with ThreadPoolExecutor() as pool:
        runs = list(pool.map(lambda _: subprocess.run(command, check=False, timeout=60), range(2)))
    assert [run.returncode for run in runs] == [0, 0]
    assert (folder / "one").read_bytes() == DATA
    assert server.requests == [("/a/one", None)]


def test_a_mirror_that_answers_another_range_is_passed_over(server, folder):
    server.add("one", DATA)
    server.wrong_range.add("a")
    folder.mkdir(parents=True)
    (folder / "one.part").write_bytes(DATA[:1000])
    unknown = replace(server.remote("one", known=False), size=None)
    with pytest.raises(
        UserError, match=r"asked for the bytes from 1000 on, it answers 'bytes 1001"
    ):
        fetch([unknown], folder, what="Set")
    assert (folder / "one.part").read_bytes() == DATA[:1000]


def test_progress_is_shown_in_a_terminal_alone(server, folder, capsys, monkeypatch):
    for name in ("one", "two"):
        server.add(name, DATA)
    fetch([server.remote("one")], folder, what="Set")
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("FORCE_COLOR", "1")  # by which rich takes anything for a terminal
    fetch([server.remote("two")], folder, what="Set")
    assert "two" in capsys.readouterr().err


def test_only_the_web_is_asked():
    with pytest.raises(ValueError, match="expected addresses by http or https"):
        RemoteFile("one", "00", None, ("file:///etc/passwd",))


def test_something_tells_a_file_from_another():
    with pytest.raises(ValueError, match="expected a SHA-256 or a form, got neither"):
        RemoteFile("one", None, None, ("https://example.org/one",))


def test_the_server_serves_two_at_once():
    with serving() as one, serving() as other:
        assert one.address != other.address
