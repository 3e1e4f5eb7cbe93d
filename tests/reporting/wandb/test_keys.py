"""Names on Weights & Biases: all can be filtered and sorted there."""

import re

import pytest

from capsbench.reporting.wandb.keys import key, line_key, quantity_key
from capsbench.values import Quantity


@pytest.mark.parametrize(
    ("quantity", "expected"),
    [
        (Quantity(metric="gap"), "attacks_gap"),
        (Quantity(metric="r2", layer="class-capsules.0"), "attacks_r2_class_capsules_0"),
        (
            Quantity(metric="accuracy", condition={"method": "fgsm", "epsilon": 0.1}),
            "attacks_accuracy_epsilon_0p1_method_fgsm",
        ),
        (Quantity(metric="accuracy", factor="shift_x", view=-2.5), "attacks_accuracy_shift_x_m2p5"),
        (Quantity(metric="accuracy", source="CNN · 30"), "attacks_accuracy_CNN_30"),
    ],
)
def test_the_name_of_a_number(quantity, expected):
    assert quantity_key("attacks", quantity) == expected


def test_what_differs_along_a_line_is_left_out():
    quantity = Quantity(metric="accuracy", condition={"method": "fgsm", "epsilon": 0.1})
    assert line_key("attacks", quantity, "epsilon") == "attacks_accuracy_method_fgsm_by_epsilon"


@pytest.mark.parametrize("text", ["", "3d", "Ω", "a b/c=d", "net.py:Net", "-"])
def test_every_name_can_be_filtered(text):
    assert re.fullmatch(r"[_a-zA-Z][_a-zA-Z0-9]*", key(text))
