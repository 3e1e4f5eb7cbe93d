"""Symbolic links in a folder of runs: read through, but nothing outside is written or deleted."""

import pytest

from capsbench.errors import UserError
from capsbench.files import atomic
from capsbench.files.locking import locked


@pytest.fixture
def outside(tmp_path):
    """A folder next to the runs folder, with a file."""
    folder = tmp_path / "outside"
    folder.mkdir()
    (folder / "kept").write_text("kept")
    return folder


@pytest.fixture
def runs(tmp_path):
    folder = tmp_path / "runs"
    folder.mkdir()
    return folder


def test_a_record_that_is_a_link_is_replaced_and_its_target_kept(runs, outside):
    (runs / "a.json").symlink_to(outside / "kept")
    atomic.write_json(runs / "a.json", 1)
    assert not (runs / "a.json").is_symlink()
    assert atomic.read_json(runs / "a.json") == 1
    assert (outside / "kept").read_text() == "kept"


def test_a_link_in_place_of_a_temporary_file_is_not_followed(runs, outside, monkeypatch):
    monkeypatch.setattr("os.getpid", lambda: 7)
    (runs / ".a.json.7.tmp").symlink_to(outside / "kept")
    (runs / ".model.7.tmp").symlink_to(outside)
    atomic.write_json(runs / "a.json", 1)
    with atomic.write_folder(runs / "model") as folder:
        (folder / "weights").write_text("new")
    assert [path.name for path in outside.iterdir()] == ["kept"]
    assert (outside / "kept").read_text() == "kept"
    assert sorted(path.name for path in runs.iterdir()) == ["a.json", "model"]


@pytest.mark.parametrize("target", ["outside", "outside/kept", "nowhere"])
def test_a_link_in_place_of_a_folder_is_replaced(runs, outside, target):
    (runs / "model").symlink_to(runs.parent / target)
    with atomic.write_folder(runs / "model") as folder:
        (folder / "weights").write_text("new")
    assert (runs / "model/weights").read_text() == "new"
    assert not (runs / "model").is_symlink()
    assert (outside / "kept").read_text() == "kept"


def test_unfinished_writes_behind_links_are_left_alone(runs, outside):
    (outside / ".old.1.tmp").write_text("another program's")
    (runs / "linked").symlink_to(outside)
    (runs / ".a.1.tmp").symlink_to(outside)
    (runs / ".b.1.tmp").symlink_to("nowhere")
    (runs / ".mine.tmp").write_text("the user's own")
    (runs / "loop").symlink_to(runs)
    (runs / ".c.json.1.tmp").mkdir()
    (runs / ".c.json.1.tmp/link").symlink_to(outside)
    atomic.clear_unfinished_writes(runs)
    assert sorted(path.name for path in runs.iterdir()) == [".mine.tmp", "linked", "loop"]
    assert sorted(path.name for path in outside.iterdir()) == [".old.1.tmp", "kept"]


def test_a_lock_is_no_link(runs, outside):
    (runs / ".lock").symlink_to(outside / "kept")
    with pytest.raises(UserError, match=r"\.lock is a symbolic link"), locked(runs):
        pass
    assert (outside / "kept").read_text() == "kept"


def test_a_held_folder_is_busy(runs):
    with locked(runs), pytest.raises(UserError, match="in use"), locked(runs, "in use"):
        pass
