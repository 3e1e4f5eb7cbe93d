"""The cache of compiled kernels: code is loaded only from a folder of one's own, and whole."""

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from capsbench.capsules.backends import choose
from capsbench.capsules.kernels import code_cache, native
from capsbench.capsules.kernels.code_cache import cache_folder, code_file, code_folder
from capsbench.errors import UserError

SIZES = {"I": 2, "J": 2, "D": 2, "E": 2}
# Not `native.unavailable_reason`, which compiles into the user's cache.
needs_compiler = pytest.mark.skipif(
    sys.platform != "linux" or native._compiler() is None, reason="there is no C compiler"
)


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Use an empty cache folder and forget what was loaded from another one."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    def forget():
        for function in (native.unavailable_reason, native.simd_width, native.library):
            function.cache_clear()

    forget()
    yield tmp_path / "capsbench"
    forget()


def write(text):
    return lambda path: path.write_bytes(text)


def refuse(path):
    raise AssertionError("created again")


def test_a_file_is_created_once_and_private():
    previous = os.umask(0o002)
    try:
        path = code_file(code_folder("code") / "a.so", write(b"content"))
    finally:
        os.umask(previous)
    assert path.read_bytes().startswith(b"content")
    assert path.parent.stat().st_mode & 0o077 == path.stat().st_mode & 0o077 == 0
    assert code_file(path, refuse) == path
    assert [file.name for file in path.parent.iterdir()] == ["a.so"]


