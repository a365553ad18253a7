"""The transparency log: static-looking files, and what only a database can answer.

ADR 18.
"""

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, Field

from model_zoo.errors import MalformedDocumentError, NotFoundError
from model_zoo.transparency.client import MAX_LEAVES
from model_zoo.transparency.merkle import MAX_TREE_SIZE
from model_zoo.transparency.notes import MAX_NOTE_BYTES, MAX_SIGNATURES, Note, to_base64
from model_zoo.transparency.tlog import Tile
from service.api.schemas import Incoming
from service.http.dependencies import ContextHere
from service.http.files import kept_for_good
from service.repository import served

files = APIRouter(prefix="/log", tags=["log"])
"""Mounted at the root: C2SP's paths, below the prefix ``/log``."""
router = APIRouter(prefix="/log", tags=["log"])
"""Mounted with the rest of the API."""

LeafHash = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
NOTE_TYPE = "text/plain; charset=utf-8"
TILE_TYPE = "application/octet-stream"


class CosignaturesIn(Incoming):
    """A checkpoint of this log, with the lines of one witness or several."""

    note: Annotated[str, Field(max_length=MAX_NOTE_BYTES)]


class CosignedOut(BaseModel):
    """The size of the log in the checkpoint that was cosigned."""

    size: int


class IndexOut(BaseModel):
    """Where the log has an entry: a hint, which a proof confirms."""

    index: int


class ProofOut(BaseModel):
    """Where a leaf is, and the hashes that show it, in base64."""

    index: int
    proof: list[str]


class ProofsOut(BaseModel):
    """One for each leaf that was asked for, in that order."""

    items: list[ProofOut]


@files.get("/checkpoint", response_class=Response)
def newest(context: ContextHere) -> Response:
    """Return the newest checkpoint, with the cosignatures that it has so far."""
    return _note(served.newest_checkpoint(context))


@files.get("/witnessed", response_class=Response)
def witnessed(
    context: ContextHere,
    cosignatures: Annotated[int, Query(ge=1, le=MAX_SIGNATURES)] = 1,
) -> Response:
    """Return the newest checkpoint with at least so many cosignatures."""
    return _note(served.witnessed_checkpoint(context, cosignatures=cosignatures))


@files.get("/tile/{path:path}", response_class=Response)
def tile(path: str, context: ContextHere) -> Response:
    """Return a tile of hashes, or a bundle of entries; neither ever changes."""
    try:
        asked = Tile.parse(f"tile/{path}")
    except MalformedDocumentError as error:
        raise NotFoundError(str(error)) from error
    data = served.tile_data(context, asked)
    headers = {"X-Content-Type-Options": "nosniff"} | kept_for_good(context)
    return Response(data, media_type=TILE_TYPE, headers=headers)


@router.get("/entries/{leaf_hash}")
def find_entry(leaf_hash: str, context: ContextHere) -> IndexOut:
    """Return where the log has the entry with this leaf hash (RFC 6962, in hex)."""
    return IndexOut(index=served.index_of(context, leaf_hash))


@router.get("/proofs")
def prove(
    context: ContextHere,
    size: Annotated[int, Query(ge=1, le=MAX_TREE_SIZE)],
    leaf: Annotated[list[LeafHash], Query(min_length=1, max_length=MAX_LEAVES)],
) -> ProofsOut:
    """Return proofs that leaves (in hex) are among the first entries of the log.

    They can be made from tiles as well; this is shorter where few are asked for.
    """
    proofs = served.leaf_proofs(context, leaf, size=size)
    items = [
        ProofOut(index=index, proof=[to_base64(item) for item in proof])
        for index, proof in proofs
    ]
    return ProofsOut(items=items)


@router.post("/cosignatures", status_code=HTTPStatus.OK)
def cosign(body: CosignaturesIn, context: ContextHere) -> CosignedOut:
    """Keep the cosignatures of this zoo's witnesses; whoever brings them."""
    note = Note.parse(body.note.encode())
    return CosignedOut(size=served.accept_cosignature(context, note))


def _note(note: Note) -> Response:
    headers = {"Cache-Control": "no-cache", "X-Content-Type-Options": "nosniff"}
    return Response(note.to_bytes(), media_type=NOTE_TYPE, headers=headers)
