"""``release.json``: the envelopes of a release, kept beside its files."""

from pathlib import Path
from typing import Any

from model_zoo.canonical import canonical_json
from model_zoo.documents import Document
from model_zoo.envelopes import MAX_ENVELOPE_BYTES, Envelope
from model_zoo.errors import LocalError, MalformedDocumentError
from model_zoo.folders import BUNDLE_NAME, entries, is_plain_file


class _Bundle(Document):
    envelope: dict[str, Any]
    provenance: dict[str, Any] | None = None


def write_bundle(
    folder: Path, *, envelope: Envelope, provenance: Envelope | None
) -> None:
    """Write ``release.json``, so that the folder can be verified without a network.

    Raises:
        LocalError: it cannot be written.
    """
    data = bundle_bytes(envelope=envelope, provenance=provenance)
    try:
        (folder / BUNDLE_NAME).write_bytes(data)
    except OSError as error:
        msg = f"cannot write {folder / BUNDLE_NAME}: {error.strerror}"
        raise LocalError(msg) from error


def bundle_bytes(*, envelope: Envelope, provenance: Envelope | None) -> bytes:
    """Return ``release.json``: the same envelopes give the same bytes."""
    return canonical_json(
        {
            "envelope": envelope.to_object(),
            "provenance": None if provenance is None else provenance.to_object(),
        }
    )


def parse_bundle(data: bytes) -> tuple[Envelope, Envelope | None]:
    """Return release statement and provenance in the bytes of ``release.json``.

    Raises:
        MalformedDocumentError: it is no such document.
    """
    try:
        bundle = _Bundle.from_bytes(data, limit_bytes=2 * MAX_ENVELOPE_BYTES)
    except ValueError as error:
        msg = f"{BUNDLE_NAME}: {error}"
        raise MalformedDocumentError(msg) from error
    provenance = bundle.provenance
    return Envelope.from_object(bundle.envelope), (
        None if provenance is None else Envelope.from_object(provenance)
    )


def read_bundle(folder: Path) -> tuple[Envelope, Envelope | None]:
    """Return release statement and provenance in ``folder``, still to be verified.

    Raises:
        MalformedDocumentError: there is none, or it is no such document.
        InvalidSpecError: there is no such folder.
        LocalError: it cannot be read.
    """
    status = entries(folder).get(BUNDLE_NAME)
    if status is None or not is_plain_file(status):
        msg = f"{folder}: no {BUNDLE_NAME}, so nothing in it is signed"
        raise MalformedDocumentError(msg)
    try:
        with (folder / BUNDLE_NAME).open("rb") as file:
            data = file.read(2 * MAX_ENVELOPE_BYTES + 1)
    except OSError as error:
        msg = f"cannot read {folder / BUNDLE_NAME}: {error.strerror}"
        raise LocalError(msg) from error
    return parse_bundle(data)
