"""The table of names, and paths in place of names."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import capsbench
from capsbench.contracts import Model
from capsbench.errors import UserError
from capsbench.names import find, table


def test_registered_names_lead_to_classes():
    for name in table("models"):
        target = find("models", name)
        assert issubclass(target.load(), Model)
        assert target.summary()
        assert target.identity() == target.slug == name


def test_measures_are_registered_like_models(tmp_path):
    target = find("measures", "accuracy-by-view")
    assert target.summary()
    assert target.identity() == target.slug == "accuracy-by-view"
    with pytest.raises(UserError, match=r"measure .*did you mean 'accuracy-by-view'"):
        find("measures", "acuracy-by-view")
    path = tmp_path / "mine.py"
    path.write_text('class Mine:\n    """A measure."""\n')
    own = find("measures", f"{path}:Mine")
    assert own.load().__name__ == "Mine"
    assert own.identity().startswith("Mine@")


def test_two_checkouts_are_not_mixed(tmp_path):
    """Two copies of the package: the framework of one, which lacks the collections of the other."""
    package = Path(capsbench.__file__).parent
    unneeded = shutil.ignore_patterns("__pycache__", "*.so")
    complete, partial = (tmp_path / name / "capsbench" for name in ("complete", "partial"))
    shutil.copytree(package, complete, ignore=unneeded)
    shutil.copytree(package, partial, ignore=unneeded, symlinks=True)
    for name in ("models", "datamodules", "benchmarks"):
        place = partial / name
        place.unlink() if place.is_symlink() else shutil.rmtree(place)
    program = (
        "import sys; sys.path.insert(0, sys.argv[1]); import capsbench\n"
        "capsbench.__path__.append(sys.argv[2])\n"
        "from capsbench.names import find\n"
        "for kind, name in ('models', 'cnn-small'), ('datamodules', 'digits'):\n"
        "    try: print('loaded', find(kind, name).source())\n"
        "    except Exception as error: print(type(error).__name__, error)\n"
    )

    def sources(framework):
        command = [sys.executable, "-c", program, str(framework.parent), str(complete)]
        ended = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path)
        return ended.stdout.splitlines()

    for line, collection in zip(sources(partial), ("models", "datamodules"), strict=True):
        assert line.startswith("UserError")
        assert str(partial) in line and str(complete / collection) in line
        assert "pip install -e ." in line
    assert all(line.startswith("loaded") for line in sources(complete))


def test_a_users_own_file(tiny_file):
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
def test_wrong_names_are_user_errors(name, message):
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
def test_the_error_of_a_file_that_cannot_be_imported_names_its_line(tmp_path, line, message):
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


def test_a_syntax_error_names_file_and_line(tmp_path):
    path = tmp_path / "typo.py"
    path.write_text("x = 1\nclass Net(:\n")
    target = find("models", f"{path}:Net")
    for reading in (target.load, target.summary):
        with pytest.raises(UserError, match=r"typo\.py, line 2: "):
            reading()
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match=r"typo\.py.*text"):
        target.summary()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("capsbench.contracts:Model", "is abstract.* forward, loss"),
        ("capsbench.contracts:Batch", r"subclass of capsbench\.contracts\.Model"),
        ("capsbench.contracts:one_hot", r"subclass of capsbench\.contracts\.Model"),
    ],
)
def test_only_concrete_subclasses_are_accepted(name, message):
    with pytest.raises(UserError, match=message):
        find("models", name).load_subclass(Model)


def test_the_shared_table_of_names_cannot_be_changed():
    with pytest.raises(TypeError):
        table("models")["mine"] = None  # type: ignore[index]
