"""Numbers that claims use, of networks of which it is known what they know of a turn.

A network with the true pose in its capsules passes; one that is invariant and one with random
weights do not. Passing is a gain over the same network before training.
"""

from math import radians, sin

import pytest

from capsbench.measures import MeasureContext, parse_config, run_measure
from capsbench.values import Quantity
from tests.measures.constructed import (
    POSES,
    Equivariant,
    Figures,
    Invariant,
    Untrained,
    UprightFigures,
)

TURNS = {"rotation": {"start": -90, "stop": 180, "step": 90}}
LINEAR = {"measure": "linear-equivariance", "grid": TURNS, "images": 300, "width": 2}
READOUT = {
    "measure": "pose-readout",
    "factors": ["rotation"],
    "views": {"rotation": [-60, 60]},
    "images": 300,
    "width": 2,
    "within_class": True,
}
BEYOND_CONTROLS = Quantity(metric="group_r2_over_control", factor="rotation", layer=POSES)
READ = Quantity(metric="r2", factor="rotation", layer=POSES, condition={"fit": "per class"})
NOVEL = {
    "measure": "accuracy-by-view",
    "grid": {"rotation": {"start": -180, "stop": 180, "step": 60}},
}
PASS = 0.1  # of a gain


def measured(config, network, data):
    """Return the numbers of a network and its untrained control, by name."""
    context = MeasureContext("cpu", untrained=Untrained().eval())
    result = run_measure(parse_config(config), network.eval(), data, context)
    return {value.name: value.value for value in result.values}


def gain(numbers, quantity):
    return numbers[quantity.name] - numbers[quantity.of_untrained().name]


@pytest.mark.parametrize("data", [Figures, UprightFigures])
def test_linear_equivariance_is_passed_by_true_poses_alone(data):
    poses, rings, random = (
        measured(LINEAR, network, data()) for network in (Equivariant(), Invariant(), Untrained())
    )
    assert gain(poses, BEYOND_CONTROLS) > PASS
    assert gain(rings, BEYOND_CONTROLS) < 0
    assert gain(random, BEYOND_CONTROLS) == 0
    assert poses[BEYOND_CONTROLS.name] == pytest.approx(1, abs=0.06)
    assert rings[BEYOND_CONTROLS.name] == pytest.approx(0, abs=1e-4)


def test_the_share_of_the_change_alone_is_passed_by_an_invariant_network_too():
    """Interpolation changes rings of light a little, and a map explains this little."""
    config = {**LINEAR, "grid": {"rotation": {"start": -45, "stop": 45, "step": 45}}}
    numbers = measured(config, Invariant(), Figures())
    assert numbers[f"gain_over_control[layer={POSES}]"] > 0.5
    assert numbers[f"r2_over_control[layer={POSES}]"] < 0.05


def test_random_weights_are_linear_where_all_objects_have_one_orientation():
    """A map has to hold from all views of a group: then random weights explain less."""
    numbers = measured(LINEAR, Untrained(1), UprightFigures())
    assert numbers[f"r2_over_control[layer={POSES}]"] > 0.9
    assert numbers[BEYOND_CONTROLS.name] < 0.5


def test_the_read_out_is_passed_by_true_poses_alone():
    poses, rings, random = (
        measured(READOUT, network, UprightFigures())
        for network in (Equivariant(), Invariant(), Untrained())
    )
    assert gain(poses, READ) > PASS
    assert gain(rings, READ) < 0
    assert gain(random, READ) == 0
    assert poses[READ.name] > 0.98
    assert rings[READ.name] == pytest.approx(0, abs=0.05)


def test_accuracy_at_novel_views_needs_poses_where_rings_do_not_tell_classes_apart():
    novel = Quantity(metric="accuracy", split="novel").name
    data = UprightFigures()
    assert measured(NOVEL, Equivariant(), data)[novel] == 1
    for network in (Invariant(), Untrained()):
        assert measured(NOVEL, network, data)[novel] == pytest.approx(0.5, abs=0.06)


@pytest.mark.parametrize("angle", [30, 60, 90])
def test_the_invariance_error_of_a_pose_is_that_of_its_angle_and_proves_nothing(angle):
    """It grows to 1 at 90 degrees for a true pose; that of random weights is as large."""
    views = {"rotation": {"start": -angle, "stop": angle, "step": angle}}
    config = {"measure": "invariance-error", "grid": views, "images": 200}
    error = Quantity(metric="invariance_error", layer=POSES)
    pose = measured(config, Equivariant(), Figures())
    # |R f − f| = 2 sin(angle / 2), and two directions are √2 apart on average.
    expected = 2**0.5 * sin(radians(angle / 2))
    assert pose[error.name] == pytest.approx(expected, rel=0.02)
    assert pose[error.of_untrained().name] > 0.9 * expected
    assert measured(config, Invariant(), Figures())[error.name] < 0.25
