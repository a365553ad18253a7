"""Bytes over HTTP: ranges, strong tags, digests, and nothing read twice."""

import base64
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import NamedTuple

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from model_zoo.statements.manifest import FileEntry
from service.context import Context

# Eighteen digits stay below 2**63, and no file is longer.
_RANGE = re.compile(r"bytes=(\d{0,18})-(\d{0,18})", re.ASCII)
_DIGEST_FIELD = re.compile(r"sha-256=:([A-Za-z0-9+/]{43}=):", re.ASCII)


class Span(NamedTuple):
    """The bytes from ``start`` up to, not including, ``end``."""

    start: int
    end: int


def kept_for_good(context: Context) -> dict[str, str]:
    """Return the header that lets caches keep an answer for good.

    Behind a token, a shared cache must not hand out what it has seen pass.
    """
    audience = "public" if context.settings.token is None else "private"
    return {"Cache-Control": f"{audience}, max-age=31536000, immutable"}


def blob_response(request: Request, context: Context, file: FileEntry) -> Response:
    """Return a stored file, whole or a range of it, or 304 where the client has it.

    A blob never changes, so its digest is its tag and caches may keep it for good.

    Raises:
        HTTPException: 416, the range lies outside.
    """
    etag, size_bytes = f'"{file.sha256}"', file.size_bytes
    digest = base64.b64encode(bytes.fromhex(file.sha256)).decode()
    headers = {
        "ETag": etag,
        "Repr-Digest": f"sha-256=:{digest}:",
        **kept_for_good(context),
        "Accept-Ranges": "bytes",
        "X-Content-Type-Options": "nosniff",
        "Content-Disposition": "attachment",
    }
    if _has(request.headers.get("if-none-match", ""), etag):
        return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
    span = _span(request.headers, etag=etag, size_bytes=size_bytes)
    status = HTTPStatus.OK
    if span is None:
        span = Span(0, size_bytes)
    else:
        status = HTTPStatus.PARTIAL_CONTENT
        headers["Content-Range"] = f"bytes {span.start}-{span.end - 1}/{size_bytes}"
    headers["Content-Length"] = str(span.end - span.start)
    headers["Content-Type"] = "application/octet-stream"
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers)
    chunks = context.blobs.read(file.sha256, start=span.start, end=span.end)
    return StreamingResponse(chunks, status, headers)


def sha256_in(field: str | None) -> bytes | None:
    """Return the SHA-256 in a Content-Digest field; None if it names no such digest.

    Source:
        RFC 9530, section 2.
    """
    found = None if field is None else _DIGEST_FIELD.search(field)
    return None if found is None else base64.b64decode(found[1])


def _has(if_none_match: str, etag: str) -> bool:
    """Whether the client's list of tags holds ours, compared weakly (RFC 9110)."""
    tags = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return etag in tags or tags == ["*"]


def _span(headers: Mapping[str, str], *, etag: str, size_bytes: int) -> Span | None:
    """Return the one range that is asked for; None means the whole file.

    RFC 9110 lets a server answer several ranges, another unit or a range of another
    version (If-Range) with the whole file, and this one does.
    """
    match = _RANGE.fullmatch(headers.get("range", "").replace(" ", ""))
    if match is None or match[0] == "bytes=-" or headers.get("if-range", etag) != etag:
        return None
    first, last = match[1], match[2]
    if not first:
        span = Span(max(0, size_bytes - int(last)), size_bytes)
    else:
        end = min(size_bytes, int(last) + 1) if last else size_bytes
        span = Span(int(first), end)
    if first and last and int(last) < int(first):
        return None
    if span.start >= span.end:
        raise HTTPException(
            HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
            f"the file has {size_bytes} bytes",
            headers={"Content-Range": f"bytes */{size_bytes}"},
        )
    return span
