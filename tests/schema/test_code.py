"""Code that a file names: its own folder's runs, everything else needs the trust of the user."""

from pathlib import Path

import pytest

from capsbench.errors import UserError
from capsbench.files.yaml import write_yaml
from capsbench.measures import load_measure, parse_config
from capsbench.names import find
from capsbench.records import BenchmarkRecord, Provenance
from capsbench.schema import load_benchmark, load_claims
from capsbench.schema.code import names_of_code
from capsbench.trusted_code import is_trusted, require_trusted, trust, trusting_code

CODE = """
from pathlib import Path
from typing import ClassVar
Path("{mark}").touch()
from capsbench.measures import Measure, MeasureConfig
from torch import nn
class Net(nn.Linear):
    pass
class Config(MeasureConfig):
    num_progress_steps: ClassVar[int] = 0
class M(Measure):
    config, metrics = Config, {{}}
    @classmethod
    def compute(cls, config, model, data, context): ...
"""
PLAIN = {
    "name": "plain",
    "version": 1,
    "title": "t",
    "question": "q",
    "source": "s",
    "data": {"name": "digits"},
    "models": [{"name": "cnn-small", "label": "A"}],
    "recipe": {"steps": 1},
    "seeds": [0],
    "measures": [{"measure": "cost"}],
}
B: dict[str, dict[str, str]] = {"b": {}}  # a second case


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with a benchmark's code, and a folder beside it; code that runs leaves a file."""
    for name in ("own", "elsewhere"):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "net.py").write_text(CODE.format(mark=tmp_path / f"{name} ran"))
    (tmp_path / "own/link.py").symlink_to(tmp_path / "elsewhere/net.py")
    (tmp_path / "own/sub").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def written(changes):
    path = Path("own/b.yaml")
    path.write_text(write_yaml(PLAIN | changes), "utf-8")
    return str(path)


def model(name):
    return {"models": [{"name": name, "label": "A"}]}


def claims(part):
    test = {"part": "p", "model": "A", "against": "A", "primary": True, "measure": "cost"}
    claim = {"claim": "c", "source": "s", "tests": [test | {"quantity": {"metric": "flops"}}]}
    content = {name: PLAIN[name] for name in ("name", "version", "title", "question", "source")}
    content |= {"expected": "e", "parts": {"p": part}, "claims": [claim]}
    Path("own/claims.yaml").write_text(write_yaml(content), "utf-8")
    return "own/claims.yaml"


@pytest.mark.parametrize("name", ["net.py:Net", "sub/../net.py:Net"])
def test_code_beside_the_file_is_announced_and_not_imported_yet(place, name, capsys):
    benchmark = load_benchmark(written(model(name)))
    assert capsys.readouterr().err.count("runs code of own/") == 1
    assert benchmark.models[0].name.startswith("own/")
    assert not (place / "own ran").exists()
    load_benchmark(written(model(name)))
    assert capsys.readouterr().err == ""  # once is enough


def test_a_measure_beside_the_file_runs(place):
    load_benchmark(written({"measures": [{"measure": "net.py:M"}]}))
    assert (place / "own ran").exists()


@pytest.mark.parametrize(
    "changes",
    [
        model("../elsewhere/net.py:Net"),
        model("link.py:Net"),
        model("sub/../../elsewhere/net.py:Net"),
        model("os:system"),
        model("subprocess:Popen"),
        model("builtins:exec"),
        model("capsbench.files.atomic:write_text"),
        model("torchvision.models:list_models"),
        {"data": {"name": "shutil:rmtree", "arguments": {"path": "."}}},
        {"data": {"name": "../elsewhere/net.py:Net"}},
        {"measures": [{"measure": "../elsewhere/net.py:M"}]},
        {"measures": [{"measure": "antigravity:M"}]},
        {"vary": {"name": "x", "cases": {"a": {"models.0.name": "os:system"}, **B}}},
        {"vary": {"name": "x", "cases": {"a": {"models": model("os:system")["models"]}, **B}}},
        {"vary": {"name": "x", "cases": {"a": {"data": {"name": "os:system"}}, **B}}},
        {"vary": {"name": "x", "cases": {"a": {"measures.0": {"measure": "os:M"}}, **B}}},
        {"vary": {"name": "x", "place": "models.0.name", "values": {1: "os:system", 2: "a"}}},
        {"vary": {"name": "x", "place": "data", "values": {1: {"name": "os:system"}, 2: {}}}},
        {"scales": {"small": {"models.0.name": "../elsewhere/net.py:Net"}}},
        {"scales": {"small": {"vary.cases": {"a": {"data.name": "os:system"}, **B}}}},
    ],
    ids=str,
)
def test_other_code_needs_the_trust_of_the_user(place, changes):
    path = written(changes)
    with pytest.raises(UserError, match="--trust-code"):
        load_benchmark(path)
    assert not (place / "elsewhere ran").exists()


