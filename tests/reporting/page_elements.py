"""The elements of a page, as a browser would read them."""

import json
import re
from html.parser import HTMLParser

from capsbench.reporting.charts.embed import scripts


class Elements(HTMLParser):
    """Collects tags and attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    @property
    def tags(self) -> set[str]:
        return {tag for tag, _ in self.elements}


def foreign_scripts(page: str) -> list[str]:
    """Return the scripts of a page that are neither ours nor plain JSON."""
    own = scripts(charts=True).sources
    found = re.findall(r"<script([^>]*)>(.*?)</script>", page, flags=re.DOTALL | re.IGNORECASE)
    foreign = []
    for attributes, source in found:
        if attributes == ' type="application/json"':
            json.loads(source)
        elif attributes or source not in own:
            foreign.append(source)
    return foreign


def without_scripts(page: str) -> str:
    """Return a page without its scripts and the data of its charts."""
    return re.sub(r"<script[^>]*>.*?</script>", "", page, flags=re.DOTALL)
