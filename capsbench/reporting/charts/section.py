"""Parts of the page with charts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from capsbench.reporting.captions import Caption


@dataclass(frozen=True)
class Panel:
    """One chart.

    Attributes:
        title: Heading; empty for none.
        spec: Specification of Vega-Lite.
        wide: True for a chart that needs the whole width.
        controls: True for a chart whose reader chooses what it shows.
    """

    title: str
    spec: dict[str, Any]
    wide: bool = False
    controls: bool = False


@dataclass(frozen=True)
class ChartSection:
    """Charts with one caption.

    Attributes:
        name: Anchor on the page.
        caption: The texts.
        panels: The charts.
    """

    name: str
    caption: Caption
    panels: Sequence[Panel]
