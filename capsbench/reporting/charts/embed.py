"""Scripts of the page: Vega, DataTables and our own, allowed by their hashes alone."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Any, NamedTuple

import vl_convert
from markupsafe import Markup

from capsbench.reporting.charts.look import THEME

EXPORT = re.compile(r"export\s*\{(?:[^}]*,)?\s*([\w$]+) as default\b[^}]*\};?")


class Scripts(NamedTuple):
    """Scripts of a page.

    Attributes:
        sources: Source text of each script.
        policy: Sources of scripts in the content-security policy: the hash of each.
    """

    sources: tuple[Markup, ...]
    policy: str


@cache
def scripts(*, charts: bool) -> Scripts:
    """Return the scripts of a page.

    Args:
        charts: True for a page with charts.

    Raises:
        ValueError: The installed itables does not export DataTables as expected.
    """
    own = files("capsbench.reporting").joinpath("templates", "page.js").read_text()
    theme = f"const THEME = {json.dumps(THEME)};\n"
    texts = [*([_vega()] if charts else []), _data_tables(), theme + own]
    sources = tuple(Markup(text.replace("</script", r"<\/script")) for text in texts)
    return Scripts(sources, " ".join(f"'sha256-{_hash(source)}'" for source in sources))


def chart_data(spec: dict[str, Any]) -> Markup:
    r"""Return a specification as the contents of a script element of JSON.

    >>> chart_data({"title": "</script>"})
    Markup('{"title":"\\u003c/script>"}')
    """
    text = json.dumps(spec, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", r"\u003c"))


def _vega() -> str:
    """Return Vega, Vega-Lite and Vega-Embed as a script, from the packages inside of vl-convert."""
    bundle: str = vl_convert.javascript_bundle()  # type: ignore[call-arg] # its stub has no default
    return bundle


def _data_tables() -> str:
    """Return DataTables, the default export of itables' module, as a script."""
    text = files("itables").joinpath("html", "dt_bundle.js").read_text()
    exported = EXPORT.search(text)
    if exported is None:
        raise ValueError("itables has no default export, which was DataTables")
    module = (
        text[: exported.start()] + f"globalThis.DataTable={exported[1]};" + text[exported.end() :]
    )
    return f"(() => {{{module}\n}})();"


def _hash(source: str) -> str:
    return b64encode(sha256(source.encode()).digest()).decode()
