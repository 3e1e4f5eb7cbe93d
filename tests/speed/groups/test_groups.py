"""Every group with tiny sizes: names of its rows, and a run."""

import math
import subprocess
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from capsbench.capsules.backend_names import BACKENDS
from capsbench.capsules.capsule import Capsules
from capsbench.capsules.em_layers import ConvEMCapsules
from capsbench.capsules.routings import ROUTINGS
from capsbench.speed import nets
from capsbench.speed.bench import comparisons_of, measure_comparison
from capsbench.speed.counts import count_flops
from capsbench.speed.groups import GROUPS, data, routing, routings, startup, step, sweep
from capsbench.speed.limits import Limits
from capsbench.speed.nets import TEXTBOOK, Net, training_step

SMALL = "tests.speed.small"
LIMITS = Limits({"fp32": 1e9, "bf16": 1e9}, copy=1e9)
TINY_ROUTING = routing.RoutingSizes(
    dynamic=routing.DynamicSizes(children=6, parents=3, child_dim=4, parent_dim=5, iterations=2),
    batch_sizes=(2,),
    gpu_batch_sizes=(3,),
    em=(
        routing.EMSizes(side=5, in_types=2, out_types=3, kernel=3, stride=2),
        routing.EMSizes(side=2, in_types=3, out_types=4),
    ),
    em_batch_size=2,
)
TINY_STEPS = step.StepSizes(
    dynamic=Net(f"{SMALL}:SmallCapsNet", image_shape=(1, 9, 9), num_classes=3, batch_size=2),
    em=Net(f"{SMALL}:SmallMatrixCapsules", image_shape=(1, 17, 17), num_classes=3, batch_size=2),
    steps=2,
)
TINY_DATA = data.DataSizes(shapes=((1, 8, 8), (3, 6, 5)), batch_size=4, batches=2, workers=0)
TINY_SWEEP = sweep.SweepSizes(models=("cnn-small",), images=6, rotations=(0, 30, 30))
ROWS_OF_A_STEP = [
    "textbook fp32",
    "auto fp32",
    "auto bf16",
    "convolutions alone, auto fp32",
    "convolutions alone, auto bf16",
]


@pytest.fixture(autouse=True)
def nothing_to_compile(monkeypatch):
    """Hide all compilers, which take many seconds."""
    for module in (nets, routing):
        monkeypatch.setattr(
            module,
            "unavailable_reason",
            lambda name, _: None if name in ("textbook", "eager") else "no compiler",
        )
    monkeypatch.setattr(nets, "missing_precision", lambda *_: None)


def measured(comparisons, group="group"):
    results = []
    for comparison in comparisons:
        rows = measure_comparison(group, comparison, device="cpu", limits=LIMITS, rounds=1)
        for result in rows:
            if result.not_measured is None:
                assert result.median_ms is not None and 0 < result.median_ms < math.inf
                assert result.ratio is not None and 0 < result.ratio < math.inf
        results += rows
    names = [result.name for result in results]
    assert len(set(names)) == len(names), "names are unique"
    assert {result.baseline for result in results} <= set(names)
    return results


def test_routing():
    comparisons = routing.comparisons("cpu", TINY_ROUTING)
    assert [comparison.name for comparison in comparisons] == [
        "dynamic routing, batch 2, forward",
        "dynamic routing, batch 2, forward + backward",
        "dynamic routing, batch 3, forward",
        "dynamic routing, batch 3, forward + backward",
        "EM routing, 5 x 5 x 2 by 3 x 3 to 3, batch 2, forward",
        "EM routing, 5 x 5 x 2 by 3 x 3 to 3, batch 2, forward + backward",
        "EM routing, 2 x 2 x 3 by all to 4, batch 2, forward",
        "EM routing, 2 x 2 x 3 by all to 4, batch 2, forward + backward",
    ]
    results = measured(comparisons)
    assert [result.row for result in results] == list(BACKENDS) * len(comparisons)
    for result in results:
        present = result.row in ("textbook", "eager") and "batch 3" not in result.comparison
        assert (result.not_measured is None) == present
        assert present == (result.percent_of_matmul is not None and result.peak_bytes is not None)
    assert all(result.baseline.endswith(": textbook") for result in results)


def test_every_routing_has_a_row_and_its_textbook_form():
    sizes = routings.RoutingsSizes(2, {"channels": 2, "primary_types": 2})
    results = measured(routings.comparisons("cpu", sizes))
    rows = [result.row for result in results]
    assert rows[0] == "average"
    assert set(rows) >= {*ROUTINGS}
    textbook = {row.removesuffix(", textbook") for row in rows if row.endswith("textbook")}
    assert textbook == {*ROUTINGS} - {"self", "orthogonal"}
    assert all(result.median_ms for result in results)


def test_large_batches_are_only_measured_on_a_gpu():
    for device in ("cpu", "cuda"):
        named = {one.name: one for one in routing.comparisons(device, TINY_ROUTING)}
        large = named["dynamic routing, batch 3, forward"]
        assert (large.rows[0].not_measured is None) == (device == "cuda")
        assert named["dynamic routing, batch 2, forward"].rows[0].not_measured is None


@pytest.mark.parametrize("backward", [False, True])
def test_rows_of_routing_set_their_backend_and_take_gradients(monkeypatch, backward):
    used, gradients = [], []
    monkeypatch.setattr(
        routing, "use_backend", lambda layer, name: used.append((layer.backend, name))
    )
    grad = torch.autograd.grad
    monkeypatch.setattr(torch.autograd, "grad", lambda *a: gradients.append(grad(*a)))
    sizes = replace(TINY_ROUTING, gpu_batch_sizes=())
    comparisons = routing.comparisons("cpu", sizes)[backward::2]
    for comparison in comparisons:
        for row in comparison.rows[:2]:
            row.prepare()()
    assert used == [("auto", "textbook"), ("auto", "eager")] * len(comparisons)
    assert len(gradients) == (2 * len(comparisons) if backward else 0)
    assert all(gradient.abs().sum() > 0 for call in gradients for gradient in call)


