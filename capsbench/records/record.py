"""Base of every record: a typed model with one file, which has a schema number and a checksum."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, ConfigDict, Field, ValidationError

from capsbench.arguments import one_line
from capsbench.errors import UserError
from capsbench.files.atomic import is_present, read_json, write_json
from capsbench.fingerprint import fingerprint
from capsbench.schema.parts import checked_label
from capsbench.strict import StrictModel

SCHEMA = 2
ENVELOPE = ("schema", "checksum")  # keys of a file that are no fields of the record
REMOVE = "remove it and "
REMEDY = f"{REMOVE}run the benchmark again"

# Bounds that no run reaches; beyond them, sums and squares overflow.
Seconds = Annotated[float, Field(ge=0, le=1e10)]
Count = Annotated[int, Field(ge=0, le=10**15)]
Share = Annotated[float, Field(ge=0, le=1)]


def _splits(command: str) -> str:
    shlex.split(command)  # raises ValueError, such as 'No closing quotation'
    return command


Command = Annotated[str, AfterValidator(_splits)]
Label = Annotated[str, AfterValidator(checked_label)]


class RecordPart(StrictModel):
    """Part of a record; unknown fields are refused, and texts are no numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Record(RecordPart):
    """Typed contents of one JSON file, which also holds the number of the schema and a checksum.

    The checksum finds damage and edits by hand. It is no signature: who writes a file can also
    write its checksum.

    Attributes:
        remedy: What to do about a file that cannot be read, for messages.
        indent: Spaces for each level of the file; None for one line.
    """

    remedy: ClassVar[str] = REMEDY
    indent: ClassVar[int | None] = 2

    @property
    def is_checksummed(self) -> bool:
        """True if a field shows that a checksum was written with the record."""
        return False

    def save(self, path: Path) -> None:
        """Write the record by an atomic rename."""
        write_json(path, self.file_content(), indent=self.indent)

    def file_content(self) -> dict[str, Any]:
        """Return the contents of the record's file, with the schema number and the checksum."""
        content = self.model_dump(mode="json", by_alias=True)
        return {"schema": SCHEMA, "checksum": _checksum(content), **content}

    def save_if_changed(self, path: Path) -> None:
        """Write the record, unless it differs from the file in the date of its provenance alone."""
        content = json.loads(json.dumps(self.model_dump(mode="json", by_alias=True)))
        own = _without_date({"schema": SCHEMA, **content})
        if not is_present(path) or _without_date(read_json(path, self.remedy)) != own:
            self.save(path)

    @classmethod
    def load(cls, path: Path, remedy: str | None = None) -> Self:
        """Read a record.

        Args:
            path: The file.
            remedy: What to do about a file that cannot be read; that of the class if left out.

        Raises:
            UserError: The file is missing, damaged, or of another schema, was changed after it was
                written, or names a measure that is not there.
        """
        remedy = remedy or cls.remedy
        if not is_present(path):
            raise UserError(f"{path} is missing; {remedy.removeprefix(REMOVE)}")
        return cls.of_content(path, read_json(path, remedy), remedy)

    @classmethod
    def of_content(cls, path: Path, content: Any, remedy: str | None = None) -> Self:
        """Make a record of the contents of its file, see `load`."""
        remedy = remedy or cls.remedy
        require_schema(path, content, remedy)
        own = {name: value for name, value in content.items() if name not in ENVELOPE}
        try:
            record = cls.model_validate(own)
        except ValidationError as error:
            raise damaged_record(path, one_line(error), remedy) from None
        except UserError as error:  # the file or package of a measure of the user's own is missing
            raise UserError(f"cannot read {path}: {error}; or else {remedy}") from None
        if "checksum" not in content and record.is_checksummed:
            raise damaged_record(path, "its checksum was removed", remedy)
        # Records from before November 29, 2026 have none.
        if "checksum" in content and content["checksum"] != _checksum(own):
            reason = "it was changed after it was written: the checksum in it does not fit"
            raise damaged_record(path, reason, remedy)
        return record


def _without_date(content: Any) -> Any:
    """Return the contents of a file without its checksum and the date of its provenance."""
    if not isinstance(content, dict) or "provenance" not in content:
        return content
    own = {name: value for name, value in content.items() if name != "checksum"}
    return {**own, "provenance": {**content["provenance"], "date": None}}


def _checksum(content: dict[str, Any]) -> str:
    """Return the fingerprint of contents as they come back from the file, with texts as keys."""
    return fingerprint(json.loads(json.dumps(content)))


def require_schema(path: Path, content: Any, remedy: str) -> None:
    """Check the schema number of a file's contents.

    Raises:
        UserError: It is another one, or there is none.
    """
    number = content.get("schema") if isinstance(content, dict) else None
    if number != SCHEMA:
        raise UserError(f"{path}: expected a record of schema {SCHEMA}, got {number!r}; {remedy}")


def damaged_record(path: Path, reason: str, remedy: str = REMEDY) -> UserError:
    """Return the error for a damaged record."""
    return UserError(f"{path} is damaged ({reason}); {remedy}")
