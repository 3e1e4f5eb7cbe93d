"""Failures of the environment are sentences; bugs are not."""

import errno
from importlib import import_module

import pytest
import torch
from safetensors import SafetensorError

from capsbench.environment.failures import REMEDIES, sentence, writing

OUT_OF_MEMORY = [
    MemoryError(),
    RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried 9 bytes."),
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB."),
    RuntimeError("MPS backend out of memory (MPS allocated: 18 GB)"),
]
BUGS = [
    ValueError("x"),
    RuntimeError("shapes differ"),
    ZeroDivisionError(),
    FileNotFoundError(errno.ENOENT, "No such file or directory", "x"),
    OSError("of a library, without a number"),
    KeyError("out of memory"),
]


@pytest.mark.parametrize("number", REMEDIES, ids=errno.errorcode.get)
def test_errors_of_the_system(number):
    message = sentence(OSError(number, "the reason", "/the/file"))
    assert message is not None
    for part in ("/the/file", "the reason", REMEDIES[number]):
        assert part in message
    assert "the output" in str(sentence(OSError(number, "the reason")))


@pytest.mark.parametrize("error", OUT_OF_MEMORY, ids=repr)
def test_too_little_memory(error):
    message = str(sentence(error))
    assert "not enough memory" in message
    assert "--limit" in message


def test_a_real_request_of_too_much_memory():
    with pytest.raises(RuntimeError) as error:
        torch.empty(1 << 60)
    assert "not enough memory" in str(sentence(error.value))


@pytest.mark.parametrize("error", BUGS, ids=repr)
def test_bugs_have_no_sentence(error):
    assert sentence(error) is None


def test_a_failure_that_a_library_reports_as_its_own():
    error = RuntimeError("cannot save")
    error.__cause__ = OSError(errno.ENOSPC, "No space", "/the/file")
    assert "/the/file" in str(sentence(error))


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.ENOSPC, "No space left on device", "/tmp/temporary"),
        SafetensorError("Error while serializing: I/O error: No space left (os error 28)"),
        SafetensorError('IoError(Os { code: 28, kind: StorageFull, message: "No space left" })'),
    ],
    ids=["of a write", "of a temporary file", "of Rust", "of Rust, for debugging"],
)
def test_errors_of_writing_have_the_path(error):
    with pytest.raises(OSError, match="No space left") as raised, writing("/the/file"):
        raise error
    assert raised.value.errno == errno.ENOSPC
    assert raised.value.filename == "/the/file"


LIBRARIES = {
    "": 'int(os.environ["ODD_NUMBER"])',
    "the name": 'raise KeyError("bad ODD_NUMBER")',
    "a folder": 'raise FileNotFoundError(2, "No such file", "/odd")',
    "settings": 'b"\\xff".decode()',
}
BUGS_AT_IMPORT = ['raise ValueError("x")', 'raise ImportError("ODD_NUMBER")']


@pytest.fixture
def failure(tmp_path, monkeypatch):
    """Import a module with a line of code; return the error."""

    def failure(line, folder="site-packages"):
        place = tmp_path / folder
        place.mkdir()
        (place / "oddlib.py").write_text(f"import os\n{line}\n", encoding="utf-8")
        monkeypatch.syspath_prepend(place)
        with pytest.raises(Exception) as raised:  # noqa: PT011 - any
            import_module("oddlib")
        return raised.value

    monkeypatch.setenv("ODD_NUMBER", "/odd/value")
    return failure


@pytest.mark.parametrize("kind", LIBRARIES)
def test_a_library_that_fails_at_the_environment(failure, kind):
    message = str(sentence(failure(LIBRARIES[kind])))
    assert "oddlib" in message
    expected = "UTF-8" if kind == "settings" else "ODD_NUMBER to '/odd/value'"
    assert expected in message


@pytest.mark.parametrize("line", BUGS_AT_IMPORT)
def test_bugs_at_the_import_of_a_library(failure, line):
    assert sentence(failure(line)) is None


def test_bugs_at_the_import_of_our_own_code(failure):
    assert sentence(failure(LIBRARIES[""], folder="own")) is None


def test_bugs_in_writing_stay_as_they_are():
    with pytest.raises(ZeroDivisionError), writing("/the/file"):
        raise ZeroDivisionError