def test_the_number_of_votes_follows_from_the_sizes():
    sizes = TINY_ROUTING.em[0]
    layer = sizes.layer()
    assert isinstance(layer, ConvEMCapsules)
    capsules = Capsules(torch.rand(2, 5, 5, 2, 4, 4), torch.rand(2, 5, 5, 2))
    shape = layer.vote_shape(capsules, 1.0)
    assert 2 * sizes.positions * sizes.window * sizes.out_types == math.prod(shape[:-1])
    layer = TINY_ROUTING.em[1].layer()
    capsules = Capsules(torch.rand(2, 2, 2, 3, 4, 4), torch.rand(2, 2, 2, 3))
    shape = layer.vote_shape(capsules, 1.0)
    sizes = TINY_ROUTING.em[1]
    assert 2 * sizes.positions * sizes.window * sizes.out_types == math.prod(shape[:-1])


@pytest.mark.slow
def test_step():
    comparisons = step.comparisons("cpu", TINY_STEPS)
    steps, inference, em, loops = comparisons
    assert [row.name for row in steps.rows] == ROWS_OF_A_STEP
    assert [row.name for row in inference.rows] == ROWS_OF_A_STEP[:3]
    backends = ["textbook", "eager", "compiled", "native", "triton", "auto"]
    assert [row.name for row in em.rows] == [f"{backend} fp32" for backend in backends]
    assert [row.name for row in loops.rows] == ["bare loop", "Lightning"]
    results = measured(comparisons)
    missing = [result.row for result in results if result.not_measured]
    assert missing == ["compiled fp32", "native fp32", "triton fp32"]
    assert [r.precision for r in results[:5]] == ["fp32", "fp32", "bf16", "fp32", "bf16"]
    assert all(result.percent_of_matmul for result in results if not result.not_measured)


def test_flops_of_a_step():
    steps, inference, em, loops = step.comparisons("cpu", TINY_STEPS)
    net = TINY_STEPS.dynamic
    whole = count_flops(training_step(net, TEXTBOOK, "cpu"))
    convolutions = count_flops(step.convolutions(net, TEXTBOOK, "cpu"))
    assert [row.flops for row in steps.rows] == [whole] * 3 + [convolutions] * 2
    assert {row.flops for row in loops.rows} == {whole}
    passes = {row.flops for row in inference.rows}
    assert passes == {count_flops(nets.inference(net, TEXTBOOK, "cpu"))}
    em_step = count_flops(training_step(TINY_STEPS.em, TEXTBOOK, "cpu"))
    assert {row.flops for row in em.rows} == {em_step}


def test_data():
    comparisons = data.comparisons("cpu", TINY_DATA)
    assert [comparison.name for comparison in comparisons] == [
        "4 warped images of 8 x 8",
        "4 warped images of 6 x 5",
    ]
    results = measured(comparisons)
    names = ["torchvision, 0 workers", "affine_grid and grid_sample"]
    names += ["capsbench", "capsbench, also tilted"]
    assert [result.row for result in results] == names * 2
    assert results[0].peak_bytes is None
    assert all(result.percent_of_copy for result in results)
    assert [result.bytes for result in results[::4]] == [5 * 4 * 8 * 8, 5 * 4 * 3 * 6 * 5]


def test_sweep():
    (comparison,) = sweep.comparisons("cpu", TINY_SWEEP)
    assert comparison.name == "cnn-small, 2 views of 6 images"
    forward, swept = measured([comparison])
    assert (forward.row, swept.row) == ("forward passes alone", "accuracy by view")
    assert forward.flops == swept.flops == count_flops(comparison.rows[0].prepare())
    assert forward.flops


def test_startup(tmp_path, monkeypatch):
    in_folder = "import pathlib, sys; assert pathlib.Path(sys.argv[1]).is_dir()"
    rows = {
        "pass": ("-c", "pass"),
        "in a folder": ("-c", in_folder, startup.RUNS),
        "in a new folder": (
            "-c",
            f"{in_folder}; assert not any(pathlib.Path(sys.argv[1]).iterdir())",
            startup.NEW,
        ),
    }
    monkeypatch.setattr(startup, "COMPARISONS", {"start": rows})
    monkeypatch.setattr(startup, "_finished_runs", lambda: SimpleNamespace(name=str(tmp_path)))
    results = measured(startup.comparisons())
    assert [result.row for result in results] == ["pass", "in a folder", "in a new folder"]
    assert all(result.peak_bytes is None for result in results)


def test_a_failing_command_is_an_error(monkeypatch):
    rows = {"exit": ("-c", "raise SystemExit(1)")}
    monkeypatch.setattr(startup, "COMPARISONS", {"start": rows})
    with pytest.raises(subprocess.CalledProcessError):
        measured(startup.comparisons())


def test_every_group_has_comparisons(monkeypatch):
    monkeypatch.setattr(step, "flops_of", lambda *_: 1)
    monkeypatch.setattr(sweep, "model_cost", lambda _: type("Cost", (), {"flops": 1}))
    for group in GROUPS:
        for comparison in comparisons_of(group, "cpu"):
            assert len(comparison.rows) > 1
            assert comparison.rows[0].precision == "fp32"
