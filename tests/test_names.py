"""The table of names, and paths in place of names."""

import pytest

from capsbench.contracts import Model
from capsbench.errors import UserError
from capsbench.names import find, table


def test_registered_names_lead_to_classes():
    for name in table("models"):
        target = find("models", name)
        assert issubclass(target.load(), Model)
        assert target.summary()
        assert target.identity() == target.slug == name


def test_a_file_of_ones_own(tiny_file):
    target = find("models", f"{tiny_file}:Tiny")
    assert issubclass(target.load(), Model)
    assert target.slug == "Tiny"
    assert target.summary() == "A linear classifier behind dropout."


def test_a_changed_file_has_another_identity(tmp_path, tiny_file):
    path = tmp_path / "net.py"
    path.write_text(tiny_file.read_text())
    before = find("models", f"{path}:Tiny").identity()
    assert before == find("models", f"{tiny_file}:Tiny").identity()
    path.write_text(tiny_file.read_text() + "\n")
    assert find("models", f"{path}:Tiny").identity() != before


def test_a_module_of_an_installed_package():
    target = find("models", "capsbench.models.cnn_small:CNNSmall")
    assert target.load() is find("models", "cnn-small").load()
    assert target.slug == "CNNSmall"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cnn_small", "did you mean 'cnn-small'"),
        ("nowhere.py:Net", "no file 'nowhere.py'"),
        ("no.such.module:Net", "no module 'no.such.module'"),
        (".relative:Net", "no module '.relative'"),
        (":Net", "no module ''"),
        ("__main__:Net", "no (module|class)"),
        (f"{'long' * 100}.py:Net", "(no file|cannot read) 'long"),
        ("net.py", "append :Class"),
        ("capsbench.models.cnn_small:CNN", "no class 'CNN'"),
    ],
)
def test_wrong_names_are_told_in_a_sentence(name, message):
    with pytest.raises(UserError, match=message):
        find("models", name).load()


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("import no_such_package", "ModuleNotFoundError: No module named 'no_such_package'"),
        ("from capsbench.contracts import Modle", "ImportError: cannot import name 'Modle'"),
        ("raise SystemExit(3)", "SystemExit: 3"),
    ],
)
def test_a_file_that_cannot_be_imported_is_told_with_its_line(tmp_path, line, message):
    path = tmp_path / "broken.py"
    path.write_text(f"import sys\n{line}\n")
    for _ in range(2):
        with pytest.raises(UserError, match=rf"model '.*:Net': {message}.* \(broken.py:2\)"):
            find("models", f"{path}:Net").load()


def test_another_error_inside_a_users_file_keeps_its_traceback(tmp_path):
    path = tmp_path / "wrong.py"
    path.write_text("1 / 0\n")
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            find("models", f"{path}:Net").load()


def test_a_module_of_ours_that_cannot_be_imported_keeps_its_traceback(monkeypatch):
    def fail(name):
        raise ImportError(name)

    monkeypatch.setattr("importlib.import_module", fail)
    with pytest.raises(ImportError, match=r"capsbench\.models\.cnn_small"):
        find("models", "cnn-small").load()


def test_a_syntax_error_is_told_with_file_and_line(tmp_path):
    path = tmp_path / "typo.py"
    path.write_text("x = 1\nclass Net(:\n")
    target = find("models", f"{path}:Net")
    for reading in (target.load, target.summary):
        with pytest.raises(UserError, match=r"typo\.py, line 2: "):
            reading()
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=r"cannot read .*typo\.py as text"):
        target.summary()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("capsbench.contracts:Model", "is abstract; a subclass has to define forward, loss"),
        ("capsbench.contracts:Batch", "is no subclass of capsbench.contracts.Model"),
        ("capsbench.contracts:one_hot", "is no subclass of capsbench.contracts.Model"),
    ],
)
def test_what_is_no_concrete_subclass_is_refused(name, message):
    with pytest.raises(UserError, match=message):
        find("models", name).load_subclass(Model)
