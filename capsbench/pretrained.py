"""Trained models as folders: ``model.safetensors``, ``config.json`` and a model card.

The folders have the layout of huggingface-hub's ``PyTorchModelHubMixin``, so that they can be
published without conversion. The mixin itself would import the client of the hub with every model,
which takes a third of a second. Saving and loading a local folder uses no network.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import JsonValue, TypeAdapter, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_model, save_model
from torch import nn

from capsbench.arguments import resolve, typed
from capsbench.errors import UserError

if TYPE_CHECKING:
    from huggingface_hub import ModelCard

WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"
OBJECT = TypeAdapter(dict[str, JsonValue])

# The facts are a block of JSON, in which no name can be parsed as markup.
TEMPLATE = """\
---
{{ card_data }}
---

# {{ title }}

A model for CapsBench, which trains image classifiers under one protocol and
measures what happens when the viewpoint changes. `{{ loading_code }}.from_pretrained(folder)`
builds it with the arguments in `config.json` and loads the weights in `model.safetensors`.

```json
{{ facts }}
```

"""  # the template engine drops one of the line ends at the end


class Pretrained(nn.Module):
    """A module with keyword-only arguments that has ``save_pretrained`` and ``from_pretrained``.

    Saving writes the arguments of the constructor, with the defaults of a parent to which it passes
    its ``**kwargs``. Loading converts the arguments to the types of their annotations (JSON has no
    tuples), requires that the weights fit, and unpickles nothing.

    Attributes:
        source: Publication of the architecture; empty for one of your own.
        origin: Origin of the weights, as plain JSON, with their ``license`` if they have one. It is
            saved with the weights and in the card, so that it survives loading and saving. Change
            it if you train a loaded model further.
    """

    source: ClassVar[str] = ""
    origin: Mapping[str, Any] = MappingProxyType({})

    _given_arguments: Mapping[str, Any] = MappingProxyType({})

    def __new__(cls, *arguments: Any, **keywords: Any) -> Self:
        """Keep the arguments of the constructor, which are saved with the weights."""
        model = super().__new__(cls)
        _, *names = inspect.signature(cls.__init__).parameters
        model._given_arguments = dict(zip(names, arguments, strict=False)) | keywords
        return model

    def save_pretrained(self, save_directory: str | Path) -> None:
        """Save weights, arguments and card in a folder, in place of those that it holds.

        Args:
            save_directory: The folder; it is made if it is missing.

        Raises:
            UserError: An argument of the constructor is not a plain value, such as a module.
        """
        folder = Path(save_directory)
        folder.mkdir(parents=True, exist_ok=True)
        origin = json.dumps(dict(self.origin), allow_nan=False)
        # A single key: safetensors writes several in an order that changes from run to run.
        save_model(self, str(folder / WEIGHTS), {"origin": origin})
        content = json.dumps(
            self.constructor_arguments(), indent=2, sort_keys=True, allow_nan=False
        )
        (folder / CONFIG).write_text(content + "\n", encoding="utf-8")
        self.generate_model_card().save(folder / CARD)

    def push_to_hub(
        self,
        repo_id: str,
        *,
        commit_message: str = "Add a trained model",
        private: bool | None = None,
        token: str | None = None,
    ) -> str:
        """Publish the model on the hub.

        Args:
            repo_id: Repository as ``owner/name``; it is made if it is missing.
            commit_message: Message of the commit.
            private: Make the repository private; None for the default of its owner.
            token: Access token of the hub; None for that of ``hf auth login``.

        Returns:
            Address of the commit.
        """
        from huggingface_hub import HfApi

        api = HfApi(token=token)
        repo_id = api.create_repo(repo_id, private=private, exist_ok=True).repo_id
        with TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            commit = api.upload_folder(
                repo_id=repo_id, folder_path=folder, commit_message=commit_message
            )
        return str(commit)

    @classmethod
    def loading_code(cls) -> str:
        """Return the Python expression of the class, for the model card."""
        return cls.__name__

    def constructor_arguments(self) -> dict[str, Any]:
        """Return the constructor's arguments: those given, and the defaults of the others.

        Raises:
            UserError: An argument is not a plain value, such as a module.
        """
        cls = type(self)
        return resolve(cls, self._given_arguments, what=f"model '{cls.__name__}'")

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
            pretrained_model_name_or_path: A folder, or a repository as ``owner/name``. A `Path`, a
                name of another form, and one whose parent folder exists are folders, read without
                a network.
            revision: Branch, tag or commit of a repository.
            cache_dir: Folder of downloads.
            force_download: Download files again that are in the cache.
            local_files_only: Use only files that are in the cache.
            token: Access token of the hub.
            **model_kwargs: Arguments of the constructor that replace the saved ones.

        Raises:
            UserError: A file is missing or damaged, or does not fit the model.
        """
        folder = Path(pretrained_model_name_or_path)
        if not folder.is_dir() and _is_repository(pretrained_model_name_or_path):
            from huggingface_hub import snapshot_download

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
        """Return the folder's README.md: metadata for the hub, and facts for readers."""
        from huggingface_hub import ModelCard, ModelCardData

        data = ModelCardData(
            library_name="capsbench",
            license=self.origin.get("license"),
            pipeline_tag="image-classification",
        )
        text = json.dumps(
            {"source": self.source, **self.origin, "arguments": self.constructor_arguments()},
            indent=2,
            ensure_ascii=False,
        )
        return ModelCard.from_template(
            data,
            template_str=TEMPLATE,
            title=type(self).__name__,
            loading_code=self.loading_code(),
            facts=text,
        )


def _read_arguments(config: Path) -> dict[str, Any]:
    """Return the arguments in ``config.json``."""
    try:
        return OBJECT.validate_json(config.read_bytes())
    except OSError as error:
        raise UserError(f"cannot read {config} ({error.strerror})") from None
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]["msg"]
        raise UserError(f"{config} is damaged ({problem})") from None


def _read_weights(weights: Path, model: nn.Module) -> dict[str, Any]:
    """Read weights into a model, which they have to fit, and return their origin."""
    try:
        with weights.open("rb"):
            pass  # a folder in place of the file is an OSError here
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
        raise UserError(f"{weights} does not fit the present code of model '{name}'") from None


def _is_repository(name: str | Path) -> bool:
    """Return True if a name that is not a folder has the form of a repository of the hub."""
    return (
        isinstance(name, str)
        and re.fullmatch(r"\w[\w.-]*/\w[\w.-]*", name) is not None
        and not Path(name).parent.is_dir()
    )
