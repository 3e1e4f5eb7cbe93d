"""docs/measures.md names every measure that there is."""

import re
from pathlib import Path
from typing import get_args

from capsbench.measures import MeasureEntry

PAGE = (Path(__file__).parents[1] / "docs" / "measures.md").read_text(encoding="utf-8")


def test_every_measure_is_in_the_table():
    union, _ = get_args(MeasureEntry)
    names = {get_args(cls.model_fields["measure"].annotation)[0] for cls in get_args(union)}
    assert set(re.findall(r"^\| `([a-z-]+)` \|", PAGE, flags=re.MULTILINE)) == names
