"""Fingerprints: short hashes of what determines a record."""

from __future__ import annotations

import json
from hashlib import sha256
from typing import Any


def fingerprint(content: Any) -> str:
    """Return twelve hexadecimal digits that identify a JSON value, for any order of its keys.

    >>> fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    True
    """
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return sha256(text.encode()).hexdigest()[:12]
