"""Structure: folders at the root, the table of names, the direction of imports, dependencies."""

import ast
import importlib.metadata
import importlib.resources
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from configparser import ConfigParser
from itertools import chain
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import capsbench
from tests.requirements.test_locks import LOCKS

ROOT = Path(__file__).resolve().parents[1]
COLLECTIONS = ("models", "datamodules", "benchmarks")
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
TABLE = PYPROJECT["project"]["entry-points"]
KINDS = (*COLLECTIONS, "measures")
NAMES = [(f"capsbench.{kind}", name) for kind in KINDS for name in TABLE[f"capsbench.{kind}"]]

# Direction of imports: a module imports its own layer and those before it.
LAYERS = (
    {
        "__version__",
        "errors",
        "names",
        "strict",
        "arguments",
        "fingerprint",
        "values",
        "contracts",
        "representations",
        "search_space",
        "pretrained",
        "environment",
        "executors",
        "process",
        "progress",
        "files",
        "formats",
        "viewpoint",
        "rendering",
        "capsules",
        "statistics",
    },
    {"data", "profiling", "metrics"},
    {"training", "measures", "wrapping", "trusted_code"},
    {"schema"},
    {"records"},
    {"reporting", "conformance"},
    {"running", "speed"},
    {"cli", "evaluation", "catalog", "__main__"},
)


def real_files():
    """Return every file of the package: its path in the repository -> its path when installed."""
    files = {}
    for top in ("capsbench", *COLLECTIONS):
        for folder, _, names in os.walk(ROOT / top):  # does not follow the links
            if Path(folder).name == "__pycache__":
                continue
            for path in (Path(folder, name).relative_to(ROOT) for name in names):
                files[path] = path if top == "capsbench" else Path("capsbench") / path
    return files


def run(*command, cwd=ROOT, text=None):
    return subprocess.run(
        command, cwd=cwd, input=text, capture_output=True, text=True, check=False, timeout=300
    )


# Folders and names


def test_the_packages_list_equals_the_folders():
    folders = {
        ".".join(inside.parent.parts)
        for inside in real_files().values()
        if inside.name == "__init__.py"
    }
    with_code = {
        ".".join(inside.parent.parts) for inside in real_files().values() if inside.suffix == ".py"
    }
    assert with_code == folders, "a folder holds Python files but no __init__.py"
    assert sorted(folders) == PYPROJECT["tool"]["setuptools"]["packages"]
    assert PYPROJECT["tool"]["setuptools"]["package-dir"] == {
        f"capsbench.{name}": name for name in COLLECTIONS
    }


@pytest.mark.parametrize("name", COLLECTIONS)
def test_links_are_relative_and_resolve(name):
    link = ROOT / "capsbench" / name
    if not link.is_symlink():  # core.symlinks=false, as on Windows
        assert link.read_text(encoding="utf-8") == f"../{name}"
        pytest.skip("this clone was made without symbolic links")
    assert link.readlink() == Path("..") / name
    assert (link / "__init__.py").resolve() == ROOT / name / "__init__.py"


@pytest.mark.parametrize("name", COLLECTIONS)
def test_collections_refuse_their_bare_name(name):
    bare = run(sys.executable, "-c", f"import {name}")
    assert bare.returncode == 1
    assert bare.stderr.endswith(f"ImportError: import capsbench.{name}, not {name}\n")
    inside = run(sys.executable, "-c", f"import capsbench.{name}")
    assert inside.returncode == 0, inside.stderr


def test_the_version_is_known_without_torch():
    code = "import sys, capsbench; print(capsbench.__version__, 'torch' in sys.modules)"
    assert run(sys.executable, "-c", code).stdout == f"{capsbench.__version__} False\n"
    assert importlib.metadata.version("capsbench") == capsbench.__version__, "run `make install`"


# The table of names


@pytest.mark.parametrize("kind", KINDS)
def test_the_installed_table_is_the_written_one(kind):
    group = f"capsbench.{kind}"
    installed = {
        entry.name: entry.value
        for entry in importlib.metadata.distribution("capsbench").entry_points
        if entry.group == group
    }
    assert installed == TABLE[group], "the installed table is stale: run `make install`"


