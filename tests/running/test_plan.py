"""Planning: which settings make another cell or another record of a measure, and which do not."""

from importlib.metadata import version
from typing import Any

import pytest

from capsbench.errors import UserError
from capsbench.files.atomic import write_json
from capsbench.fingerprint import fingerprint
from capsbench.measures import load_measure
from capsbench.names import find
from capsbench.records.training import TrainingConfig
from capsbench.running.cell_state import cell_state
from capsbench.running.jobs import plan_jobs
from capsbench.running.plan import plan
from capsbench.schema import Benchmark
from capsbench.training.recipe import ProtocolRecipe
from tests.running.test_benchmark import transferring


def paths(protocol):
    return {cell.path for cell in plan(Benchmark.model_validate(protocol))}


def measure_names(protocol):
    return [list(cell.measures) for cell in plan(Benchmark.model_validate(protocol))]


def test_settings_of_a_training_make_another_cell(tiny_protocol, tiny_file):
    changes: list[dict[str, Any]] = [
        {"seeds": [2]},
        {"recipe": {**tiny_protocol["recipe"], "steps": 13}},
        {"recipe": {**tiny_protocol["recipe"], "limit": 90}},
        {"views": {"rotation": [-10, 15]}},
        {"models": [{"name": f"{tiny_file}:Tiny", "arguments": {"rate": 0.3}}]},
    ]
    base = paths(tiny_protocol)
    for change in changes:
        assert not base & paths({**tiny_protocol, **change}), change


def test_words_and_measures_make_no_other_cell(tiny_protocol, tiny_file):
    grid = {"scale": {"start": 1, "stop": 2, "step": 1}}
    changes: list[dict[str, Any]] = [
        {"title": "Other", "version": 2},
        {"models": [{"name": f"{tiny_file}:Tiny", "label": "Other", "arguments": {"rate": 0.2}}]},
        {"measures": [{"measure": "accuracy-by-view", "grid": grid}]},
    ]
    base = paths(tiny_protocol)
    for change in changes:
        assert base == paths({**tiny_protocol, **change}), change


def test_another_source_is_another_measure(tiny_protocol):
    protocol = transferring(tiny_protocol)
    names = measure_names(protocol)
    longer = {**protocol, "recipe": {**protocol["recipe"], "steps": 16}}
    assert measure_names(longer) != names
    protocol["measures"][0]["sources"] = ["aa"]
    with pytest.raises(ValueError, match="'aa'; did you mean 'a'"):
        Benchmark.model_validate(protocol)


def registered(protocol):
    """The protocol with a registered model in place of a user's own file."""
    model = {"name": "cnn-small", "label": "Tiny", "arguments": {"width": 2, "hidden": 4}}
    return {**protocol, "models": [model], "seeds": [0]}


def test_an_averaged_model_has_the_revision_of_its_network(tiny_protocol, monkeypatch):
    averaged = {
        "name": "averaged",
        "arguments": {"network": "cnn-small", "arguments": {"width": 2, "hidden": 4}},
    }
    protocol = Benchmark.model_validate(registered(tiny_protocol) | {"models": [averaged]})
    (old,) = plan(protocol)
    cls = find("models", "cnn-small").load()
    monkeypatch.setattr(cls, "revision", cls.revision + 1)
    (new,) = plan(protocol)
    assert new.config.model.revision == old.config.model.revision + 1
    assert new.path != old.path


@pytest.mark.parametrize(("kind", "name"), [("models", "cnn-small"), ("datamodules", "digits")])
def test_a_new_revision_takes_no_old_cell(run, tiny_protocol, session, monkeypatch, kind, name):
    protocol = registered(tiny_protocol)
    (old,), _ = run(protocol)
    assert cell_state(old, session) == "done"
    cls = find(kind, name).load()
    monkeypatch.setattr(cls, "revision", cls.revision + 1)
    (new,) = plan(Benchmark.model_validate(protocol))
    assert new.path != old.path
    assert cell_state(new, session) == "to do"


