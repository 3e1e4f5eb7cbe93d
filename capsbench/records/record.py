"""Base of every record: a typed model with one file, its schema number and an atomic rename."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from capsbench.arguments import one_line
from capsbench.errors import UserError
from capsbench.files.atomic import read_json, write_json

SCHEMA = 2
REMEDY = "remove it and run the benchmark again"


class RecordPart(BaseModel):
    """Part of a record; unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Record(RecordPart):
    """Typed contents of one JSON file, which also holds the number of the schema.

    Attributes:
        remedy: What to do about a file that cannot be read, for messages.
    """

    remedy: ClassVar[str] = REMEDY

    def save(self, path: Path) -> None:
        """Write the record by an atomic rename."""
        write_json(path, {"schema": SCHEMA, **self.model_dump(mode="json", by_alias=True)})

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a record.

        Raises:
            UserError: The file is missing, damaged, or of another schema, or names a measure that
                is not there.
        """
        if not path.is_file():
            raise UserError(f"{path} is missing; {cls.remedy}")
        content = read_json(path)
        require_schema(path, content, cls.remedy)
        try:
            return cls.model_validate({k: v for k, v in content.items() if k != "schema"})
        except ValidationError as error:
            raise damaged_record(path, one_line(error), cls.remedy) from None
        except UserError as error:  # the file or package of a measure of the user's own is missing
            raise UserError(f"cannot read {path}: {error}") from None


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
