"""A slice of the random search of ``make fuzz``, and the cases that it brought to light."""

import random
from dataclasses import replace
from functools import partial

import pytest
import torch

from capsbench.capsules.kernels import em_eager
from tests.capsules.fuzz import Case, backends_here, check

em = partial(Case, routing="em", strided=False)
CASES = [
    # A parent of one present child: half of the variance's gradient was lost in the kernels.
    em(
        seed=228427,
        batch=9,
        children=2,
        parents=8,
        iterations=5,
        size=0.1,
        spread=0.0,
        dtype="float64",
        presence="some",
        map_size=(4, 1),
        kernel=(2, 1),
        temperature=0.5,
        variant="classes",
    ),
    # No present child: the gradient of the presences was lost in rounding.
    em(
        seed=365436,
        batch=1,
        children=1,
        parents=4,
        iterations=5,
        size=0.1,
        spread=0.0,
        dtype="float64",
        presence="some",
        map_size=(2, 1),
        kernel=(2, 1),
        temperature=0.01,
        variant="classes",
    ),
    # Parents without mass.
    em(
        seed=2,
        batch=2,
        children=2,
        parents=8,
        iterations=3,
        size=3.0,
        spread=0.5,
        dtype="float64",
        map_size=(3, 3),
        kernel=(3, 3),
        temperature=5.0,
    ),
]
FORMS = [name for name in backends_here() if name not in ("compiled", "triton")]


@pytest.mark.parametrize("case", CASES)
def test_known_cases(case):
    message, counts = check(case, FORMS)
    assert not message
    assert counts["compared"] == counts.total() == 8 * (len(FORMS) - 1)  # textbook is expected


def test_a_known_case_has_parents_without_mass():
    case = CASES[2]
    tensors = case.tensors()
    assigned = case.route(tensors, "textbook")[2].flatten(0, 2).flatten(2)  # (B, P, I)
    mass = assigned @ tensors[1].flatten(1)[..., None]
    assert (mass < 1e-12).sum() >= 3


@pytest.mark.parametrize("number", range(20))
def test_random_cases(number):
    rng = random.Random(f"suite/{number}")
    case = Case.draw(rng)
    # Without C, which would be compiled for each of their sizes.
    message, _ = check(case, [name for name in FORMS if name != "native"])
    assert not message, repr(case)


def test_the_search_sees_a_wrong_gradient(monkeypatch):
    def wrong(*arguments):
        weights, (patches, *rest) = correct(*arguments)
        return weights, (1.001 * patches, *rest)

    correct = em_eager._moments_gradient
    monkeypatch.setattr(em_eager, "_moments_gradient", wrong)
    monkeypatch.setattr(
        "capsbench.capsules.mixture_windows.kernels", lambda *_: em_eager.EMEagerPasses()
    )
    message, _ = check(CASES[0], ["eager"])
    assert "differs by" in message


def test_the_search_sees_an_error_of_ten_percent_in_float32(monkeypatch):
    """In most cases: the others have no digits, or gradients of zero."""

    def wrong(case, tensors, backend, *arguments):
        results = correct(case, tensors, backend, *arguments)
        count = 3 if case.routing == "em" else 2
        factor = 1.1 if backend == "eager" else 1.0
        return *results[:count], *(factor * x for x in results[count:])

    correct = Case.route
    monkeypatch.setattr(Case, "route", wrong)
    drawn = (Case.draw(random.Random(f"wrong/{number}")) for number in range(60))
    cases = [case for case in drawn if case.dtype == "float32" and case.batch]
    failures = [check(case, ["eager"])[0] for case in cases]
    assert len(cases) > 15
    assert sum("differs by" in message for message in failures) > 0.7 * len(cases)


def test_what_is_not_compared_is_counted():
    counts = check(replace(CASES[2], dtype="float32", size=1e4), ["eager"])[1]
    assert counts == {"unresolved": 8}
    counts = check(replace(CASES[2], dtype="float32", size=1.0, iterations=8), ["eager"])[1]
    assert counts["without digits"] > 3
    assert counts.total() == 8
    assert not check(CASES[2], ["textbook"])[1]  # in float64: with itself


def test_a_case_is_a_line_of_python():
    case = Case.draw(random.Random(0))
    assert eval(repr(case), {"Case": Case}) == case
    assert all(
        torch.equal(one, other) for one, other in zip(case.tensors(), case.tensors(), strict=True)
    )
