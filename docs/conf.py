"""Settings of the documentation site; `make docs` builds it into docs/_build/html.

The source folder is the root of the repository, not docs/: README.md, CONTRIBUTING.md and
CHANGELOG.md are pages, and the links between them are the same on the site as in the repository.
"""

import inspect
import pkgutil
from pathlib import Path

from docutils.nodes import Element
from pydantic import BaseModel
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.inspect import stringify_signature

import capsbench

ROOT = Path(__file__).resolve().parents[1]
SOURCES = {"README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs", "examples"}

project = "CapsBench"
author = project_copyright = "CapsBench developers"
release = version = capsbench.__version__

extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "myst_nb"]
root_doc = "docs/index"
exclude_patterns = ["docs/_*", *(path.name for path in ROOT.iterdir() if path.name not in SOURCES)]

# Pages. Links to headings work as in the repository, `measures.md#definitions`.
myst_heading_anchors = 4
nb_execution_mode = "off"  # a slow test executes the notebook; its outputs are stored
highlight_language = "text"  # blocks without a language: commands and drawings

# API. In docstrings a `name` is a reference, see resolve_by_import; ``code`` is any other text.
default_role = "py:obj"
nitpicky = True
nitpick_ignore_regex = [  # annotations: types of other packages, and expressions
    ("py:class", r"(?!capsbench\.[\w.]+$).*"),
    ("py:obj", r"typing\..*"),
]
autodoc_default_options = {"members": True, "show-inheritance": True, "member-order": "bysource"}
napoleon_use_ivar = True  # attributes of a class are one list
autodoc_inherit_docstrings = False  # those of Lightning and torch are written for their own sites
autodoc_typehints_format = "short"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
toc_object_entries_show_parents = "hide"

html_theme = "furo"
html_title = "CapsBench"
html_static_path = ["_static"]
html_css_files = ["wide.css"]
html_extra_path = ["_root"]  # index.html, which leads to docs/index.html
html_copy_source = False


def resolve_by_import(
    app: Sphinx, env: BuildEnvironment, node: Element, contnode: Element
) -> Element | None:
    """Resolve a name as Python does in the class or module whose docstring has it.

    Sphinx knows what the reference documents, under full names and within one module. This adds
    inherited and imported names, and names that are unique by their last parts. What exists but is
    not in the reference, such as a type of torch or a private function, stays code. A name that
    does not exist is an error of the build.
    """
    if node["refdomain"] != "py":
        return None
    name, module, owner = node["reftarget"], node.get("py:module"), node.get("py:class")
    names, exists = [name], False
    for place in (f"{module}:{owner}.{name}", f"{module}:{name}", name):
        try:
            thing = pkgutil.resolve_name(place)
        except (AttributeError, ImportError, ValueError):
            continue
        local = getattr(thing, "__qualname__", "")
        names, exists = [f"{getattr(thing, '__module__', '')}.{local}", f"capsbench.{local}"], True
        break
    node["refspecific"] = not exists
    for name in names:
        link = env.domains.python_domain.resolve_xref(
            env, node["refdoc"], app.builder, "obj", name, node, contnode
        )
        if link is not None:
            return link
    return contnode if exists else None


def write_class_signature(
    app: Sphinx, kind: str, name: str, thing: type, options: object, text: str, returns: str
) -> tuple[str, str] | None:
    """Write the arguments of a class with the names of their types as in its source.

    Those of a pydantic model are names and short defaults; its docstring lists the types. An empty
    mapping that cannot be changed is written as an empty one.
    """
    if kind != "class":
        return (text.replace("mappingproxy({})", "{}"), returns) if text else None
    if issubclass(thing, BaseModel):
        arguments = ["*"]
        for field, info in thing.model_fields.items():
            default = "..." if info.default_factory else repr(info.default)
            default = default if len(default) < 20 else "..."
            arguments.append(field if info.is_required() else f"{field}={default}")
        return f"({', '.join(arguments)})", returns
    if not inspect.isfunction(thing.__init__):
        return None
    _, *parameters = inspect.signature(thing.__init__).parameters.values()
    return stringify_signature(inspect.Signature(parameters), unqualified_typehints=True), returns


def skip_field(
    app: Sphinx, kind: str, name: str, thing: object, skip: bool, options: object
) -> bool | None:
    """Leave out the fields of named tuples, which the docstrings of their classes describe."""
    return True if type(thing).__name__ == "_tuplegetter" else None


def setup(app: Sphinx) -> None:
    """Connect the functions above."""
    app.connect("missing-reference", resolve_by_import)
    app.connect("autodoc-process-signature", write_class_signature)
    app.connect("autodoc-skip-member", skip_field)
