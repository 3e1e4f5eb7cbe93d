"""A file of claims declares one primary test for each network and set, and a bound."""

import pytest
from pydantic import ValidationError

from capsbench.errors import UserError
from capsbench.files.yaml import write_yaml
from capsbench.schema.claims import Claim, load_claims

TEST = {
    "part": "digits",
    "model": "CapsNet (dynamic routing)",
    "against": "CNN",
    "primary": True,
    "measure": "accuracy-by-view",
    "quantity": {"metric": "accuracy", "split": "novel"},
}
SECONDARY = TEST | {"primary": False}
OTHER_NETWORK = {"model": "Matrix capsules (EM routing)"}


def claim(*tests, **fields):
    return {"claim": "Capsules are better", "source": "a test", "tests": list(tests), **fields}


@pytest.mark.parametrize(
    "tests",
    [
        (TEST,),
        (TEST, SECONDARY, SECONDARY | {"against": "LeNet-5"}),
        (TEST, TEST | {"part": "mnist"}, TEST | OTHER_NETWORK),
    ],
)
def test_one_primary_test_of_each_network_on_each_set_is_accepted(tests):
    assert Claim.model_validate(claim(*tests)).tests


@pytest.mark.parametrize(
    ("tests", "network", "part", "count"),
    [
        ((SECONDARY,), "dynamic", "digits", "none"),
        ((TEST, TEST), "dynamic", "digits", "2"),
        ((TEST, SECONDARY | {"part": "mnist"}), "dynamic", "mnist", "none"),
        ((TEST, SECONDARY | OTHER_NETWORK), "EM", "digits", "none"),
        ((TEST, TEST | {"at": 10.0}), "dynamic", "digits", "2"),
    ],
)
def test_none_and_two_primary_tests_are_refused(tests, network, part, count):
    with pytest.raises(ValidationError, match="one primary test") as error:
        Claim.model_validate(claim(*tests))
    for word in (network, f"'{part}'", f"got {count}", "primary: true"):
        assert word in str(error.value)


def test_the_bound_is_declared_in_the_file():
    assert Claim.model_validate(claim(TEST)).bound == 0.02
    assert Claim.model_validate(claim(TEST, bound=0.01)).bound == 0.01
    for bound in (0.0, -0.01):
        with pytest.raises(ValidationError, match="bound"):
            Claim.model_validate(claim(TEST, bound=bound))


def test_networks_are_those_of_the_claim_in_order():
    tests = (TEST | OTHER_NETWORK, TEST, SECONDARY)
    expected = ("Matrix capsules (EM routing)", "CapsNet (dynamic routing)")
    assert Claim.model_validate(claim(*tests)).networks == expected


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"learned": True}, "not measured before training"),
        ({"model": "CapsNet (dynamic rooting)"}, "did you mean"),
        ({"part": "digit"}, "did you mean"),
        ({"quantity": {"metric": "acuracy"}}, "did you mean"),
        ({"at": 10.0}, "no value 10"),
    ],
)
def test_a_test_of_something_unknown_is_refused(change, word, tmp_path):
    content = {
        "name": "own",
        "version": 1,
        "title": "t",
        "question": "q",
        "source": "s",
        "expected": "e",
        "parts": {"digits": {"benchmark": "quick"}},
        "claims": [claim(TEST | change)],
    }
    file = tmp_path / "own.yaml"
    file.write_text(write_yaml(content))
    with pytest.raises(UserError, match=word):
        load_claims(str(file))
