"""Symbolic links in a folder of runs: read through, but nothing outside is written or deleted."""

from dataclasses import replace

import pytest

from capsbench.files import atomic
from capsbench.files.leftovers import clear_leftovers
from capsbench.files.processes import this_process


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
    monkeypatch.setattr(atomic, "temporary_path", lambda path: runs / f".{path.name}.1.tmp")
    (runs / ".a.json.1.tmp").symlink_to(outside / "kept")
    (runs / ".model.1.tmp").symlink_to(outside)
    with pytest.raises(FileExistsError):
        atomic.write_json(runs / "a.json", 1)
    with pytest.raises(FileExistsError), atomic.write_folder(runs / "model") as folder:
        (folder / "weights").write_text("new")
    assert [path.name for path in outside.iterdir()] == ["kept"]
    assert (outside / "kept").read_text() == "kept"


@pytest.mark.parametrize("target", ["outside", "outside/kept", "nowhere"])
def test_a_link_in_place_of_a_folder_is_replaced(runs, outside, target):
    (runs / "model").symlink_to(runs.parent / target)
    with atomic.write_folder(runs / "model") as folder:
        (folder / "weights").write_text("new")
    assert (runs / "model/weights").read_text() == "new"
    assert not (runs / "model").is_symlink()
    assert (outside / "kept").read_text() == "kept"


def test_leftovers_behind_links_are_left_alone(runs, outside):
    dead = replace(this_process(), start=0)
    (outside / f".old.{dead}.1.tmp").write_text("another program's")
    (runs / "linked").symlink_to(outside)
    (runs / f".a.{dead}.1.tmp").symlink_to(outside)
    (runs / f".b.{dead}.1.tmp").symlink_to("nowhere")
    (runs / ".mine.tmp").write_text("the user's own")
    (runs / "loop").symlink_to(runs)
    (runs / f".c.json.{dead}.1.tmp").mkdir()
    (runs / f".c.json.{dead}.1.tmp/link").symlink_to(outside)
    (runs / ".lease").symlink_to(outside / "kept")
    clear_leftovers(runs)
    assert sorted(path.name for path in runs.iterdir()) == [".lease", ".mine.tmp", "linked", "loop"]
    assert sorted(path.name for path in outside.iterdir()) == [f".old.{dead}.1.tmp", "kept"]
