"""Checkpoints: read back whole, and refused in one sentence that says what to remove."""

import json
import re
from pathlib import Path

import pytest
import torch

from capsbench.errors import UserError
from capsbench.names import find
from capsbench.running.checkpoints import load_checkpoint, save_checkpoint

DESCRIPTION = {
    "model": "cnn-small",
    "arguments": {"width": 2, "hidden": 4},
    "image_shape": [1, 8, 8],
    "num_classes": 3,
}


@pytest.fixture
def checkpoint(tmp_path):
    """A checkpoint of a small model in a cell's folder."""
    model = find("models", "cnn-small").load()(
        image_shape=(1, 8, 8), num_classes=3, width=2, hidden=4
    )
    path = tmp_path / "cell" / "checkpoints" / "last.safetensors"
    save_checkpoint(path, model.state_dict(), DESCRIPTION)
    return path, model


def test_what_is_saved_is_loaded(checkpoint):
    path, model = checkpoint
    loaded = load_checkpoint(path).state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in model.state_dict().items())


def _change(path: Path, **changes: object) -> None:
    described = path.with_suffix(".json")
    content = {**json.loads(described.read_text()), **changes}
    kept = {key: value for key, value in content.items() if value is not None}
    described.write_text(json.dumps(kept))


DAMAGES = {
    "no weights": (lambda path: path.unlink(), "cannot read .*No such file"),
    "no JSON": (lambda path: path.with_suffix(".json").unlink(), "cannot read .*No such file"),
    "a folder": (lambda path: (path.unlink(), path.mkdir()), "cannot read .*Is a directory"),
    "not JSON": (lambda path: path.with_suffix(".json").write_text("{"), "is damaged"),
    "a list": (lambda path: path.with_suffix(".json").write_text("[]"), "is damaged"),
    "no shape": (lambda path: _change(path, image_shape=None), "image_shape: Field required"),
    "new schema": (lambda path: _change(path, schema=2), "is damaged .schema: "),
    "cut": (lambda path: path.write_bytes(path.read_bytes()[:50]), "is damaged"),
    "wider": (lambda path: _change(path, arguments={"width": 3}), "does not fit the model"),
}


@pytest.mark.parametrize(("damage", "message"), DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_checkpoint_names_the_folder_to_remove(checkpoint, damage, message):
    path, _ = checkpoint
    damage(path)
    with pytest.raises(UserError, match=message) as caught:
        load_checkpoint(path)
    cell = re.escape(str(path.parent.parent))
    assert re.search(f"; remove {cell} and run the benchmark again$", str(caught.value))
    assert "\n" not in str(caught.value)
