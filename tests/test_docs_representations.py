"""docs/representations.md names every representation, and its model passes the check."""

import inspect
import re
from pathlib import Path

import pytest

from capsbench import representations
from capsbench.conformance.contract import check_contract, run_check
from capsbench.conformance.subject import Subject
from capsbench.conformance.transformations import declared_transformations
from capsbench.names import find
from capsbench.representations import Representation
from tests.measures.computing import compute, number

PAGE = (Path(__file__).parents[1] / "docs" / "representations.md").read_text(encoding="utf-8")
(CODE,) = re.findall(r"```python\n# slopes.py\n(.*?)```", PAGE, flags=re.DOTALL)
TURNS = {"rotation": {"start": 90, "stop": 180, "step": 90}}


def test_every_representation_is_named():
    shipped = {
        name
        for name, cls in inspect.getmembers(representations, inspect.isclass)
        if issubclass(cls, Representation) and not inspect.isabstract(cls)
    }
    table = set(re.findall(r"^\| `(\w+)`", PAGE, flags=re.MULTILINE))
    assert shipped == table - {"MovedPoses"}  # of a model's own


def test_a_representation_of_a_users_own(tmp_path):
    path = tmp_path / "slopes.py"
    path.write_text(CODE, encoding="utf-8")
    cls = find("models", f"{path}:SlopeNet").load()
    results = list(check_contract(Subject(cls)))
    assert [each.detail for each in results if each.status == "failed"] == []
    (declared,) = (each for each in results if each.check == "declared transformations")
    assert declared.status == "passed"
    model = cls(image_shape=(1, 32, 32), num_classes=10).eval()
    data = find("datamodules", "digits").load()(limit=100)
    measured = compute("declared-equivariance", model, data, grid=TURNS, images=40)
    place = {"layer": "slopes", "factor": "rotation", "basis": "by construction"}
    assert number(measured, metric="declared_error", **place) < 1e-6
    assert number(measured, metric="unchanged_error", **place) > 1


def test_slopes_do_not_turn_by_construction_between_quarter_turns(tmp_path):
    path = tmp_path / "any_turn.py"
    declaration = "exact=QUARTER_TURNS + whole_strides(1)"
    assert declaration in CODE
    path.write_text(
        CODE.replace(declaration, 'exact=(DeclaredFactor("rotation"),)').replace(
            "import QUARTER_TURNS,", "import DeclaredFactor, QUARTER_TURNS,"
        ),
        encoding="utf-8",
    )
    subject = Subject(find("models", f"{path}:SlopeNet").load())
    result = run_check(declared_transformations, subject)
    assert result.status == "failed"
    assert "rotation=30" in result.detail


@pytest.mark.parametrize("name", ["cnn-p4", "cnn-orbit-pool", "capsnet-em", "capsnet-dr"])
def test_models_of_the_page_declare_transformations(name):
    assert f"`{name}`" in PAGE
    model = find("models", name).load()(image_shape=(1, 32, 32), num_classes=2)
    assert any(layer.transformation for layer in model.layers_of_interest().values())
