"""Downloads from a faulty server: a complete correct file or one error message."""

import io
import resource
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.client import HTTPMessage
from urllib.request import Request

import numpy as np
import pytest

from capsbench import __version__
from capsbench.errors import UserError
from capsbench.files import download, remote
from capsbench.files.download import Redirects, fetch
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


def test_missing_files_are_downloaded_and_others_not_changed(server, folder):
    server.add("one", DATA)
    server.add("two", b"2" * 100)
    folder.mkdir(parents=True)
    (folder / "two").write_bytes(b"2" * 100)
    files = [server.remote("one"), server.remote("two")]
    fetch(files, folder, data_set="Set")
    assert (folder / "one").read_bytes() == DATA
    assert names(folder) == ["one", "two"]
    assert server.requests == [("/a/one", None)]
    assert server.agents == {f"capsbench/{__version__}"}


def test_complete_folders_cause_no_request_and_no_write(server, folder):
    server.add("one", DATA)
    folder.mkdir(parents=True)
    (folder / "one").write_bytes(DATA)
    folder.chmod(0o555)
    before = folder.stat().st_mtime_ns
    fetch([server.remote("one")], folder, data_set="Set")
    assert list(folder.iterdir()) == [folder / "one"]
    assert folder.stat().st_mtime_ns == before
    assert not server.requests
    folder.chmod(0o755)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(DATA[:-1], f"{len(DATA)} bytes, found {len(DATA) - 1}", id="short"),
        pytest.param(b"x" + DATA[1:], "SHA-256 [0-9a-f]{64}, found [0-9a-f]", id="changed"),
    ],
)
def test_a_wrong_file_is_refused_and_kept(server, folder, content, message):
    server.add("one", DATA)
    folder.mkdir(parents=True)
    (folder / "one").write_bytes(content)
    with pytest.raises(UserError, match=rf"one is damaged.*{message}"):
        fetch([server.remote("one")], folder, data_set="Set")
    assert (folder / "one").read_bytes() == content
    assert not server.requests


@pytest.mark.parametrize("known", [True, False])
def test_a_broken_download_is_resumed_by_the_next_call(server, folder, known):
    server.add("one", DATA)
    server.cut["a"] = 1 << 20
    file = server.remote("one", known=known)
    with pytest.raises(UserError, match=rf"after {1 << 20} of {len(DATA)} bytes"):
        fetch([file], folder, data_set="Set")
    assert names(folder) == ["one.part"]
    fetch([file], folder, data_set="Set")
    assert (folder / "one").read_bytes() == DATA
    assert names(folder) == ["one"]
    assert [range_header for _, range_header in server.requests] == [None, f"bytes={1 << 20}-"]


def test_a_broken_download_is_resumed_by_the_next_mirror(server, folder):
    server.add("one", DATA)
    server.cut["a"] = 1 << 20
    fetch([server.remote("one", "a", "b")], folder, data_set="Set")
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
    fetch([server.remote("one")], folder, data_set="Set")
    assert (folder / "one").read_bytes() == DATA
    assert server.requests == [("/a/one", "bytes=1000-")]


@pytest.mark.parametrize(
    "part",
    [
        pytest.param(b"x" * 1000, id="another start"),
        pytest.param(b"x" * len(DATA), id="complete and wrong"),
        pytest.param(b"x" * (len(DATA) + 5), id="too long"),
    ],
)
@pytest.mark.parametrize("size", [True, False])
def test_a_wrong_partial_file_is_discarded(server, folder, part, size):
    server.add("one", DATA)
    folder.mkdir(parents=True)
    (folder / "one.part").write_bytes(part)
    file = server.remote("one")
    fetch([file if size else replace(file, size=None)], folder, data_set="Set")
    assert (folder / "one").read_bytes() == DATA
    assert names(folder) == ["one"]