@pytest.mark.parametrize("damage", ["truncated", "empty", "another", "open", "link", "flipped"])
def test_a_damaged_or_open_file_is_created_again(damage, tmp_path):
    path = code_file(code_folder("code") / "a.so", write(b"content"))
    content = path.read_bytes()
    if damage == "link":
        path.rename(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
    elif damage == "open":
        path.chmod(0o777)
    else:
        path.write_bytes(
            {
                "truncated": content[:-10],
                "empty": b"",
                "another": b"another" + content[7:],
                "flipped": bytes([content[0] ^ 1]) + content[1:],
            }[damage]
        )
    code_file(path, write(b"new"))
    assert path.read_bytes().startswith(b"new")
    assert not path.is_symlink()
    if damage == "link":
        assert (tmp_path / "elsewhere").read_bytes() == content


def test_a_failed_creation_leaves_nothing():
    def fail(path):
        path.write_bytes(b"half")
        raise OSError("no space")

    folder = code_folder("code")
    with pytest.raises(OSError, match="no space"):
        code_file(folder / "a.so", fail)
    assert not list(folder.iterdir())


@pytest.mark.parametrize("mode", [0o770, 0o777, 0o720, 0o1777])
def test_a_folder_that_others_can_write_to_is_refused(cache, mode):
    code_folder("code").chmod(mode)
    with pytest.raises(PermissionError, match=r"other users can write.*chmod go-w"):
        code_folder("code")


def test_so_is_a_folder_that_others_can_replace(cache):
    code_folder("code")
    cache.chmod(0o777)
    with pytest.raises(PermissionError, match="other users can write"):
        code_folder("code")
    cache.chmod(0o1777)  # as /tmp: others cannot rename what is not theirs
    code_folder("code")


def test_so_is_a_folder_that_another_group_can_replace(cache):
    """The owner's own group has the owner's number."""
    code_folder("code")
    cache.chmod(0o2775)
    if os.geteuid() == 0:
        os.chown(cache, 0, 0)
        code_folder("code")
        os.chown(cache, 0, 12345)
    if cache.stat().st_gid == os.geteuid():
        code_folder("code")
    else:
        with pytest.raises(PermissionError, match=rf"write to the folder {cache},.*chmod go-w"):
            code_folder("code")


def test_a_folder_of_another_user_is_refused(monkeypatch):
    code_folder("code")
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(PermissionError, match=r"belongs to another user; set XDG_CACHE_HOME"):
        code_folder("code")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_file_of_another_user_is_created_again():
    path = code_file(code_folder("code") / "a.so", write(b"content"))
    os.chown(path, 12345, 12345)
    code_file(path, write(b"new"))
    assert path.read_bytes().startswith(b"new")


@pytest.mark.parametrize("target", ["own", "open"])
def test_a_link_counts_as_the_folder_it_leads_to(cache, tmp_path, target):
    (tmp_path / "target").mkdir(mode=0o700)
    if target == "open":
        (tmp_path / "target").chmod(0o777)
    cache.mkdir()
    (cache / "code").symlink_to(tmp_path / "target")
    if target == "own":
        assert code_folder("code") == (tmp_path / "target").resolve()
    else:
        with pytest.raises(PermissionError, match="other users can write"):
            code_folder("code")


def test_a_relative_cache_folder_is_ignored(monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "somewhere")
    assert cache_folder().is_absolute()
    assert "somewhere" not in str(cache_folder())


@needs_compiler
def test_an_open_folder_selects_matrix_products(cache, caplog):
    code_folder("libraries").chmod(0o777)
    assert choose("auto", (torch.zeros(1),), 2**20, 16) == "eager"
    with pytest.raises(UserError, match=r"'native'.*other users can write"):
        choose("native", (torch.zeros(1),), 2**20, 16)


@needs_compiler
def test_an_open_folder_of_an_earlier_version_is_ignored(cache):
    (cache / "native").mkdir(parents=True)
    (cache / "native").chmod(0o775)
    assert native.unavailable_reason() is None
    assert not list((cache / "native").iterdir())


@needs_compiler
def test_a_truncated_library_is_compiled_again(cache):
    """The loader would map it and end the process with a bus error."""
    native.library("dynamic.c", torch.float32, **SIZES)
    (path,) = (cache / "libraries").iterdir()
    whole = path.read_bytes()
    path.unlink()  # this process has it mapped
    path.write_bytes(whole[: len(whole) // 2])
    native.library.cache_clear()
    native.library("dynamic.c", torch.float32, **SIZES)
    assert path.stat().st_size > len(whole) // 2


@needs_compiler
@pytest.mark.parametrize(
    "setting", [{"CC": "gcc -DOTHER"}, {"FLAGS": (*native.FLAGS, "-DOTHER")}], ids=["CC", "flags"]
)
def test_the_name_covers_the_command(cache, monkeypatch, setting):
    native.library("simd_width.c", torch.float32)
    if "CC" in setting:
        monkeypatch.setenv("CC", setting["CC"])
    else:
        monkeypatch.setattr(native, "FLAGS", setting["FLAGS"])
    native.library.cache_clear()
    native.library("simd_width.c", torch.float32)
    assert len(list((cache / "libraries").iterdir())) == 2


@needs_compiler
def test_a_library_that_cannot_be_mapped_is_a_sentence(monkeypatch):
    """As on a file system that is mounted with noexec."""

    def refuse_to_map(path):
        raise OSError(f"{path}: failed to map segment from shared object")

    monkeypatch.setattr(ctypes, "CDLL", refuse_to_map)
    assert "failed to map" in str(native.unavailable_reason())
    with pytest.raises(UserError, match=r"failed to map.*'eager'"):
        native.library("dynamic.c", torch.float32, **SIZES)


@pytest.mark.parametrize("command", ["'", " ", "no-such-compiler"])
def test_a_compiler_that_is_none_is_a_sentence(monkeypatch, command):
    monkeypatch.setenv("CC", command)
    assert "no C compiler" in str(native.unavailable_reason())


def test_without_a_home_folder_there_is_a_sentence(monkeypatch):
    def no_home():
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", no_home)
    reason = str(native.unavailable_reason())
    assert "cache folder" in reason or "no C compiler" in reason


@needs_compiler
def test_two_processes_create_one_file_at_once(cache):
    program = (
        "import sys, time; from pathlib import Path\n"
        "from capsbench.capsules.kernels.code_cache import code_file, code_folder\n"
        "def create(path):\n"
        "    path.write_bytes(b'half'); time.sleep(0.2); path.write_bytes(b'whole' * 1000)\n"
        "path = code_file(code_folder('code') / 'a.so', create)\n"
        "assert path.read_bytes()[:-64] == b'whole' * 1000\n"
    )
    both = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(2)]
    assert [process.wait(timeout=60) for process in both] == [0, 0]
    assert [file.name for file in (cache / "code").iterdir()] == ["a.so"]


def test_torch_compiles_into_the_same_cache(cache, monkeypatch):
    from capsbench.capsules.kernels import compiling

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "recorded, so that it is restored")
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR")
    monkeypatch.setattr(torch, "compile", lambda function, **_: function)
    assert compiling.compiled(lambda x: x + 1)(torch.zeros(1)) == 1
    assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(cache / "torch")


def test_the_digest_is_that_of_the_content():
    path = code_file(code_folder("code") / "a.so", write(b"abc"))
    known = b"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert path.read_bytes() == b"abc" + known
    assert len(known) == code_cache.DIGEST
