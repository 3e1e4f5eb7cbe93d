"""Download packages as wheels for a machine that has torch but reaches no registry.

``make gpu-wheels`` fills ``.wheels`` with the pinned packages of ``lock.txt`` that the other
machine lacks, checked by their hashes, and with CapsBench itself. There, in a copy of the checkout:
``python3 -m pip install --no-index --no-deps --target SITE .wheels/*.whl``, then
``PYTHONPATH=SITE python3 -m capsbench.speed.gpu``.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, NamedTuple

import typer
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from capsbench.environment.entry import run_process
from capsbench.environment.streams import print_line
from capsbench.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "requirements" / "lock.txt"
MIB = 2**20
# Large packages that machines with torch have: with them, all would be above the limit.
PRESENT = ("torch", "torchvision", "numpy", "pillow", "scipy", "scikit-learn", "matplotlib")
GLIBC = range(39, 4, -1)  # pip takes the tags of a platform literally: glibc 2.39 to 2.5


class Pinned(NamedTuple):
    """A package of the lock file.

    Attributes:
        requirement: Name, version and marker.
        hashes: Hashes of its files.
        needed_by: Names of the packages that need it.
    """

    requirement: Requirement
    hashes: tuple[str, ...]
    needed_by: frozenset[str]

    @property
    def name(self) -> str:
        """Normalized name."""
        return canonicalize_name(self.requirement.name)


def read_lock(text: str) -> Iterator[Pinned]:
    """Read the packages of a lock file of uv, which names after each one those that need it."""
    for block in re.split(r"\n(?=[a-z0-9])", text):
        head = block.split("\\")[0].strip()
        if head.startswith("#") or not head:
            continue
        comments = re.findall(r"#\s+(?:via\s*)?([A-Za-z0-9._-]+)", block)
        yield Pinned(
            Requirement(head),
            tuple(re.findall(r"--hash=(\S+)", block)),
            frozenset(canonicalize_name(name) for name in comments if name != "via"),
        )


def target_environment(python: str) -> dict[str, str]:
    """Return the values of markers on Linux on x86-64, under a version of Python such as 3.12."""
    return {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "os_name": "posix",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "platform_machine": "x86_64",
        "extra": "",
    }


def missing_packages(
    locked: Iterable[Pinned], present: Iterable[str], environment: dict[str, str]
) -> list[Pinned]:
    """Return the packages that CapsBench needs on a machine with some packages.

    A package that only those need is there as well. One that another package needs too is not
    relied on, since the machine may have an older version.
    """
    there = {canonicalize_name(name) for name in present}
    candidates = [
        each
        for each in locked
        if each.name not in there
        and (each.requirement.marker is None or each.requirement.marker.evaluate(environment))
    ]
    needed = {"capsbench"}
    while more := {each.name for each in candidates if each.needed_by & needed} - needed:
        needed |= more
    return [each for each in candidates if each.name in needed]


def download(packages: Iterable[Pinned], python: str, folder: Path) -> None:
    """Download a wheel of each package for Linux on x86-64 and check its hash.

    Raises:
        UserError: pip refuses a package, or there is no wheel of it.
    """
    platforms = [f"manylinux_2_{minor}_x86_64" for minor in GLIBC]
    platforms += ["manylinux2014_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64"]
    with tempfile.TemporaryDirectory() as place:
        # Without markers: pip would evaluate them for this machine.
        requirements = Path(place, "requirements.txt")
        requirements.write_text(
            "".join(
                f"{each.requirement.name}{each.requirement.specifier} "
                f"{' '.join(f'--hash={value}' for value in each.hashes)}\n"
                for each in packages
            ),
            encoding="utf-8",
        )
        _pip(
            *("download", "--quiet", "--require-hashes", "--no-deps", "--only-binary=:all:"),
            *("--python-version", python, "--implementation", "cp"),
            *(f"--platform={name}" for name in platforms),
            *("--dest", str(folder), "--requirement", str(requirements)),
        )


def build(folder: Path) -> None:
    """Build CapsBench's own wheel, whose metadata has the names of models and measures.

    It is built from a copy: files of an earlier build would be part of it.
    """
    with tempfile.TemporaryDirectory() as place:
        for name in ("capsbench", "models", "datamodules", "benchmarks"):
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, Path(place, name), symlinks=True, ignore=ignored)
        for name in ("pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, place)
        _pip("wheel", "-q", "--no-deps", "--no-build-isolation", f"--wheel-dir={folder}", place)


def _pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments]
    result = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    if result.returncode:
        errors = [line for line in result.stderr.splitlines() if line.startswith("ERROR")]
        raise UserError(f"pip failed: {errors[0] if errors else result.stderr.strip()[-500:]}")


def wheels(
    output: Annotated[Path, typer.Option(metavar="DIR", help="Folder of the wheels.")] = ROOT
    / ".wheels",
    python: Annotated[
        str, typer.Option(metavar="X.Y", help="Version of the other machine's Python.")
    ] = "3.12",
    present: Annotated[
        str, typer.Option(metavar="NAMES", help="Large packages that it has.")
    ] = " ".join(PRESENT),
    limit: Annotated[
        float, typer.Option(metavar="MIB", help="Largest size of all wheels together.")
    ] = 64,
) -> None:
    """Download what a machine lacks that has torch; list the sizes; check their sum."""
    if not re.fullmatch(r"3\.\d+", python):
        raise UserError(f"--python takes a version such as 3.12; got '{python}'")
    packages = missing_packages(
        read_lock(LOCK.read_text(encoding="utf-8")),
        re.split(r"[\s,]+", present.strip()),
        target_environment(python),
    )
    output.mkdir(parents=True, exist_ok=True)
    for old in output.glob("*.whl"):  # two versions of a package stop an installation
        old.unlink()
    download(packages, python, output)
    build(output)
    sizes = {path.name: path.stat().st_size for path in output.glob("*.whl")}
    for name, size in sorted(sizes.items(), key=lambda item: -item[1]):
        print_line(f"{size / MIB:7.2f} MiB  {name}")
    total = sum(sizes.values()) / MIB
    print_line(f"{total:7.2f} MiB  {len(sizes)} wheels in {output}")
    if total > limit:
        raise UserError(
            f"expected at most {limit:g} MiB, got {total:.1f}; name more packages that the other "
            "machine has by --present, or raise --limit"
        )


def main() -> int:
    """Run the command; a failure that is no bug of ours is one line on stderr."""
    app = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
    app.command()(wheels)
    command = typer.main.get_command(app)

    def call() -> None:
        try:
            command.main(prog_name="make gpu-wheels", standalone_mode=False)
        except typer.TyperException as error:
            raise UserError(error.format_message()) from None

    return run_process(call)


if __name__ == "__main__":
    sys.exit(main())
