"""Variables of the environment: one sentence for a value that cannot be read."""

import os
from pathlib import Path

import pytest

from capsbench.environment.variables import PROCESS_NUMBERS, is_on, require_valid, whole_number
from capsbench.errors import UserError


@pytest.fixture(autouse=True)
def unset(monkeypatch, tmp_path):
    """An environment without these variables, which is restored; an empty working directory."""
    for name in (*PROCESS_NUMBERS, "COLUMNS", "MPLBACKEND", "MATPLOTLIBRC"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", PROCESS_NUMBERS)
@pytest.mark.parametrize("text", ["abc", "-1", "1.5", "²"])
def test_numbers_of_processes(monkeypatch, name, text):
    monkeypatch.setenv(name, text)
    with pytest.raises(UserError, match=rf"{name} to '{text}'.*whole number"):
        require_valid()


@pytest.mark.parametrize("name", PROCESS_NUMBERS)
def test_what_is_empty_is_not_set(monkeypatch, name):
    monkeypatch.setenv(name, "")
    require_valid()
    assert name not in os.environ
    assert whole_number(name, 7) == 7


@pytest.mark.parametrize(("text", "kept"), [("0", False), ("1", False), ("80", True), ("a", True)])
def test_a_terminal_too_narrow_for_tables(monkeypatch, text, kept):
    monkeypatch.setenv("COLUMNS", text)
    require_valid()
    assert ("COLUMNS" in os.environ) is kept


def test_switches(monkeypatch):
    assert not is_on("CAPSBENCH_SWITCH")
    for text, expected in {"": False, "0": False, "1": True}.items():
        monkeypatch.setenv("CAPSBENCH_SWITCH", text)
        assert is_on("CAPSBENCH_SWITCH") is expected
    monkeypatch.setenv("CAPSBENCH_SWITCH", "yes")
    with pytest.raises(UserError, match=r"CAPSBENCH_SWITCH to 'yes'.*0 or 1"):
        is_on("CAPSBENCH_SWITCH")


def test_a_deleted_working_directory(tmp_path, monkeypatch):
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    folder.rmdir()
    with pytest.raises(UserError, match="working directory"):
        require_valid()


def test_settings_of_matplotlib_that_are_no_text():
    Path("matplotlibrc").write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="matplotlibrc"):
        require_valid()
    Path("matplotlibrc").write_text("font.size: 100\nno line\n", encoding="utf-8")
    require_valid()
    assert os.environ["MPLBACKEND"] == "agg"
