"""The trained models of a cell: folders of weights, arguments and a card, put in place whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import JsonValue, TypeAdapter, ValidationError
from safetensors import SafetensorError

from capsbench.arguments import typed
from capsbench.contracts import Model
from capsbench.errors import UserError
from capsbench.names import find, license_of
from capsbench.pretrained import CONFIG, WEIGHTS
from capsbench.records import write_folder


def save_checkpoint(folder: Path, model: Model, name: str, facts: dict[str, Any]) -> None:
    """Save a model with a card that says where it comes from.

    Args:
        folder: Where to, such as ``checkpoints/validation``; replaced if it is there.
        model: The model with its trained weights.
        name: The name by which the model is found.
        facts: What people want to know of the training, as plain JSON.
    """
    card = {"license": license_of("models", name), "facts": facts}
    with write_folder(folder) as unfinished:
        model.save_pretrained(unfinished, model_card_kwargs=card)


def load_checkpoint(folder: Path, name: str) -> Model:
    """Build the model of a checkpoint and load its weights; nothing is unpickled.

    Args:
        folder: The checkpoint.
        name: The name by which the model is found.

    Raises:
        UserError: A file is missing or damaged, or does not fit the model.
    """
    cls: type[Model] = find("models", name).load_subclass(Model)
    try:
        for file in (CONFIG, WEIGHTS):
            with (folder / file).open("rb"):
                pass  # the hub's mixin takes what is missing for what is to be downloaded
        config = TypeAdapter(dict[str, JsonValue]).validate_json((folder / CONFIG).read_bytes())
        typed(cls, config, what=f"model '{name}'")  # the mixin would ignore what it does not know
        return cls.from_pretrained(folder)
    except OSError as error:
        raise _unusable(folder, f"cannot read {error.filename} ({error.strerror})") from None
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]["msg"]
        raise _unusable(folder, f"{folder / CONFIG} is damaged ({problem})") from None
    except SafetensorError as error:
        raise _unusable(folder, f"{folder / WEIGHTS} is damaged ({error})") from None
    except UserError as error:
        raise _unusable(folder, f"{folder / CONFIG} does not fit ({error})") from None
    except RuntimeError:
        reason = f"{folder / WEIGHTS} does not fit the model '{name}' as it is now"
        raise _unusable(folder, reason) from None


def _unusable(folder: Path, reason: str) -> UserError:
    """The error that names the cell's folder, since a cell is trained again as a whole."""
    return UserError(f"{reason}; remove {folder.parent.parent} and run the benchmark again")
