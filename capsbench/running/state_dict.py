"""State dicts and programs in files: read without unpickling, fitted to a module or refused."""

from __future__ import annotations

import warnings
import zipfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.export.passes import move_to_device_pass

from capsbench.contracts import EXPONENT
from capsbench.errors import UserError
from capsbench.reporting.formatting import listed

State = Mapping[str, Tensor]

PLACES = ("state_dict", "model_state_dict", "model")  # of a state dict in a training checkpoint
COMPILED = "_orig_mod."  # added by torch.compile at any depth
REMEDY = "save a state dict: torch.save(model.state_dict(), 'weights.pt')"
NUM_LISTED = 3
MAX_COMPRESSED = 1 << 26  # bytes: torch compresses the code of a program, never tensors


def is_program(path: Path) -> bool:
    """Return True for a TorchScript archive or a program of `torch.export`."""
    names = _names(path)
    return _is_exported(names) or _is_torchscript(names)


def load_program(path: Path, device: str) -> nn.Module:
    """Load a TorchScript archive, or a program of `torch.export`, on a device.

    Only a trusted file belongs here: its operations are executed.

    Raises:
        UserError: The file is damaged.
    """
    try:
        if _is_exported(_names(path)):
            return move_to_device_pass(torch.export.load(path), device).module()
        with warnings.catch_warnings():
            # A user's file may be of this format, however torch advises against new ones.
            warnings.simplefilter("ignore", FutureWarning)
            script: nn.Module = torch.jit.load(path, map_location=device)
        return script
    except Exception as error:  # noqa: BLE001 - torch has no common error for damaged files
        raise _damaged(path, error) from None


def read_state(path: Path) -> State:
    """Read a state dict on the CPU, without unpickling Python objects.

    Raises:
        UserError: The file is damaged, unpacks to more than the tensors that fit in it, holds
            Python objects, or holds no state dict.
    """
    if path.suffix == ".safetensors":
        try:
            return load_file(path)
        except (SafetensorError, ValueError) as error:
            raise _damaged(path, error) from None
    _names(path)  # refuses an archive that would fill the memory
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # on sparse tensors, which are refused
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # noqa: BLE001 - torch has no common error for damaged files
        raise UserError(
            f"{path} is damaged, or holds pickled Python objects, which could run any code and are "
            f"not loaded; {REMEDY}"
        ) from None
    return _find_state(content, path)


def load_state(module: nn.Module, state: State, path: Path, what: str) -> None:
    """Load a state into a module that it has to fit.

    Prefixes that a wrapper has added to every name are removed, such as ``module.`` of
    DataParallel, ``_orig_mod.`` of torch.compile or ``model.`` of a LightningModule; what else the
    wrapper holds is left out.

    Args:
        module: The module.
        state: The state.
        path: Its file, for messages.
        what: The module, for messages.

    Raises:
        UserError: Tensors are missing, unexpected or of another shape, or two parts of the state
            fit.
    """
    own = module.state_dict()
    required = {name: tensor for name, tensor in own.items() if name != EXPONENT}  # 1 without
    state = {name.replace(COMPILED, ""): tensor for name, tensor in state.items()}
    state = _without_prefix(state, required, path, what)
    present = {tensor.data_ptr() for name, tensor in own.items() if name in state}
    problems = {
        "missing": [
            name
            for name, tensor in required.items()
            # A tied tensor is there under its other name; batches are counted for training alone.
            if name not in state
            and not (tensor.numel() and tensor.data_ptr() in present)
            and not name.endswith("num_batches_tracked")
        ],
        "unexpected": [name for name in state if name not in own],
        "of another shape": [
            f"{name} {tuple(value.shape)} instead of {tuple(own[name].shape)}"
            for name, value in state.items()
            if name in own and own[name].shape != value.shape
        ],
        "complex": [
            name
            for name, value in state.items()
            if name in own and value.is_complex() and not own[name].is_complex()
        ],
    }
    if any(problems.values()):
        texts = [f"{kind}: {_first(names)}" for kind, names in problems.items() if names]
        raise UserError(
            f"{path} does not fit {what} ({'; '.join(texts)}): name the network, and the arguments "
            "by --set, with which it was trained"
        )
    module.load_state_dict(state, strict=False)


def _find_state(content: Any, path: Path) -> State:
    """Return the state dict in the content of a file."""
    if isinstance(content, Mapping):
        for inner in (*(content.get(place) for place in PLACES), content):
            if isinstance(inner, Mapping):
                state = {k: v for k, v in inner.items() if isinstance(v, Tensor)}
                if state:
                    _require_plain(state, path)
                    return state
    raise UserError(
        f"{path} holds no state dict, at the top or under {listed(list(map(repr, PLACES)))}; "
        f"{REMEDY}"
    )


def _require_plain(state: Mapping[Any, Tensor], path: Path) -> None:
    """Refuse keys that are no names, and sparse tensors."""
    for name, tensor in state.items():
        if not isinstance(name, str):
            raise UserError(
                f"{path}: expected tensors by their names, got the key {name!r}; {REMEDY}"
            )
        if tensor.layout != torch.strided:
            raise UserError(f"{path}: {name} is sparse; save dense tensors, by .to_dense()")


def _without_prefix(state: State, own: State, path: Path, what: str) -> State:
    """Return the part of a state with the prefix under which most names fit, without it."""
    fitting: Counter[str] = Counter()
    for key in state:
        starts = [0, *(i + 1 for i, char in enumerate(key) if char == ".")]
        fitting.update(key[:start] for start in starts if key[start:] in own)
    best = max(fitting.values(), default=0)
    prefixes = [prefix for prefix, count in fitting.items() if count == best]
    if len(prefixes) > 1 and best == len(own):
        raise UserError(
            f"{path} holds several networks that fit {what}, under {_first(prefixes)}; save a file "
            "with one of them"
        )
    prefix = min(prefixes, key=len, default="")
    return {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}


def _names(path: Path) -> list[str]:
    """Return the names in an archive without its folder; empty for another file.

    Raises:
        UserError: The archive is damaged, or unpacks to more than the tensors that fit in it.
    """
    if not zipfile.is_zipfile(path):
        return []
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except zipfile.BadZipFile as error:
        raise _damaged(path, error) from None
    stored = [member.compress_type == zipfile.ZIP_STORED for member in members]
    sizes = [member.file_size for member in members]
    plain = sum(size for size, is_stored in zip(sizes, stored, strict=True) if is_stored)
    if plain > path.stat().st_size or sum(sizes) - plain > MAX_COMPRESSED:
        raise UserError(
            f"{path} has {path.stat().st_size:,} bytes and unpacks to {sum(sizes):,}, but torch "
            f"does not compress tensors: it is damaged, or made to fill the memory; {REMEDY}"
        )
    return [member.filename.partition("/")[2] for member in members]


def _is_exported(names: list[str]) -> bool:
    return "archive_format" in names and any(name.startswith("models/") for name in names)


def _is_torchscript(names: list[str]) -> bool:
    return "constants.pkl" in names and any(name.startswith("code/") for name in names)


def _damaged(path: Path, error: Exception) -> UserError:
    problem = str(error).strip().partition("\n")[0] or type(error).__name__
    return UserError(f"{path} is damaged ({problem})")


def _first(names: list[str]) -> str:
    more = len(names) - NUM_LISTED
    return ", ".join(names[:NUM_LISTED]) + (f" and {more} more" if more > 0 else "")