@pytest.mark.parametrize(("group", "name"), NAMES)
def test_every_name_of_ours_resolves(group, name):
    entry = importlib.metadata.EntryPoint(name, TABLE[group][name], group)
    package, _, target = entry.value.partition(":")
    if group == "capsbench.benchmarks":
        assert (importlib.resources.files(package) / target).is_file()
    else:
        assert entry.load().__name__ == target


@pytest.mark.parametrize("kind", KINDS)
def test_every_file_of_a_collection_is_in_the_table(kind):
    suffix = ".yaml" if kind == "benchmarks" else ".py"
    folder = ROOT / "capsbench" / kind if kind == "measures" else ROOT / kind
    files = {
        path.name
        for path in folder.iterdir()
        if path.name != "__pycache__" and not path.name.startswith(("_", "."))
    }
    named = set()
    for value in TABLE[f"capsbench.{kind}"].values():
        module, _, target = value.partition(":")
        named.add(target if kind == "benchmarks" else module.rpartition(".")[2] + suffix)
    assert files == named


# The arrow of imports


def imported_modules(path):
    """Yield the names of all modules that a file imports, at its top or inside a function."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def layer_of(name):
    layers = [index for index, members in enumerate(LAYERS) if name in members]
    assert len(layers) == 1, f"add capsbench.{name} to LAYERS"
    return layers[0]


@pytest.mark.parametrize(
    "path",
    [path for path in real_files() if path.parts[0] == "capsbench" and path.suffix == ".py"],
    ids=str,
)
def test_the_framework_imports_downwards(path):
    own = path.with_suffix("").parts[1]
    if own == "__init__":  # its stub names what is imported at the first use
        assert set(imported_modules(ROOT / path)) == {"lazy_loader"}
        return
    used = {
        name.split(".")[1]
        for name in imported_modules(ROOT / path)
        if name.startswith("capsbench.")
    }
    assert not used & set(COLLECTIONS), "the framework imports no collection"
    assert [name for name in used if layer_of(name) > layer_of(own)] == []
    if own == "capsules":
        assert used <= {"capsules", "errors"}, (
            "capsbench.capsules must work without the other packages"
        )


@pytest.mark.parametrize(
    ("code", "file", "rule"),
    [
        ("from capsbench.models import cnn_small", "capsbench/running/x.py", "TID251"),
        ("from capsbench import datamodules", "capsbench/cli/x.py", "TID251"),
        ("import capsbench.benchmarks", "capsbench/x.py", "TID251"),
        ("import capsbench.models", "models/x.py", None),
        ("import capsbench.models", "tests/models/x.py", None),
        ("import torch", "capsbench/cli/x.py", "TID253"),
        ("import torch", "capsbench/names.py", "TID253"),
        ("import torch", "capsbench/process.py", "TID253"),
        ("import torch", "capsbench/environment/x.py", "TID253"),
        ("import torch", "capsbench/running/__main__.py", "TID253"),
        ("import torch", "capsbench/training/x.py", None),
        ("from .task import Task", "capsbench/training/x.py", "TID252"),
        ("from .task import Task", "capsbench/x.pyi", None),
    ],
)
def test_ruff_keeps_the_arrow(code, file, rule):
    ruff = [sys.executable, "-m", "ruff", "check", "--no-cache", "--select", "TID"]
    result = run(*ruff, "--output-format", "concise", "--stdin-filename", file, "-", text=code)
    assert result.returncode == (1 if rule else 0), result.stdout + result.stderr
    assert rule is None or f" {rule} " in result.stdout


# The wheel


@pytest.mark.parametrize("links", [True, False], ids=["links", "a clone without links"])
def test_the_wheel_holds_the_package_and_nothing_else(tmp_path, links):
    source = tmp_path / "source"
    ignored = shutil.ignore_patterns("__pycache__", ".*", "*.egg-info")
    for name in ("capsbench", *COLLECTIONS, "tests"):
        shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    if not links:  # as git writes them with core.symlinks=false
        for name in COLLECTIONS:
            (source / "capsbench" / name).unlink()
            (source / "capsbench" / name).write_text(f"../{name}", encoding="utf-8")

    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path)]
    result = run(*build, cwd=source)
    assert result.returncode == 0, result.stdout + result.stderr

    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        inside = {Path(name) for name in archive.namelist()}
        (info,) = {path.parts[0] for path in inside if path.parts[0].endswith(".dist-info")}
        entry_points = ConfigParser(delimiters="=")
        entry_points.read_string(archive.read(f"{info}/entry_points.txt").decode())

    assert info == f"capsbench-{capsbench.__version__}.dist-info"
    assert {path for path in inside if path.parts[0] != info} == set(real_files().values())
    assert {path.suffix for path in real_files()} >= {".py", ".pyi", ".yaml", ".typed"}
    assert any(path.parent.name == "templates" for path in inside)
    assert Path(info, "licenses", "LICENSE") in inside
    written = {section: dict(entry_points[section]) for section in entry_points.sections()}
    assert written == {**TABLE, "console_scripts": PYPROJECT["project"]["scripts"]}


# The sdist


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="lists the files of a checkout by git")
def test_the_sdist_holds_all_that_a_checkout_needs(tmp_path):
    source = tmp_path / "source"
    files = run("git", "ls-files", "--cached", "--others", "--exclude-standard").stdout.split("\n")
    for name in filter(None, files):
        if (ROOT / name).exists():  # a deletion may be uncommitted
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, source / name, follow_symlinks=False)
    build = [sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", str(tmp_path)]
    result = run(*build, cwd=source)
    assert result.returncode == 0, result.stdout + result.stderr
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        inside = {Path(*Path(name).parts[1:]).as_posix() for name in tar.getnames()}
    for folder in (*COLLECTIONS, "tests", "docs", "examples", "results"):
        here = {
            path.relative_to(source).as_posix()
            for path in (source / folder).rglob("*")
            if path.is_file()
        }
        assert here <= inside, folder
    needed = {"Makefile", *(f"requirements/{name}" for name in LOCKS)}
    needed |= {"CONTRIBUTING.md", "CHANGELOG.md"}
    assert needed | {".ci/run", "pyproject.toml", "README.md", "LICENSE"} <= inside


# The lock files


EXTRAS_OF_USERS = (
    *("parquet", "pandas", "timm", "lightning-cli", "slurm", "ray"),
    *("tensorboard", "wandb-report"),
)


def test_every_import_is_a_declared_dependency():
    """A package that is imported is declared, under the name that its import has."""
    imports = {
        "ruamel": "ruamel.yaml",
        "sklearn": "scikit-learn",
        "PIL": "pillow",
        "triton": "torch",
        "pydantic_core": "pydantic",
        "vl_convert": "vl-convert-python",
    }
    extras = PYPROJECT["project"]["optional-dependencies"]
    for_users = [extras[name] for name in EXTRAS_OF_USERS]
    declared = {
        canonicalize_name(Requirement(line).name)
        for line in [*PYPROJECT["project"]["dependencies"], *chain(*for_users)]
    }
    declared.add(canonicalize_name("IPython"))  # imported in a notebook, whose kernel brings it
    for path in real_files():
        if path.suffix != ".py":
            continue
        for name in imported_modules(ROOT / path):
            top = name.partition(".")[0]
            if top not in sys.stdlib_module_names and top != "capsbench":
                assert canonicalize_name(imports.get(top, top)) in declared, f"{path}: {top}"


def test_one_module_reads_yaml():
    """PyYAML takes ``no`` for false, and the last of two equal keys; other packages bring it."""
    users = {
        path.as_posix()
        for path in real_files()
        if path.suffix == ".py"
        and {"yaml", "ruamel"} & {name.partition(".")[0] for name in imported_modules(ROOT / path)}
    }
    assert users == {"capsbench/files/yaml.py"}
