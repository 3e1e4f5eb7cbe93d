"""Fingerprints: equal for equal contents, different for any other."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from capsbench.fingerprint import fingerprint

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=3)
)


def test_the_order_of_keys_does_not_matter():
    assert fingerprint({"a": 1, "b": [1, 2]}) == fingerprint({"b": (1, 2), "a": 1})
    assert fingerprint({"a": 1}) != fingerprint({"a": 1.5})


@given(st.dictionaries(st.text(), JSON, max_size=4), st.text(), JSON)
def test_any_change_changes_the_fingerprint(content, key, value):
    changed = content | {key: value}
    same = repr(changed) == repr(content) or (key in content and content[key] == value)
    assert (fingerprint(changed) == fingerprint(content)) == (same and len(changed) == len(content))


def test_non_finite_numbers_are_refused():
    with pytest.raises(ValueError, match=r"JSON compliant|Out of range"):
        fingerprint({"a": float("nan")})
