"""``release.json``: the envelopes of a release, kept beside its files."""

from pathlib import Path
from typing import Any

from model_zoo.canonical import canonical_json
from model_zoo.documents import Document
from model_zoo.errors import MalformedDocumentError
from model_zoo.files import read_plain, write_beside
from model_zoo.statements.dsse import MAX_ENVELOPE_BYTES, Envelope
from model_zoo.statements.folder import BUNDLE_NAME, entries

MAX_BUNDLE_BYTES = 2 * MAX_ENVELOPE_BYTES


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
    write_beside(folder / BUNDLE_NAME, data)


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
        bundle = _Bundle.from_bytes(data, limit_bytes=MAX_BUNDLE_BYTES)
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
    if BUNDLE_NAME not in entries(folder):
        msg = f"{folder}: no {BUNDLE_NAME}, so nothing in it is signed"
        raise MalformedDocumentError(msg)
    return parse_bundle(read_plain(folder / BUNDLE_NAME, limit_bytes=MAX_BUNDLE_BYTES))
