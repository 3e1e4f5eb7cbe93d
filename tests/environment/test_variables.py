"""Variables of the environment: one sentence for a value that cannot be read."""

import os

import pytest

from capsbench.environment.variables import (
    PROCESS_NUMBERS,
    is_on,
    require_process_numbers,
    require_valid,
    whole_number,
)
from capsbench.errors import UserError


@pytest.fixture(autouse=True)
def unset(monkeypatch):
    """An environment without these variables, which is restored."""
    for name in (*PROCESS_NUMBERS, "COLUMNS"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


@pytest.mark.parametrize("name", PROCESS_NUMBERS)
@pytest.mark.parametrize("text", ["abc", "-2", "1.5", "²"])
def test_numbers_of_processes(monkeypatch, name, text):
    monkeypatch.setenv(name, text)
    require_valid()  # most commands do not read it
    with pytest.raises(UserError, match=rf"{name} to '{text}'.*whole number"):
        require_process_numbers()


@pytest.mark.parametrize("name", PROCESS_NUMBERS)
@pytest.mark.parametrize("text", ["", "-1"])
def test_what_counts_as_not_set(monkeypatch, name, text):
    monkeypatch.setenv(name, text)
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
