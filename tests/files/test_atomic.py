"""Atomic writes: a reader sees the old file or the new one, never a part."""

import os

import numpy as np
import pytest

from capsbench.errors import UserError
from capsbench.files import atomic


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.json"
    atomic.write_json(path, {"value": 1})
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        atomic.write_json(path, {"value": 2})
    assert atomic.read_json(path)["value"] == 1
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]  # a full disk needs the space


@pytest.mark.parametrize("removed", [0, 1])
def test_a_folder_is_replaced_at_once(tmp_path, monkeypatch, removed):
    def write(content):
        with atomic.write_folder(tmp_path / "model") as folder:
            for name in ("a", "b"):
                (folder / name).write_text(content)

    unlink, left = os.unlink, [True] * removed

    def die(*arguments, **more):  # as if it were killed while it removes the old one
        if not left:
            raise OSError("killed")
        left.pop()
        unlink(*arguments, **more)

    write("old")
    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", die)
        with pytest.raises(OSError, match="killed"):
            write("new")
    assert [(tmp_path / "model" / name).read_text() for name in "ab"] == ["new", "new"]
    write("newer")
    assert [path.name for path in tmp_path.iterdir() if path.name[0] != "."] == ["model"]
    assert (tmp_path / "model" / "a").read_text() == "newer"


@pytest.mark.parametrize("text", ["", "{", "\x00\x01"])
def test_damaged_files_are_named(tmp_path, text):
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(UserError, match=r"a\.json"):
        atomic.read_json(path)


def test_rows_and_arrays_come_back(tmp_path):
    rows = [{"step": 1.0, "loss": 0.1}, {"step": 2.0, "loss": 1e-17}]
    atomic.write_rows(tmp_path / "a.csv", rows)
    assert atomic.read_rows(tmp_path / "a.csv") == rows
    arrays = {"correct": np.array([[True, False]]), "index": np.arange(2)}
    atomic.write_npz(tmp_path / "a.npz", arrays)
    with np.load(tmp_path / "a.npz", allow_pickle=False) as loaded:
        assert all((loaded[key] == arrays[key]).all() for key in arrays)
