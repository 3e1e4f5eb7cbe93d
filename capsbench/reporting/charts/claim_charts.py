"""Charts of claims: the difference of each primary test with its interval, and the bound."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt

from capsbench.reporting.charts.look import INK, Models, data, specification, tooltips
from capsbench.reporting.charts.section import Panel
from capsbench.reporting.charts.summary_chart import DOWN, ROW, UP
from capsbench.reporting.comparisons.claims import JudgedClaim, JudgedTest
from capsbench.reporting.comparisons.verdicts import verdict_text, without_margin
from capsbench.reporting.tables.claims_tables import (
    bare_difference,
    difference_text,
    is_share,
    network_text,
)
from capsbench.schema.claims import Claim

NAME_LIMIT = 460  # pixels


def claim_charts(judged: Sequence[JudgedClaim]) -> dict[str, Panel]:
    """Return a panel for each claim, by the name of the table of its primary tests.

    A claim has none if no test has an interval, or if its values have different units.

    Args:
        judged: The verdicts.
    """
    charts = {}
    for number, each in enumerate(judged, start=1):
        drawn = [test for test in each.primary if test.difference and test.difference.interval]
        if drawn and len({is_share(test.test) for test in each.primary}) == 1:
            charts[f"claim-{number}"] = Panel("", _chart(drawn, each.claim), wide=True)
    return charts


def _chart(tests: Sequence[JudgedTest], claim: Claim) -> dict[str, Any]:
    networks = dict.fromkeys(test.test.model for test in tests)
    models = Models({name: place for place, name in enumerate(networks)}, {n: n for n in networks})
    factor = 100 if is_share(tests[0].test) else 1
    rows = [_row(test, claim, factor) for test in tests]
    unit = " (percentage points)" if factor == 100 else ""
    title = f"Difference from the other network{unit}, above 0 in favour of the claim"
    bound = factor * claim.bound

    def x(field: str) -> alt.X:
        return alt.X(f"{field}:Q", title=title)

    band = alt.Chart(data([{"low": -bound, "high": bound}])).mark_rect(color=INK, opacity=0.07)
    zero = alt.Chart(data([{"zero": 0}])).mark_rule(color=INK, opacity=0.6, strokeDash=[1.5, 3])
    shown = alt.Chart(data(rows)).encode(alt.Y("name:N", sort=[r["name"] for r in rows], axis=None))
    read = tooltips(
        name="network", against="against", text="difference", interval="interval", verdict="verdict"
    )
    marks = shown.encode(color=models.color(), tooltip=read)
    named = shown.mark_text(align="left", dy=UP, fontSize=12, limit=NAME_LIMIT)
    verdict = shown.mark_text(align="right", dy=UP, fontSize=12, fontWeight="bold")
    return specification(
        [
            band.encode(x("low"), alt.X2("high:Q")),
            zero.encode(x("zero")),
            marks.mark_rule(strokeWidth=2, opacity=0.6, yOffset=DOWN).encode(
                x("low"), alt.X2("high:Q")
            ),
            marks.mark_point(size=80, filled=True, opacity=1, yOffset=DOWN).encode(
                x("mean"), shape=models.shape()
            ),
            named.encode(x=alt.value(0), text="name:N", color=alt.value(INK)),
            verdict.encode(x=alt.value("width"), text="verdict:N", color=alt.value(INK)),
        ],
        height=ROW * len(rows),
    )


def _row(judged: JudgedTest, claim: Claim, factor: float) -> dict[str, Any]:
    assert judged.difference is not None and judged.difference.interval is not None
    assert judged.verdict is not None
    test = judged.test
    own = without_margin(judged.difference, test.margin)
    low, high = own.interval or (own.mean, own.mean)
    return {
        "name": network_text(test),
        "model": test.model,
        "against": test.against,
        "mean": factor * own.mean,
        "low": factor * low,
        "high": factor * high,
        "text": difference_text(test, own.mean),
        "interval": f"{bare_difference(test, low)} to {bare_difference(test, high)}",
        "verdict": verdict_text(judged.verdict, claim),
    }
