"""Trained models as folders: ``model.safetensors``, ``config.json`` and a model card.

The folders are those of huggingface-hub's ``PyTorchModelHubMixin``, so that they can be published
as they are. Saving and loading a folder on this machine uses no network.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar, Self

from huggingface_hub import ModelCard, PyTorchModelHubMixin, snapshot_download
from pydantic import JsonValue, TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_model, save_model
from torch import nn

from capsbench.arguments import resolve, typed
from capsbench.errors import UserError

WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"
OBJECT = TypeAdapter(dict[str, JsonValue])

# The facts stand in a block of JSON, where no name can be taken for markup.
TEMPLATE = """\
---
{{ card_data }}
---

# {{ title }}

A model for CapsBench, which trains image classifiers under one protocol and
measures what happens when the viewpoint changes. `{{ title }}.from_pretrained(folder)` builds it
with the arguments in `config.json` and loads the weights in `model.safetensors`.

```json
{{ facts }}
```

"""  # of the line ends at the end the template engine drops one


class Pretrained(
    nn.Module,
    PyTorchModelHubMixin,
    library_name="capsbench",
    pipeline_tag="image-classification",
    model_card_template=TEMPLATE,
):
    """A module with keyword-only arguments that has ``save_pretrained`` and ``from_pretrained``.

    The mixin keeps the arguments with which an instance was made. Beyond it, the defaults of a
    parent to which a constructor hands on its ``**kwargs`` are saved too, arguments have the types
    of the annotations again when they are read (JSON knows no tuples), weights have to fit, and
    nothing is ever unpickled.

    Attributes:
        source: Where the architecture was published; empty for one of one's own.
        origin: Where the weights come from, as plain JSON, with their ``license`` if they have one.
            It lies beside the weights and in the card, so that it survives loading and saving;
            whoever trains a loaded model further says so here.
    """

    source: ClassVar[str] = ""
    origin: Mapping[str, Any] = MappingProxyType({})

    def _save_pretrained(self, save_directory: Path) -> None:
        origin = json.dumps(dict(self.origin), allow_nan=False)
        # One key alone: safetensors writes several in an order that changes from run to run.
        save_model(self, str(save_directory / WEIGHTS), {"origin": origin})
        content = json.dumps(self._arguments(), indent=2, sort_keys=True, allow_nan=False)
        (save_directory / CONFIG).write_text(content + "\n", encoding="utf-8")
        # The mixin would leave the card of the weights that were here before.
        (save_directory / CARD).unlink(missing_ok=True)

    def _arguments(self) -> dict[str, Any]:
        """The constructor's arguments: those given, and the defaults of the others."""
        assert isinstance(self._hub_mixin_config, dict)
        cls = type(self)
        return resolve(cls, self._hub_mixin_config, what=f"model '{cls.__name__}'")

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | Path,
        *,
        revision: str | None = None,
        cache_dir: str | Path | None = None,
        force_download: bool = False,
        local_files_only: bool = False,
        token: str | bool | None = None,
        **model_kwargs: Any,
    ) -> Self:
        """Build a trained model, in evaluation mode, from a folder or a repository of the hub.

        Args:
            pretrained_model_name_or_path: A folder, or a repository as ``owner/name``. What is a
                `Path`, has another form or lies in a folder that exists is a folder: no network.
            revision: Branch, tag or commit of a repository.
            cache_dir: Where downloads are kept.
            force_download: Whether to download what is kept already.
            local_files_only: Whether to use only what is kept already.
            token: Key for the hub.
            **model_kwargs: Arguments of the constructor, in place of those that were saved.

        Raises:
            UserError: A file is missing or damaged, or does not fit the model.
        """
        folder = Path(pretrained_model_name_or_path)
        if not folder.is_dir() and _is_repository(pretrained_model_name_or_path):
            try:
                downloaded = snapshot_download(
                    str(pretrained_model_name_or_path),
                    revision=revision,
                    cache_dir=cache_dir,
                    force_download=force_download,
                    local_files_only=local_files_only,
                    token=token,
                    allow_patterns=[WEIGHTS, CONFIG],
                )
            except OSError as error:
                problem = " ".join(str(error).split())
                raise UserError(f"no folder '{folder}', and no download ({problem})") from None
            folder = Path(downloaded)
        arguments = {**_read_arguments(folder / CONFIG), **model_kwargs}
        try:
            model = cls(**typed(cls, arguments, what=f"model '{cls.__name__}'"))
        except UserError as error:
            raise UserError(f"{folder / CONFIG} does not fit ({error})") from None
        model.origin = _read_weights(folder / WEIGHTS, model)
        return model.eval()

    def generate_model_card(self) -> ModelCard:
        """The folder's README.md: metadata for the hub, and facts for people."""
        data = deepcopy(self._hub_mixin_info.model_card_data)
        data.license = self.origin.get("license") or data.license
        text = json.dumps(
            {"source": self.source, **self.origin, "arguments": self._arguments()},
            indent=2,
            ensure_ascii=False,
        )
        return ModelCard.from_template(
            data,
            template_str=self._hub_mixin_info.model_card_template,
            title=type(self).__name__,
            facts=text,
        )


def _read_arguments(config: Path) -> dict[str, Any]:
    """The arguments in ``config.json``."""
    try:
        return OBJECT.validate_json(config.read_bytes())
    except OSError as error:
        raise UserError(f"cannot read {config} ({error.strerror})") from None
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]["msg"]
        raise UserError(f"{config} is damaged ({problem})") from None


def _read_weights(weights: Path, model: nn.Module) -> dict[str, Any]:
    """Read weights into a model, which they have to fit, and say where they come from."""
    try:
        with weights.open("rb"):
            pass  # so that a folder is told as what it is
        with safe_open(weights, framework="pt") as file:
            metadata = file.metadata() or {}
        load_model(model, weights)
        return OBJECT.validate_json(metadata.get("origin", "{}"))
    except OSError as error:
        raise UserError(f"cannot read {weights} ({error.strerror})") from None
    except (SafetensorError, ValidationError) as error:
        problem = " ".join(str(error).split())
        raise UserError(f"{weights} is damaged ({problem})") from None
    except RuntimeError:
        name = type(model).__name__
        raise UserError(f"{weights} does not fit the model '{name}' as it is now") from None


def _is_repository(name: str | Path) -> bool:
    """Whether a name that is no folder can stand for a repository of the hub."""
    return (
        isinstance(name, str)
        and re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", name) is not None
        and not Path(name).parent.is_dir()
    )
