"""Every protocol at the scale of two processor cores: cells, and companions of capsule networks."""

import json
from functools import cache

import pytest

from capsbench.arguments import typed
from capsbench.errors import UserError
from capsbench.profiling.model_cost import model_cost
from capsbench.running.plan import plan
from capsbench.schema import benchmark_names, load_benchmark

SCALE = "cpu"
# Label of a companion, and the networks that it can belong to.
CAPSULES = {"CapsNet": "capsnet-dr", "matrix capsules": "capsnet-em"}


def possessive(name):
    return f"{name}'" if name.endswith("s") else f"{name}'s"


@cache
def cost(model, arguments, shape, classes):
    """Return the parameters and operations of a network, counted once."""
    from capsbench.names import find

    cls = find("models", model).load()
    given = typed(
        cls,
        json.loads(arguments) | {"image_shape": shape, "num_classes": classes},
        what=model,
    )
    counted = model_cost(cls(**given).eval())
    return counted.parameters, counted.flops


@cache
def costs(name):
    """Return the parameters, operations and entry of each network of a protocol, by label."""
    benchmark = load_benchmark(name, {"seeds": [0]}, scale=SCALE)
    planned = plan(benchmark)
    variants = len(benchmark.vary.points) if benchmark.vary else 1
    assert len({cell.path for cell in planned}) == len(benchmark.models) * variants
    cells = {cell.label: cell.config for cell in planned}
    result = {}
    for entry in benchmark.models:
        config = cells[entry.label]
        arguments = json.dumps(config.model.arguments)
        counted = cost(entry.name, arguments, config.data.image_shape, config.data.num_classes)
        result[entry.label] = (*counted, entry)
    return result


@pytest.mark.parametrize("name", benchmark_names())
def test_every_protocol_has_five_seeds_at_the_scale_of_two_cores(name):
    benchmark = load_benchmark(name, scale=SCALE)
    assert len(benchmark.seeds) == 5
    assert benchmark.recipe.precision == "32-true"
    assert benchmark.recipe.warmup == 0.05
    assert f"min at scale {SCALE}" in benchmark.expected


@pytest.mark.parametrize("name", benchmark_names())
def test_companions_cost_what_their_labels_say(name):
    """Within 2 % of the parameters or operations; other depths of one stem share a companion."""
    networks = costs(name)
    for label, (parameters, flops, entry) in networks.items():
        for owner, model in CAPSULES.items():
            own = [n for n in networks.values() if n[2].name.startswith(model)]
            if label == f"CNN of {possessive(owner)} parameters":
                assert any(abs(parameters / n[0] - 1) < 0.02 for n in own)
            elif label == f"CNN of {possessive(owner)} operations":
                assert any(abs(flops / n[1] - 1) < 0.02 for n in own)
            elif label == f"linear on {possessive(owner)} stem":
                stem = {key: entry.arguments[key] for key in ("channels", "kernel", "stride")}
                for _, _, other in own:
                    assert stem.items() <= {"kernel": 9, **other.arguments}.items()
                assert entry.arguments.get("standardized", True) == (owner != "CapsNet")


# Protocols that ask for something else than a comparison of capsule networks with CNNs.
STUDIES = {
    "crowding": "one network with other numbers of capsules",
    "parameter-efficiency": "each network in three sizes or more",
    "smallnorb-routings": "routings on one stem, beside linear classifiers on it",
    "smallnorb-vb": "routings on one stem",
    "transforming": "autoencoders",
}


@pytest.mark.parametrize("name", sorted({*benchmark_names()} - STUDIES.keys()))
def test_every_capsule_network_has_its_companions(name):
    entries = load_benchmark(name, scale=SCALE).models
    names = {entry.name for entry in entries}
    expected = {
        label
        for owner, model in CAPSULES.items()
        if model in names
        for label in (
            f"CNN of {possessive(owner)} parameters",
            f"CNN of {possessive(owner)} operations",
            f"linear on {possessive(owner)} stem",
        )
    }
    assert expected
    assert expected <= {entry.label for entry in entries}


def test_measures_of_layers_are_planned_at_the_layers_that_each_network_has():
    """Each of them names layers of capsule networks and of CNNs; a network has only its own."""
    cells = plan(load_benchmark("equivariance", {"seeds": [0]}, scale=SCALE))
    named = {
        cell.label: dict(config)["layers"]
        for cell in cells
        for config in cell.measures.values()
        if config.measure == "linear-equivariance"
    }
    assert named["CapsNet (dynamic routing)"] == ("class poses", "class presences")
    assert named["CNN of CapsNet's operations"] == ("hidden",)
    assert named["linear on matrix capsules' stem"] == ("stem",)


@pytest.mark.parametrize("measure", ["pose-readout", "lie-derivative"])
def test_other_measures_may_name_layers_of_several_networks(measure):
    more = {"factors": ["rotation"], "views": {"rotation": [-45, 45]}}
    config = {"measure": measure, "layers": ["hidden", "class poses"]}
    config |= more if measure == "pose-readout" else {}
    cells = plan(load_benchmark("quick", {"seeds": [0], "measures": [config]}))
    named = {cell.label: dict(next(iter(cell.measures.values())))["layers"] for cell in cells}
    assert named["CNN"] == ("hidden",)
    assert named["Matrix capsules (EM routing)"] == ("class poses",)


def test_some_of_the_networks_are_planned_although_measures_name_layers_of_others():
    benchmark = load_benchmark("equivariance", {"seeds": [0]}, scale=SCALE)
    (cell,) = plan(benchmark, models=["CapsNet (dynamic routing)"])
    layers = {dict(config).get("layers") for config in cell.measures.values()}
    assert ("class poses", "class presences") in layers
    wrong = [{"measure": "linear-equivariance", "layers": ["class poses", "hiden"]}]
    benchmark = load_benchmark("equivariance", {"seeds": [0], "measures": wrong}, scale=SCALE)
    with pytest.raises(UserError, match=r"'hiden'; did you mean 'hidden'"):
        plan(benchmark, models=["CapsNet (dynamic routing)"])
