"""Checkpoints: read back whole; damaged ones are refused, and the message names the folder."""

import copy
import json
import re
import socket
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
import torch
from huggingface_hub import ModelCard
from safetensors.torch import load_file, save_file

from capsbench.contracts import EXPONENT
from capsbench.errors import UserError
from capsbench.files.yaml import parse_yaml
from capsbench.models import CNNSmall
from capsbench.names import find, license_of
from capsbench.running.checkpoints import load_checkpoint, save_checkpoint

STRANGE = "---\n``` # [x](y) | <b>: '{{ 7 * 7 }}' \"\u2028 é"
FACTS = {"label": STRANGE, "rule": "last", "step": 3}


def build(name, **arguments):
    return find("models", name).load()(image_shape=(1, 20, 20), num_classes=3, **arguments)


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Fail if a socket is made: a folder needs no network."""

    def refuse(*arguments, **more):
        raise AssertionError("a socket was made")

    monkeypatch.setattr(socket, "socket", refuse)


@pytest.fixture
def checkpoint(tmp_path):
    """A checkpoint of a small model in a cell's folder."""
    model = build("cnn-small", width=2, hidden=4)
    folder = tmp_path / "cell" / "checkpoints" / "last"
    save_checkpoint(folder, model, "cnn-small", FACTS)
    return folder, model


def test_saved_weights_are_loaded(checkpoint):
    folder, model = checkpoint
    assert {path.name for path in folder.parent.iterdir()} == {"last"}
    assert {p.name for p in folder.iterdir()} == {"model.safetensors", "config.json", "README.md"}
    for loaded in (load_checkpoint(folder, "cnn-small"), type(model).from_pretrained(folder)):
        state = loaded.state_dict()
        assert all(torch.equal(state[key], value) for key, value in model.state_dict().items())
        assert not loaded.training


def test_the_exponent_of_probabilities_is_saved_and_1_without(checkpoint):
    folder, model = checkpoint
    model.probability_exponent.fill_(2.5)
    save_checkpoint(folder, model, "cnn-small", FACTS)
    assert load_checkpoint(folder, "cnn-small").probability_exponent == 2.5
    weights = load_file(folder / "model.safetensors")
    assert weights.pop(EXPONENT) == 2.5
    save_file(weights, folder / "model.safetensors")
    assert load_checkpoint(folder, "cnn-small").probability_exponent == 1


def test_arguments_of_parents_and_tuples_survive(tmp_path):
    model = build("capsnet-em-small", channels=4, primary_types=2, types=(3, 2))
    model.advance(1.0)
    save_checkpoint(tmp_path / "last", model, "capsnet-em-small", {})
    config = json.loads((tmp_path / "last" / "config.json").read_text())
    assert config["types"] == [3, 2]
    assert config["iterations"] == 3  # a default, handed on by **kwargs
    loaded: Any = load_checkpoint(tmp_path / "last", "capsnet-em-small")
    assert type(loaded) is type(model)
    assert loaded.image_shape == (1, 20, 20)
    assert loaded.temperatures == model.temperatures
    images = torch.rand(2, 1, 20, 20)
    assert torch.equal(loaded(images).scores, model(images).scores)


def test_card_names_the_origin_of_the_weights(checkpoint):
    folder, model = checkpoint
    text = (folder / "README.md").read_text(encoding="utf-8")
    _, front, body = text.split("---\n", 2)
    assert parse_yaml(front)["license"] == "apache-2.0" == license_of("models", "cnn-small")
    assert ModelCard.load(folder / "README.md").data.to_dict() == parse_yaml(front)
    (block,) = re.findall(r"^```json\n(.*?)^```$", body, flags=re.DOTALL | re.MULTILINE)
    facts = json.loads(block)
    assert facts["label"] == STRANGE
    assert facts["source"] == model.source
    assert facts["arguments"]["width"] == 2
    assert text.endswith("```\n")
    assert license_of("models", "x.py:Net") is None


def test_origin_survives_loading_and_saving(checkpoint, tmp_path):
    folder, model = checkpoint
    copied = tmp_path / "copy"
    build("cnn-small", width=3, hidden=4).save_pretrained(copied)  # its card is replaced
    type(model).from_pretrained(str(folder)).save_pretrained(copied)
    for file in ("README.md", "model.safetensors", "config.json"):
        assert (copied / file).read_bytes() == (folder / file).read_bytes()
    assert load_checkpoint(copied, "cnn-small").origin == {"license": "apache-2.0", **FACTS}


def test_weights_without_an_origin_are_loaded(checkpoint):
    folder, model = checkpoint
    save_file(load_file(folder / "model.safetensors"), folder / "model.safetensors")
    assert not type(model).from_pretrained(folder).origin


@pytest.mark.parametrize(
    "missing", [Path("a/b"), "missing", "a/b/c", "/a/b", "./b", "a/", "has/missing"]
)
def test_a_path_is_never_downloaded(missing, tmp_path, monkeypatch):
    (tmp_path / "has").mkdir()
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"cannot read .*config\.json .*No such file"):
        find("models", "cnn-small").load().from_pretrained(missing)


def test_a_failed_download_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"no folder 'a/b'.*no download \(.*\)$"):
        find("models", "cnn-small").load().from_pretrained(
            "a/b", local_files_only=True, cache_dir=tmp_path
        )