def test_a_complete_partial_file_is_renamed(server, folder):
    server.add("one", DATA)
    folder.mkdir(parents=True)
    (folder / "one.part").write_bytes(DATA)
    fetch([server.remote("one")], folder, data_set="Set")
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
def test_a_corrupt_mirror_is_skipped(server, folder, instead, length):
    server.add("one", DATA)
    server.instead["a"] = instead
    if not length:
        server.no_length.add("a")
    fetch([server.remote("one", "a", "b")], folder, data_set="Set")
    assert (folder / "one").read_bytes() == DATA
    assert names(folder) == ["one"]


def test_a_file_without_checksum_is_downloaded(server, folder):
    server.add("one", DATA)
    fetch([server.remote("one", known=False)], folder, data_set="Set")
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
        pytest.param(lambda content: content[:3000], id="truncated"),
        pytest.param(lambda content: content[:-1], id="a byte short"),
        pytest.param(lambda content: b"", id="empty"),
        pytest.param(lambda content: content[:4], id="its start"),
    ],
)
def test_the_format_of_a_file_without_checksum_is_checked(server, folder, form, content, instead):
    """A mirror that sends another file without Content-Length is skipped."""
    server.add("one", content)
    server.instead["a"] = instead(content)
    server.no_length |= {"a", "b"}
    file = replace(server.remote("one", "a", "b", known=False), form=form)
    fetch([file], folder, data_set="Set")
    assert (folder / "one").read_bytes() == content
    assert names(folder) == ["one"]
    (folder / "one").unlink()
    with pytest.raises(UserError, match=rf"a/one: expected a complete {form} file"):
        fetch([replace(file, urls=file.urls[:1])], folder, data_set="Set")
    assert names(folder) == []
    (folder / "one").write_bytes(instead(content))
    with pytest.raises(UserError, match=rf"one is damaged .* complete {form} file"):
        fetch([file], folder, data_set="Set")


def test_the_failures_of_all_mirrors_are_one_message(server, folder):
    server.add("one", DATA)
    server.add("two", b"2")
    server.fail["a"] = 503
    server.instead["b"] = b"x" + DATA[1:]
    server.instead["c"] = b"<html>log in</html>"
    file = server.remote("one", "a", "b", "c")
    closed = "http://127.0.0.1:9/one"  # no server listens there
    file = replace(file, urls=(*file.urls, closed))
    two = server.remote("two")
    with pytest.raises(UserError) as raised:
        fetch([file, two], folder, data_set="Set")
    message = str(raised.value)
    assert message.startswith("Set: one")
    assert f"{server.address}/a/one: HTTP 503" in message
    assert f"{server.address}/b/one: expected SHA-256 {file.sha256}" in message
    assert f"{server.address}/c/one: expected {len(DATA)} bytes" in message
    assert f"{closed}: Connection refused" in message
    assert f"one (SHA-256 {file.sha256}), two (SHA-256 {two.sha256}) in {folder}" in message
    assert "--data-root" in message
    assert "\n" not in message
    assert names(folder) == []


def test_a_silent_mirror_times_out(server, folder, monkeypatch):
    server.add("one", DATA)
    server.delay = 0.5
    monkeypatch.setattr(download, "TIMEOUT", 0.05)
    with pytest.raises(UserError, match="no answer"):
        fetch([server.remote("one")], folder, data_set="Set")


def test_an_unwritable_folder_is_refused(server, folder):
    server.add("one", DATA)
    folder.parent.write_bytes(b"a file where a folder should be")
    with pytest.raises(UserError, match=r"raw cannot be written.*--data-root"):
        fetch([server.remote("one")], folder, data_set="Set")


def test_a_download_is_resumed_after_a_full_disk(server, folder):
    server.add("one", DATA)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, hard))
    try:
        with pytest.raises(UserError, match=r"one .*File too large"):
            fetch([server.remote("one")], folder, data_set="Set")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    fetch([server.remote("one")], folder, data_set="Set")
    assert (folder / "one").read_bytes() == DATA
    assert server.requests[-1][1] is not None


