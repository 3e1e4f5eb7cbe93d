"""Record of a model that was trained elsewhere."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import AfterValidator, Field

from capsbench.fingerprint import fingerprint
from capsbench.records.provenance import Provenance
from capsbench.records.record import REMOVE, Count, Record
from capsbench.records.training import DataConfig, ModelConfig
from capsbench.schema.parts import checked_label
from capsbench.viewpoint.ranges import ViewRange


class WeightsRecord(Record):
    """A model that was trained elsewhere, and the data and views on which it is measured.

    Attributes:
        label: Label of the model in tables and figures.
        model: The model; its name is that of the class or file where no class is named.
        file: Name of the file or folder of weights; None for a model in memory.
        sha256: SHA-256 of the file of weights; of a model in memory that of its class, settings
            and tensors.
        parameters: Number of parameters.
        data: The data module.
        views: Familiar views of the protocol.
        limit: Largest number of images of each split; None for all.
        sources: Identity of each network that measures use as well, by its label.
        command: The command or call.
        provenance: Versions, commit and date.
    """

    remedy: ClassVar[str] = f"{REMOVE}evaluate the model again"

    label: Annotated[str, AfterValidator(checked_label)]
    model: ModelConfig
    file: str | None = None
    sha256: str
    parameters: Count
    data: DataConfig
    views: ViewRange
    limit: int | None = None
    sources: dict[str, str] = Field(default_factory=dict)
    command: str
    provenance: Provenance

    @property
    def folder_name(self) -> str:
        """Name of the cell's folder, ``elsewhere-<fingerprint>``."""
        return f"elsewhere-{self.fingerprint}"

    @property
    def fingerprint(self) -> str:
        """Hash of the weights, the model, the data and the views; it names the folder."""
        names = {"model", "sha256", "data", "views", "limit"}
        content: dict[str, Any] = self.model_dump(mode="json", include=names)
        return fingerprint(content)
