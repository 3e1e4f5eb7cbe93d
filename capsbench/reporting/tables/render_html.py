"""Pages in HTML: the templates, and the macro that renders every table of a page.

In a template, ``{% from "table.html.jinja" import section %}`` and ``{{ section(table) }}`` show a
`capsbench.reporting.tables.table.Table`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from capsbench.reporting import formatting
from capsbench.reporting.charts.embed import chart_data, scripts
from capsbench.reporting.figures.style import SERIES, css_color, series
from capsbench.reporting.tables.table import Table


def render(template: str, *, charts: bool = False, **values: Any) -> str:
    """Return a page.

    Args:
        template: Name of the template.
        charts: True for a page with charts.
        values: Its variables; text in them is escaped.
    """
    pages = environment()
    style = pages.get_template("style.css").render(palette=SERIES)
    own = scripts(charts=charts)
    return pages.get_template(template).render(**values, style=Markup(style), scripts=own)


def render_notebook(title: str, tables: Sequence[Table], *, notes: Sequence[str] = ()) -> str:
    """Return tables as the output of a notebook's cell.

    Args:
        title: Heading.
        tables: The tables; all but the first are folded.
        notes: Lines below the tables; empty ones are left out.
    """
    template = environment().get_template("notebook.html.jinja")
    return template.render(title=title, tables=tables, notes=notes, palette=SERIES)


def environment() -> Environment:
    """Return the templates, with the formats of numbers and the colors of models."""
    templates = Environment(
        loader=PackageLoader("capsbench.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["counted"] = formatting.counted
    templates.filters["counted_range"] = formatting.counted_range
    templates.filters["duration"] = formatting.duration
    templates.filters["percent"] = formatting.percent
    templates.filters["chart_data"] = chart_data
    templates.globals["series"] = series
    templates.globals["css_color"] = css_color
    return templates