def test_arguments_may_be_replaced(checkpoint):
    folder, model = checkpoint
    with pytest.raises(UserError, match=r"does not fit .*'CNNSmall'"):
        type(model).from_pretrained(folder, width=3)
    with pytest.raises(UserError, match=r"does not fit .*'depth'"):
        type(model).from_pretrained(folder, depth=3)


def test_a_failed_save_changes_no_checkpoint_and_leaves_nothing(checkpoint, monkeypatch):
    folder, model = checkpoint
    before = (folder / "model.safetensors").read_bytes()
    monkeypatch.setattr(type(model), "generate_model_card", lambda self, **_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        save_checkpoint(folder, model, "cnn-small", FACTS)
    with pytest.raises(ZeroDivisionError):
        save_checkpoint(folder.with_name("other"), model, "cnn-small", FACTS)
    assert (folder / "model.safetensors").read_bytes() == before
    assert not folder.with_name("other").exists()
    assert list(folder.parent.iterdir()) == [folder]


def test_a_checkpoint_is_replaced(checkpoint):
    folder, model = checkpoint
    (folder / "left over").write_text("")
    torch.nn.init.zeros_(model.classes.bias)
    save_checkpoint(folder, model, "cnn-small", FACTS)
    assert not load_checkpoint(folder, "cnn-small").state_dict()["classes.bias"].any()
    assert len(list(folder.iterdir())) == 3


def _change(folder, **changes):
    path = folder / "config.json"
    content = {**json.loads(path.read_text()), **changes}
    path.write_text(json.dumps({k: value for k, value in content.items() if value is not None}))


def _drop_a_weight(folder):
    weights = load_file(folder / "model.safetensors")
    del weights["classes.bias"]
    save_file(weights, folder / "model.safetensors")


def _replace(path, make):
    path.unlink()
    make(path)


DAMAGES = {
    "no weights": (lambda c: (c / "model.safetensors").unlink(), "No such file"),
    "no JSON": (lambda c: (c / "config.json").unlink(), "No such file"),
    "a folder": (
        lambda c: _replace(c / "model.safetensors", lambda path: path.mkdir()),
        "Is a directory",
    ),
    "no folder": (lambda c: c.rename(c.with_name("x")), "No such file"),
    "not JSON": (lambda c: (c / "config.json").write_text("{"), "is damaged"),
    "not text": (lambda c: (c / "config.json").write_bytes(b"\xff{"), "is damaged"),
    "a list": (lambda c: (c / "config.json").write_text("[]"), "is damaged"),
    "no shape": (lambda c: _change(c, image_shape=None), "image_shape: .*required"),
    "unknown": (lambda c: _change(c, depth=3), "does not fit"),
    "cut": (
        lambda c: (c / "model.safetensors").write_bytes(
            (c / "model.safetensors").read_bytes()[:50]
        ),
        "is damaged",
    ),
    "empty": (lambda c: (c / "model.safetensors").write_bytes(b""), "is damaged"),
    "wider": (lambda c: _change(c, width=3), "does not fit .*'CNNSmall'"),
    "a weight less": (_drop_a_weight, "does not fit .*'CNNSmall'"),
    "too small": (lambda c: _change(c, image_shape=[1, 4, 4]), "does not fit"),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_checkpoint_names_the_folder_to_remove(checkpoint, damage, message):
    folder, _ = checkpoint
    damage(folder)
    with pytest.raises(UserError, match=message) as caught:
        load_checkpoint(folder, "cnn-small")
    cell = re.escape(str(folder.parent.parent))
    assert re.search(f"remove {cell} ", str(caught.value))
    assert "\n" not in str(caught.value)
    with pytest.raises(UserError, match=message):  # and the same without a cell
        find("models", "cnn-small").load().from_pretrained(folder)


def test_a_model_is_published_with_all_of_its_files(checkpoint, monkeypatch):
    """With a stand-in for the client of the hub."""
    _, model = checkpoint
    published: dict[str, Any] = {}

    class Client:
        def __init__(self, token):
            published["token"] = token

        def create_repo(self, repo_id, *, private, exist_ok):
            published["private"] = private
            return SimpleNamespace(repo_id=f"me/{repo_id}")

        def upload_folder(self, *, repo_id, folder_path, commit_message):
            published[repo_id] = {path.name for path in Path(folder_path).iterdir()}
            return "https://hub/commit"

    monkeypatch.setattr(huggingface_hub, "HfApi", Client)
    assert model.push_to_hub("net", private=True, token="secret") == "https://hub/commit"
    assert published == {
        "token": "secret",
        "private": True,
        "me/net": {"model.safetensors", "config.json", "README.md"},
    }


def test_arguments_by_position_and_copies_are_saved(tmp_path):
    class Net(CNNSmall):
        def __init__(self, width: int, *, image_shape, num_classes):
            super().__init__(image_shape=image_shape, num_classes=num_classes, width=width)

    model = copy.deepcopy(Net(3, image_shape=(1, 20, 20), num_classes=2))
    assert model.constructor_arguments()["width"] == 3
    model.save_pretrained(tmp_path)
    assert Net.from_pretrained(tmp_path).constructor_arguments()["width"] == 3
