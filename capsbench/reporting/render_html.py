"""Pages in HTML: the templates, and the macro that renders every table of a page.

In a template, ``{% from "table.html.jinja" import section %}`` and ``{{ section(table) }}`` show a
`capsbench.reporting.table.Table`.
"""

from __future__ import annotations

from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from capsbench.reporting import formatting
from capsbench.reporting.style import SERIES, css_color, series


def render(template: str, **values: Any) -> str:
    """Return a page.

    Args:
        template: Name of the template.
        values: Its variables; text in them is escaped.
    """
    environment = Environment(
        loader=PackageLoader("capsbench.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["duration"] = formatting.duration
    environment.filters["percent"] = formatting.percent
    environment.globals["series"] = series
    environment.globals["css_color"] = css_color
    style = environment.get_template("style.css").render(palette=SERIES)
    return environment.get_template(template).render(**values, style=Markup(style))