def test_trusted_code_and_names_of_the_user_are_used(place):
    outside = model("../elsewhere/net.py:Net")
    assert load_benchmark(written(outside), trust_code=True).models[0].label == "A"
    assert not is_trusted("models", "os:system")
    changed = load_benchmark(written({}), {"measures": [{"measure": "own/net.py:M"}]})
    assert changed.measures[0].measure == str(place / "own/net.py:M")


def test_registered_names_and_networks_of_known_libraries_need_nothing(place):
    target = find("models", "cnn-small")
    for name in (f"{target.module}:{target.attribute}", "torchvision.models:resnet18", "timm:x"):
        assert load_benchmark(written(model(name))).models[0].name == name


def test_names_in_scales_and_cases_are_relative_to_the_file(place):
    scale = {"scales": {"s": {"models.0": {"name": "net.py:Net", "label": "A"}}}}
    benchmark = load_benchmark(written(scale), scale="s")
    assert benchmark.models[0].name == "own/net.py:Net"
    cases = {"vary": {"name": "x", "cases": {"a": {"models.0.name": "net.py:Net"}, **B}}}
    vary = load_benchmark(written(cases)).vary
    assert vary is not None and vary.cases is not None
    case = vary.cases["a"]
    assert case == {"models.0.name": "own/net.py:Net"}


@pytest.mark.parametrize(
    "part",
    [
        {"benchmark": "../elsewhere/b.yaml"},
        {"benchmark": "quick", "changes": {"models.0.name": "os:system"}},
        {"benchmark": "quick", "scales": {"small": {"data.name": "../elsewhere/net.py:Net"}}},
    ],
    ids=str,
)
def test_claims_follow_the_same_rule(place, part):
    with pytest.raises(UserError, match="--trust-code"):
        load_claims(claims(part))


def test_every_scale_of_claims_names_known_measures(place):
    scales = {"small": {"measures": [{"measure": "accuracy-by-vew"}]}}
    with pytest.raises(UserError, match="did you mean 'accuracy-by-view'"):
        load_claims(claims({"benchmark": "quick", "scales": scales}))


def test_a_record_runs_no_code(place):
    record = {
        "benchmark": {**PLAIN, "measures": [{"measure": "elsewhere/net.py:M"}]},
        "command": "c",
        "cells": [],
        "provenance": Provenance.now().model_dump(mode="json"),
    }
    with pytest.raises(UserError, match="--trust-code"):
        BenchmarkRecord.model_validate(record)
    for name in ("elsewhere/net.py:M", "os:system"):
        with pytest.raises(UserError, match="--trust-code"):
            load_measure(name)
        with pytest.raises(UserError, match="--trust-code"):
            require_trusted("datamodules", name)
    assert not (place / "elsewhere ran").exists()
    with trusting_code():
        BenchmarkRecord.model_validate(record)
    assert (place / "elsewhere ran").exists()


def test_a_path_that_the_user_gives_is_trusted(place):
    trust("own/net.py:M")
    assert parse_config({"measure": "own/net.py:M"}).measure.endswith("net.py:M")


def test_names_of_code_are_those_of_models_data_and_measures():
    content = PLAIN | {"published": [{"model": "a:b", "source": "arXiv:1"}], "title": "x:y"}

    names = list(names_of_code(content))
    assert names == [("datamodules", "digits"), ("models", "cnn-small"), ("measures", "cost")]
