"""The site of the documentation: pages are listed, links resolve, the build has no warning."""

import inspect
import os
import pkgutil
import re
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

import capsbench

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = [
    *ROOT.glob("*.md"),
    *(path for path in DOCS.rglob("*.md") if "_build" not in path.parts),
]
PUBLIC = ("viewpoint", "capsules", "metrics", "measures", "models", "datamodules", "statistics")
INTERNAL = {  # modules of these packages that are no part of the reference
    "capsbench.capsules.backend_names",
    "capsbench.capsules.convolution_products",
    "capsbench.capsules.em_votes",
    "capsbench.capsules.precision",
    "capsbench.capsules.tracing",
    "capsbench.capsules.windows",
}


def without_code(text):
    return re.sub(r"^```.*?^```$|`[^`\n]+`", "", text, flags=re.DOTALL | re.MULTILINE)


def tables_of_contents():
    """Yield each page that a toctree names, as a path without its ending."""
    for page in PAGES:
        for block in re.findall(r"```\{toctree\}\n(.*?)```", page.read_text("utf-8"), re.DOTALL):
            for line in block.splitlines():
                entry = re.sub(r"^.*<(.*)>$", r"\1", line.strip())
                if entry.endswith("*"):
                    yield from (path.with_suffix("") for path in page.parent.glob(f"{entry}.md"))
                elif entry and not entry.startswith(":"):
                    yield (page.parent / entry).resolve()


def test_every_page_is_in_one_table_of_contents():
    listed = list(tables_of_contents())
    pages = {page.with_suffix("") for page in PAGES} - {DOCS / "index", DOCS / "_answer"}
    pages |= {path.with_suffix("") for path in (ROOT / "examples").glob("*.ipynb")}
    assert sorted(listed) == sorted(pages)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_to_a_file_leads_somewhere(page):
    links = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", without_code(page.read_text("utf-8")))
    local = [link for link in links if not re.match(r"[a-z]+:", link)]
    assert [link for link in local if not (page.parent / link).is_file()] == []
    assert not any(link.startswith("/") for link in local)


def test_the_reference_has_every_public_module():
    text = "".join(page.read_text("utf-8") for page in (DOCS / "api").glob("*.md"))
    documented = re.findall(r"\.\. automodule:: (\S+)", text)
    public = {
        f"capsbench.{package}.{path.stem}"
        for package in PUBLIC
        for path in (ROOT / "capsbench" / package).glob("*.py")
        if not path.stem.startswith("_")
    }
    assert public - INTERNAL <= set(documented)
    assert public >= INTERNAL


def public_things():
    """Yield full names of public classes and functions, and of those that pages import."""
    offered = {f"capsbench:{name}" for name in dir(capsbench) if name[0] != "_"}
    text = "".join(page.read_text("utf-8") for page in PAGES)
    imports = re.findall(r"^from (capsbench[\w.]*) import ([\w, ]+)$", text, re.MULTILINE)
    imported = {f"{module}:{name}" for module, names in imports for name in names.split(", ")}
    for thing in map(pkgutil.resolve_name, sorted(offered | imported)):
        if inspect.isclass(thing) or inspect.isfunction(thing):
            yield thing.__name__, f"{thing.__module__}.{thing.__qualname__}"


@pytest.mark.slow
def test_the_site_is_built_without_a_warning(tmp_path):
    """As `make docs` does, with a broken reference refused and figures in place."""
    build = [sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning", "--keep-going"]
    command = [*build, "-c", "docs", "-d", str(tmp_path / "doctrees"), ".", str(tmp_path / "html")]
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONWARNINGS"}
    result = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=600
    )
    assert result.returncode == 0, result.stdout + result.stderr
    html = tmp_path / "html"
    assert (html / "index.html").is_file()
    *_, inventory = (html / "objects.inv").read_bytes().split(b"\n", 4)
    documented = {line.split()[0] for line in zlib.decompress(inventory).decode().splitlines()}
    missing = [
        name for short, name in public_things() if not {name, f"capsbench.{short}"} & documented
    ]
    assert missing == []
    reference = (html / "docs/api/contracts.html").read_text("utf-8")
    assert 'id="capsbench.contracts.Model.forward"' in reference
    assert 'href="#capsbench.contracts.Model.log_probabilities"' in reference
    assert "mappingproxy" not in (html / "docs/api/capsbench.html").read_text("utf-8")
    readme = (html / "README.html").read_text("utf-8")
    assert 'href="docs/results.html"' in readme
    for image in re.findall(r'<img [^>]*src="([^"]+)"', readme):
        assert (html / image).is_file()