def test_a_new_revision_of_a_measure_measures_again_without_training(
    run, tiny_protocol, session, monkeypatch
):
    protocol = registered(tiny_protocol)
    (old,), _ = run(protocol)
    measure = load_measure("accuracy-by-view")
    monkeypatch.setattr(measure, "revision", measure.revision + 1)
    (new,) = plan(Benchmark.model_validate(protocol))
    assert new.path == old.path
    assert [job.kind for job in plan_jobs([new], "tiny", session)] == ["measure"]


def test_later_settings_are_absent_from_the_fingerprint_at_their_default(tiny_benchmark):
    config = plan(tiny_benchmark)[0].config
    content = config.model_dump(mode="json")
    del content["kornia"], content["recipe"]["augmentation"], content["recipe"]["warmup"]
    content["views"] = {"rotation": content["views"]["rotation"]}  # the others are identities
    assert config.fingerprint == fingerprint(content)
    updates: list[dict[str, object]] = [{"threads": 2}, {"kornia": "0.9.0"}]
    for change in ({"augmentation": ["RandomErasing"]}, {"warmup": 0.1}):
        recipe = ProtocolRecipe.model_validate(config.recipe.model_dump() | change)
        updates.append({"recipe": recipe})
    for update in updates:
        assert config.model_copy(update=update).fingerprint != config.fingerprint


def test_threads_are_part_of_a_training_on_a_processor_alone(tiny_protocol):
    def config(device, **changes):
        benchmark = Benchmark.model_validate({**tiny_protocol, **changes})
        return plan(benchmark, device=device)[0].config

    one, two = config("cpu"), config("cpu", threads=2)
    assert (one.threads, two.threads) == (1, 2)
    elsewhere = config("cuda")
    assert elsewhere.threads is None
    assert elsewhere == config("cuda", threads=2)
    assert len({each.fingerprint for each in (one, two, elsewhere)}) == 3


def test_another_kornia_takes_no_old_cell_of_augmented_images(tiny_protocol, monkeypatch, tmp_path):
    recipe = {**tiny_protocol["recipe"], "augmentation": ["RandomErasing"]}
    protocols = [tiny_protocol, {**tiny_protocol, "recipe": recipe}]

    def configs():
        return [plan(Benchmark.model_validate(protocol))[0].config for protocol in protocols]

    plain, augmented = configs()
    assert (plain.kornia, augmented.kornia) == (None, version("kornia"))
    monkeypatch.setattr("capsbench.running.plan.version", lambda name: f"another {name}")
    newer_plain, newer = configs()
    assert newer_plain.fingerprint == plain.fingerprint
    assert newer.kornia == "another kornia"
    assert newer.fingerprint != augmented.fingerprint

    # A record from before the field is loaded, and matches its own fingerprint.
    content = augmented.model_dump(mode="json")
    del content["kornia"], content["recipe"]["warmup"]
    write_json(tmp_path / "config.json", {"schema": 2, **content})
    content["views"] = {"rotation": content["views"]["rotation"]}
    assert TrainingConfig.load(tmp_path / "config.json").fingerprint == fingerprint(content)


def test_an_augmentation_that_does_not_fit_is_refused_before_any_training(tiny_protocol):
    recipe = {**tiny_protocol["recipe"], "augmentation": ["RandomErasing"]}
    models = [
        tiny_protocol["models"][0] | {"recipe": {"augmentation": ["RandomHue"]}, "reason": "x"}
    ]
    plan(Benchmark.model_validate({**tiny_protocol, "recipe": recipe}))
    with pytest.raises(UserError, match="RandomHue"):
        plan(Benchmark.model_validate({**tiny_protocol, "recipe": recipe, "models": models}))


def test_a_model_that_cannot_be_trained_is_refused(tiny_protocol, tmp_path):
    file = tmp_path / "nets.py"
    file.write_text(
        "from torch import nn\n\n\ndef flat(num_classes):\n"
        "    return nn.Sequential(nn.Flatten(), nn.AdaptiveAvgPool1d(num_classes))\n",
        encoding="utf-8",
    )
    models = [{"name": f"{file}:flat"}]
    with pytest.raises(UserError, match="no trainable parameters"):
        plan(Benchmark.model_validate({**tiny_protocol, "models": models}))