def test_two_processes_at_once_download_a_file_once(server, folder):
    server.add("one", DATA)
    server.delay = 0.5
    code = (
        "import sys; from pathlib import Path\n"
        "from capsbench.files.download import fetch\n"
        "from capsbench.files.remote import RemoteFile\n"
        f"fetch([{server.remote('one')!r}], Path(sys.argv[1]), data_set='Set')\n"
    )
    command = [sys.executable, "-c", code, str(folder)]
    with ThreadPoolExecutor() as pool:
        runs = list(pool.map(lambda _: subprocess.run(command, check=False, timeout=60), range(2)))
    assert [run.returncode for run in runs] == [0, 0]
    assert (folder / "one").read_bytes() == DATA
    assert server.requests == [("/a/one", None)]


def test_a_mirror_that_sends_another_range_is_skipped(server, folder):
    server.add("one", DATA)
    server.wrong_range.add("a")
    folder.mkdir(parents=True)
    (folder / "one.part").write_bytes(DATA[:1000])
    unknown = replace(server.remote("one", known=False), size=None)
    with pytest.raises(UserError, match=r"1000.*'bytes 1001"):
        fetch([unknown], folder, data_set="Set")
    assert (folder / "one.part").read_bytes() == DATA[:1000]


def test_progress_appears_only_in_a_terminal(server, folder, capsys, monkeypatch):
    for name in ("one", "two"):
        server.add(name, DATA)
    fetch([server.remote("one")], folder, data_set="Set")
    assert capsys.readouterr().err == ""
    monkeypatch.setenv("FORCE_COLOR", "1")  # makes rich treat any stream as a terminal
    fetch([server.remote("two")], folder, data_set="Set")
    assert "two" in capsys.readouterr().err


def test_only_http_addresses_are_accepted():
    with pytest.raises(ValueError, match="http or https"):
        RemoteFile("one", "00", None, ("file:///etc/passwd",))


def test_a_checksum_or_a_format_is_required():
    with pytest.raises(ValueError, match="SHA-256 or a format"):
        RemoteFile("one", None, None, ("https://example.org/one",))


def test_two_servers_run_at_once():
    with serving() as one, serving() as other:
        assert one.address != other.address


def test_a_redirect_within_http_is_followed(server, folder):
    server.add("one", DATA)
    server.redirect["a"] = f"{server.address}/b/one"
    fetch([server.remote("one", "a")], folder, data_set="Set")
    assert (folder / "one").read_bytes() == DATA


@pytest.mark.parametrize("place", ["ftp://127.0.0.1/one", "file:///etc/passwd"])
def test_a_redirect_out_of_http_is_refused(server, folder, place):
    server.add("one", DATA)
    server.redirect["a"] = place
    with pytest.raises(UserError, match=r"could not be downloaded.*(redirects to ftp|not allowed)"):
        fetch([server.remote("one", "a")], folder, data_set="Set")
    assert names(folder) == []


def test_a_redirect_from_https_to_http_is_refused():
    request = Request("https://example.org/one")
    arguments = (io.BytesIO(), 302, "Found", HTTPMessage())
    with pytest.raises(download.MirrorError, match="not https"):
        Redirects().redirect_request(request, *arguments, "http://example.org/one")
    follow = Redirects().redirect_request(request, *arguments, "https://example.com/one")
    assert follow is not None and follow.full_url == "https://example.com/one"


@pytest.mark.parametrize("states_length", [True, False])
def test_a_file_of_unknown_size_is_downloaded_up_to_a_limit(
    server, folder, monkeypatch, states_length
):
    server.add("one", DATA)
    if not states_length:
        server.no_length.add("a")
    monkeypatch.setattr(remote, "MAX_BYTES", 1 << 20)
    with pytest.raises(UserError, match=f"expected at most {1 << 20} bytes"):
        fetch([server.remote("one", known=False)], folder, data_set="Set")
    assert sum(path.stat().st_size for path in folder.iterdir()) == 0


def test_a_misplaced_file_is_mentioned(server, folder):
    server.add("one.gz", DATA)
    server.fail["a"] = 404
    (folder / "raw").mkdir(parents=True)
    (folder / "raw" / "ONE").write_bytes(DATA)
    with pytest.raises(UserError, match=r"put one\.gz .*there is raw/ONE: another name"):
        fetch([server.remote("one.gz")], folder, data_set="Set")
