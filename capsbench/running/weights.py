"""Models that were trained elsewhere: files of weights of several kinds, and models in memory."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from capsbench import arguments
from capsbench.contracts import EXPONENT, ImageShape, Model
from capsbench.errors import UserError
from capsbench.files.atomic import is_present
from capsbench.files.content import stream_sha256
from capsbench.files.folders import is_folder
from capsbench.names import Target, find, is_own_file, without_folder
from capsbench.pretrained import WEIGHTS
from capsbench.records import CellFolder
from capsbench.records.cell_files import load_config
from capsbench.records.folders import file_name
from capsbench.records.training import ModelConfig
from capsbench.running.cell import build_model
from capsbench.running.checkpoints import cell_of, require_recorded
from capsbench.running.state_dict import is_program, load_program, load_state, read_state
from capsbench.trusted_code import is_trusted
from capsbench.wrapping import LogitsModel, model_class
from capsbench.wrapping.logits_model import class_name

NETWORK = "--model (in Python, network=)"
CALL = "capsbench.evaluate(...)"
ADDRESS = re.compile(r"0x[0-9a-f]+")  # in the text of a module that holds a function
PLAIN = (bool, int, float, str, tuple, list, type(None))


@dataclass(frozen=True)
class TrainedModel:
    """A trained model with the identity of its weights.

    Attributes:
        module: The model.
        name: Name for tables: that of the model, without folder, or of its class or file.
        slug: The name as a folder.
        config: Name, arguments and revision, as far as they are known.
        file: Name of the file or folder of weights; None for a model in memory.
        sha256: SHA-256 of the weights, see `WeightsRecord`.
        command: The command or call, for the record.
    """

    module: nn.Module
    name: str
    slug: str
    config: ModelConfig
    file: str | None
    sha256: str
    command: str = CALL

    @property
    def parameters(self) -> int:
        """Number of parameters."""
        return sum(weight.numel() for weight in self.module.parameters())


def load_trained_model(
    path: Path,
    model: str | None,
    given: Mapping[str, Any],
    image_shape: ImageShape,
    num_classes: int,
    device: str = "cpu",
) -> TrainedModel:
    """Load weights into a model, or a network that is in its own file.

    State dicts are read without unpickling Python objects. A TorchScript archive and a program of
    `torch.export` run their own code when they predict.

    Args:
        path: A ``.safetensors`` file; a file of `torch.save` with a state dict, also of a training
            checkpoint or of Lightning; a folder of ``save_pretrained``, such as a checkpoint of a
            run; a TorchScript archive; a ``.pt2`` file.
        model: Name or path of the model; None for a file with its own network and for a checkpoint
            of a run.
        given: Arguments of the model; for a folder those that replace the saved ones.
        image_shape: (C, H, W) of the images.
        num_classes: K.
        device: Device of the model.

    Raises:
        UserError: The file is missing, damaged, or holds Python objects, does not fit the model,
            or needs one.
    """
    if is_folder(path, "weights"):
        return _from_folder(path, model, given, device)
    try:
        with path.open("rb") as stream:
            digest = stream_sha256(stream)
    except OSError as error:
        raise UserError(f"cannot read {path} ({error.strerror})") from None
    if is_program(path):
        if model is not None or given:
            raise UserError(f"{path} holds its own network; leave out its name and arguments")
        config = ModelConfig(name=path.name, arguments={})
        return TrainedModel(
            load_program(path, device), path.name, _slug(path.stem), config, path.name, digest
        )
    if model is None:
        raise UserError(f"{path} holds weights alone: name their network by {NETWORK}")
    target = find("models", model)
    cls = model_class(target)
    what = f"model '{model}'"
    resolved = arguments.resolve(cls, given, what=what, supplied=arguments.SUPPLIED_TO_MODELS)
    network = build_model(target, image_shape, num_classes, resolved)
    state = read_state(path)
    inner: nn.Module = network
    if isinstance(network, LogitsModel) and not any(name.endswith(EXPONENT) for name in state):
        inner = network.module
    load_state(inner, state, path, what)
    revision = cls.revision_with(resolved)
    config = ModelConfig(name=target.identity(), arguments=resolved, revision=revision)
    network.to(device)
    return TrainedModel(network, without_folder(model), target.slug, config, path.name, digest)


def in_memory(module: nn.Module) -> TrainedModel:
    """Describe a model in memory; its identity is that of its class, settings and tensors.

    Its settings are the arguments of its constructor, its text, and the plain attributes of its
    modules. Buffers that are not saved belong to its tensors.

    Raises:
        UserError: A tensor has no values yet, or is sparse.
    """
    cls = type(module)
    name = f"{cls.__module__}.{cls.__qualname__}"
    own = _constructor_arguments(module)
    attributes = {
        f"{path}.{key}": repr(value)
        for path, each in module.named_modules()
        for key, value in vars(each).items()
        if isinstance(value, PLAIN) and key != "training" and not key.startswith("_")
    }
    settings = json.dumps([name, repr(module), own, attributes], sort_keys=True)
    digest = sha256(ADDRESS.sub("", settings).encode())
    for key, value in (dict(module.named_buffers()) | module.state_dict()).items():
        if isinstance(value, Tensor):
            _require_values(key, value)
            digest.update(f"{key} {value.dtype} {tuple(value.shape)}".encode())
            content = value.detach().cpu().resolve_conj().contiguous().flatten().view(torch.uint8)
            digest.update(content.numpy().tobytes())
    config = ModelConfig(name=name, arguments=own, revision=getattr(cls, "revision", 1))
    title = class_name(module)
    return TrainedModel(module, title, _slug(title), config, None, digest.hexdigest())


def _constructor_arguments(module: nn.Module) -> dict[str, Any]:
    """Return the arguments of a model that images do not determine; none if they are unknown."""
    if type(module) is LogitsModel:  # its first argument is a module, whose tensors count
        columns = {"mean": module.mean, "std": module.std}
        values = {k: None if v is None else v.flatten().tolist() for k, v in columns.items()}
        return {"output_key": module.output_key, **values}
    if not isinstance(module, Model):
        return {}
    try:
        own = module.constructor_arguments()
    except UserError:  # one is no plain value
        return {}
    return {k: v for k, v in own.items() if k not in arguments.SUPPLIED_TO_MODELS}


def _require_values(name: str, tensor: Tensor) -> None:
    """Refuse a tensor without values, or without one value for each of its elements."""
    if is_lazy(tensor):
        raise UserError(f"{name} has no shape yet: run the model once, and train it")
    if tensor.is_meta:
        raise UserError(f"{name} is on the device 'meta', without values: load the weights first")
    if tensor.layout != torch.strided:
        raise UserError(f"{name} is sparse: give the model dense weights, by .to_dense()")


def checkpoint_target(folder: Path, model: str | None) -> Target:
    """Return the model of a folder of weights: the named one, or that of the run it belongs to.

    Raises:
        UserError: No model is named, and the folder is no checkpoint of a run of a registered one.
    """
    if model is not None:
        return find("models", model)
    cell = CellFolder(cell_of(folder))
    if not is_present(cell.config):
        raise UserError(
            f"{folder} is no checkpoint of a run (runs/<data>/<model>/<seed>-.../checkpoints/"
            f"<rule>): name its network by {NETWORK}"
        )
    name = load_config(cell).model.name
    if is_own_file(name):
        cls = name.partition("@")[0]
        raise UserError(f"{cls} comes from a file of yours: name it, FILE.py:{cls}, by {NETWORK}")
    if not is_trusted("models", name):
        raise UserError(
            f"{cell.config} states the model {name}, which no installed package registers: name it "
            f"by {NETWORK} if you trust it"
        )
    return find("models", name)


def _from_folder(
    folder: Path, model: str | None, given: Mapping[str, Any], device: str
) -> TrainedModel:
    target = checkpoint_target(folder, model)
    cls = model_class(target)
    network = cls.from_pretrained(folder, **given)
    require_recorded(folder)
    own = _constructor_arguments(network)
    config = ModelConfig(name=target.identity(), arguments=own, revision=cls.revision_with(own))
    with (folder / WEIGHTS).open("rb") as stream:
        digest = stream_sha256(stream)
    name = without_folder(target.name)
    network.to(device)
    return TrainedModel(network, name, target.slug, config, folder.name, digest)


def _slug(name: str) -> str:
    return file_name(name) or "model"
