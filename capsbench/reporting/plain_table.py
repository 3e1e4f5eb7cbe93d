"""A table of text, the same on the page, in Markdown and in the documentation."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class PlainTable:
    """A table with its heading and what is to be said of it.

    Attributes:
        name: Its anchor on the page.
        title: Its heading.
        columns: The headings of its columns.
        rows: As many cells in each; the first is the row's heading.
        caption: What its numbers are.
        numbers: The columns that hold numbers, set to the right, by place.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    caption: str
    numbers: tuple[int, ...] = ()
