"""Lock files: pins of everything with hashes, without addresses, within the bounds."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
FOLDER = ROOT / "requirements"
LOCKS = {
    name: (FOLDER / name).read_text("utf-8")
    for name in ("lock.txt", "lock-dev.txt", "lock-ray.txt")
}


def locked_requirements(lock):
    """Yield the requirements of a lock file, each with its hashes."""
    lines = re.sub(r"\\\n", " ", re.sub(r"(?m)^\s*#.*\n", "", LOCKS[lock])).splitlines()
    for line in lines:
        requirement, *hashes = line.split("--hash=")
        yield Requirement(requirement.strip()), [text.strip() for text in hashes]


def pins(lock):
    """Return the pins of a lock file by name; a package may have one per platform."""
    result: dict[str, set[str]] = {}
    for requirement, _ in locked_requirements(lock):
        (pin,) = requirement.specifier
        result.setdefault(canonicalize_name(requirement.name), set()).add(pin.version)
    return result


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_holds_no_address_and_every_hash(lock):
    assert not re.search(r"://|file:|--find-links|--index|-index-url|--trusted| @ ", LOCKS[lock])
    locked = list(locked_requirements(lock))
    assert len(locked) > 50
    for requirement, hashes in locked:
        assert re.fullmatch(r"==[^+,]+", str(requirement.specifier)), "no pin of a public version"
        assert hashes, f"{requirement} has no hash"
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", text) for text in hashes)


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_satisfies_every_bound(lock):
    project = PYPROJECT["project"]
    bounds = [*PYPROJECT["build-system"]["requires"], *project["dependencies"]]
    extras = dict(project["optional-dependencies"])
    ray = extras.pop("ray")  # 240 MB that no test of every change needs
    if lock == "lock-dev.txt":
        bounds += [line for extra in extras.values() for line in extra]
    if lock == "lock-ray.txt":
        bounds += ray
    locked = pins(lock)
    for requirement in map(Requirement, bounds):
        if requirement.name == "capsbench":
            continue
        versions = locked.get(canonicalize_name(requirement.name), set())
        assert versions, f"{requirement.name} is not locked: run `make lock`"
        assert all(version in requirement.specifier for version in versions), str(requirement)


def test_the_lock_for_running_holds_no_tool_and_agrees_with_the_others():
    running, everything, ray = pins("lock.txt"), pins("lock-dev.txt"), pins("lock-ray.txt")
    tools = {"pytest", "ruff", "mypy", "selenium", "hypothesis", "pandas", "submitit"}
    assert not running.keys() & {*tools, "ray"}
    assert not ray.keys() & tools and "ray" not in everything
    for others in (everything, ray):
        assert all(others[name] == versions for name, versions in running.items())


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_restricts_packages_of_one_platform_to_it(lock):
    for requirement, _ in locked_requirements(lock):
        if requirement.name.startswith(("nvidia-", "cuda-", "triton")):
            assert "sys_platform == 'linux'" in str(requirement.marker).replace('"', "'")
