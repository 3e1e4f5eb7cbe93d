"""Files of weights: archives that unpack to more than tensors need are refused before torch."""

import io
import json
import struct
import zipfile

import pytest
import torch
from safetensors.torch import save_file

from capsbench.contracts import EXPONENT
from capsbench.errors import UserError
from capsbench.models import CNNSmall
from capsbench.names import find
from capsbench.running import state_dict
from capsbench.running.state_dict import is_program, load_program, load_state, read_state
from capsbench.running.weights import load_trained_model
from capsbench.trusted_code import trust
from capsbench.wrapping import LogitsModel, model_class


def saved(**tensors):
    stream = io.BytesIO()
    torch.save(tensors, stream)
    return stream.getvalue()


def compressed(data, replaced):
    """Return an archive whose tensor is compressed, with other content."""
    result = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as archive, zipfile.ZipFile(result, "w") as copy:
        for member in archive.infolist():
            is_tensor = member.filename.endswith("data/0")
            content = replaced if is_tensor else archive.read(member)
            kind = zipfile.ZIP_DEFLATED if is_tensor else zipfile.ZIP_STORED
            copy.writestr(member.filename, content, kind)
    return result.getvalue()


def overlapping(data):
    """Return an archive whose table lists every member twice, at the same place."""
    start, end = data.index(b"PK\x01\x02"), data.rindex(b"PK\x05\x06")
    if b"PK\x06\x06" in data[start:end]:  # zip64
        end = data.index(b"PK\x06\x06", start)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        count, size = 2 * len(archive.filelist), 2 * (end - start)
    table = struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, count, count, size, start, 0)
    return data[:start] + 2 * data[start:end] + table


BOMBS = {
    "compressed": compressed(saved(a=torch.zeros(9)), bytes(3 << 20)),
    "overlapping": overlapping(saved(a=torch.zeros(1 << 16))),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_an_archive_that_unpacks_to_more_than_it_may_is_refused(tmp_path, monkeypatch, bomb):
    monkeypatch.setattr(state_dict, "MAX_COMPRESSED", 1 << 20)
    (path := tmp_path / "weights.pt").write_bytes(BOMBS[bomb])
    for read in (read_state, is_program, lambda path: load_program(path, "cpu")):
        with pytest.raises(UserError, match=r"unpacks to .*made to fill the memory"):
            read(path)


def test_tensors_are_read_back_and_views_take_no_memory(tmp_path):
    (path := tmp_path / "weights.pt").write_bytes(saved(a=torch.arange(3.0)))
    assert read_state(path)["a"].tolist() == [0, 1, 2]
    path.write_bytes(saved(a=torch.zeros(1).expand(1 << 40)))
    assert read_state(path)["a"].untyped_storage().nbytes() == 4


HEADERS = {
    "beyond the file": {"a": {"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4 * 10**12]}},
    "overflow": {"a": {"dtype": "F32", "shape": [2**64 - 1, 2], "data_offsets": [0, 8]}},
    "another size": {"a": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}},
    "overlap": {
        name: {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]} for name in ("a", "b")
    },
}


@pytest.mark.parametrize("header", HEADERS)
def test_a_header_of_safetensors_that_does_not_fit_is_refused(tmp_path, header):
    text = json.dumps(HEADERS[header]).encode()
    path = tmp_path / "weights.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + bytes(8))
    with pytest.raises(UserError, match=r"weights\.safetensors is damaged"):
        read_state(path)


def test_weights_of_a_model_may_lack_the_exponent_alone(tmp_path):
    model = CNNSmall(image_shape=(1, 8, 8), num_classes=3, width=2)
    state = model.state_dict()
    state[EXPONENT] = torch.tensor(3.0)
    for prefix in ("", "module."):
        whole = {f"{prefix}{name}": tensor for name, tensor in state.items()}
        load_state(model, whole, tmp_path, "it")
        assert model.probability_exponent == 3
        del whole[f"{prefix}{EXPONENT}"]
        load_state(model, whole, tmp_path, "it")
        assert model.probability_exponent == 1
        with pytest.raises(UserError, match="several networks"):
            load_state(
                model, whole | {f"other.{name}": t for name, t in state.items()}, tmp_path, ""
            )
        del whole[f"{prefix}classes.bias"]
        with pytest.raises(UserError, match=r"missing: classes\.bias"):
            load_state(model, whole, tmp_path, "it")


def test_a_wrapped_network_keeps_the_exponent_of_its_wrapper(tmp_path):
    (tmp_path / "net.py").write_text(
        "from torch import nn\n\n\ndef net(num_classes: int):\n"
        "    return nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))\n"
    )
    name = f"{tmp_path}/net.py:net"
    trust(name)
    network = model_class(find("models", name))(image_shape=(1, 8, 8), num_classes=3)
    assert isinstance(network, LogitsModel)
    network.probability_exponent.fill_(3)
    for kind, state in {
        "wrapper": network.state_dict(),
        "bare": network.module.state_dict(),
    }.items():
        save_file(state, path := tmp_path / f"{kind}.safetensors")
        loaded = load_trained_model(path, name, {}, (1, 8, 8), 3, "cpu").module
        assert loaded.probability_exponent == (3 if kind == "wrapper" else 1)
        assert torch.equal(
            loaded.state_dict()["module.1.weight"], network.state_dict()["module.1.weight"]
        )
