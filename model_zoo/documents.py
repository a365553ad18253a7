"""The one base of everything that is read from JSON: frozen, strict, finite."""

from typing import Self

from pydantic import BaseModel, ConfigDict, ValidationError

from model_zoo.canonical import JsonObject, canonical_json, parse_object
from model_zoo.digests import sha256_bytes

FOREWORD = "Value error, "
"""Pydantic's, before the message of an error that a validator of ours raised."""


class Document(BaseModel):
    """A record with one canonical spelling; unknown fields and NaN are refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", strict=True, allow_inf_nan=False
    )

    def to_object(self) -> JsonObject:
        """Return the record as JSON values; ``from_object`` is the inverse."""
        return self.model_dump(mode="json")

    def to_bytes(self) -> bytes:
        """Return the record's canonical JSON (RFC 8785)."""
        return canonical_json(self.to_object())

    def digest(self) -> str:
        """Return the SHA-256 of the canonical JSON: equal records, equal digest."""
        return sha256_bytes(self.to_bytes())

    @classmethod
    def from_object(cls, value: object) -> Self:
        """Return the record that JSON values spell.

        Raises:
            ValueError: they do not; the message names each field and what is wrong.
        """
        try:
            return cls.model_validate_json(canonical_json(value))
        except ValidationError as error:
            raise ValueError(_format(error)) from error

    @classmethod
    def from_bytes(cls, data: bytes, *, limit_bytes: int) -> Self:
        """Return the record that ``data`` spells.

        Raises:
            ValueError: not JSON, or not this record.
        """
        return cls.from_object(parse_object(data, limit_bytes=limit_bytes))


def _format(error: ValidationError) -> str:
    """Return one line that names every wrong field, without echoing the input."""
    return "; ".join(
        f"{'.'.join(str(part) for part in item['loc']) or 'document'}: "
        f"{item['msg'].removeprefix(FOREWORD)}"
        for item in error.errors(include_url=False, include_input=False)
    )
