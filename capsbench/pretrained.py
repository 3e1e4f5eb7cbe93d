"""Trained models as folders: ``model.safetensors``, ``config.json`` and a model card.

The folders are those of huggingface-hub's ``PyTorchModelHubMixin``, so that they can be published
as they are. Saving and loading a folder on this machine uses no network.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any, ClassVar, Self

from huggingface_hub import ModelCard, PyTorchModelHubMixin, hf_hub_download
from safetensors.torch import load_model
from torch import nn

from capsbench.arguments import resolve, typed

WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"

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
"""


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
    """

    source: ClassVar[str] = ""

    def _save_pretrained(self, save_directory: Path) -> None:
        super()._save_pretrained(save_directory)
        content = json.dumps(self._arguments(), indent=2, sort_keys=True, allow_nan=False)
        (save_directory / CONFIG).write_text(content + "\n", encoding="utf-8")

    def _arguments(self) -> dict[str, Any]:
        """The constructor's arguments: those given, and the defaults of the others."""
        assert isinstance(self._hub_mixin_config, dict)
        cls = type(self)
        return resolve(cls, self._hub_mixin_config, what=f"model '{cls.__name__}'")

    @classmethod
    def _from_pretrained(
        cls,
        *,
        model_id: str,
        map_location: str = "cpu",
        strict: bool = True,
        revision: str | None,
        cache_dir: str | Path | None,
        force_download: bool,
        local_files_only: bool,
        token: str | bool | None,
        **model_kwargs: Any,
    ) -> Self:
        model = cls(**typed(cls, model_kwargs, what=f"model '{cls.__name__}'"))
        weights = Path(model_id) / WEIGHTS
        if not Path(model_id).is_dir():
            weights = Path(
                hf_hub_download(
                    model_id,
                    WEIGHTS,
                    revision=revision,
                    cache_dir=cache_dir,
                    force_download=force_download,
                    local_files_only=local_files_only,
                    token=token,
                )
            )
        load_model(model, weights, strict=strict, device=map_location)
        model.eval()
        return model

    def generate_model_card(
        self,
        *,
        license: str | None = None,  # noqa: A002 - the hub's word
        facts: Mapping[str, Any] | None = None,
    ) -> ModelCard:
        """The folder's README.md: metadata for the hub, and facts for people.

        Args:
            license: Licence of the weights, such as ``apache-2.0``.
            facts: Where the weights come from, as plain JSON.
        """
        data = deepcopy(self._hub_mixin_info.model_card_data)
        data.license = license or data.license
        text = json.dumps(
            {"source": self.source, **(facts or {}), "arguments": self._arguments()},
            indent=2,
            ensure_ascii=False,
        )
        return ModelCard.from_template(
            data,
            template_str=self._hub_mixin_info.model_card_template,
            title=type(self).__name__,
            facts=text,
        )
