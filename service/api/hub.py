"""Routes of model hubs for stock clients: huggingface_hub and torch.hub.

They check lengths, and torch.hub a digest that stands in the URL; none checks a
signature. They get the same bytes as our own client, which does.

ADR 19.

Source:
    huggingface_hub 0.36, 1.33 and 2.4 (``HF_ENDPOINT``); torch.hub of torch 2.15.
"""

import hashlib
from http import HTTPStatus
from typing import Annotated, Any, NoReturn

from fastapi import APIRouter, Depends, Request, Response
from starlette.exceptions import HTTPException

from model_zoo.clock import rfc3339
from model_zoo.errors import InvalidSpecError, NotFoundError
from model_zoo.names import ModelName, ReleaseName
from model_zoo.statements.manifest import WEIGHTS_SUFFIX, FileEntry
from service.context import Context
from service.database.tables import ReleaseRow
from service.http.dependencies import ContextHere
from service.http.files import blob_response
from service.releases.catalog import require_release
from service.releases.revisions import MAIN, commit_of, has_model, version_of
from service.releases.withdrawals import require_not_withdrawn
from service.uploads.sessions import manifest_of

router = APIRouter(tags=["hub"])
"""Mount it without a prefix and last: its paths begin with any publisher's name."""

INFO = "/api/models/{publisher}/{model}"
FILE = "/{publisher}/{model}/resolve/{revision}/{file:path}"
NAMELESS = "/{model}/resolve/{_:path}"
WEIGHTS = "/hub/{publisher}/{model}/{version}/weights-{sha256}.safetensors"


def _refuse(code: str, message: str, *, commit: str | None = None) -> NoReturn:
    """Refuse with the code that huggingface_hub turns into a type of error."""
    headers = {"X-Error-Code": code, "X-Error-Message": message}
    if commit is not None:
        headers["X-Repo-Commit"] = commit
    raise HTTPException(HTTPStatus.NOT_FOUND, message, headers=headers)


def _model_name(publisher: str, model: str, context: ContextHere) -> ModelName:
    try:
        name = ModelName(publisher, model)
    except InvalidSpecError as error:
        _refuse("RepoNotFound", str(error))
    if not has_model(context, name):
        _refuse("RepoNotFound", f"no model {name}")
    return name


ModelHere = Annotated[ModelName, Depends(_model_name)]


def _release(context: Context, name: ModelName, revision: str) -> ReleaseRow:
    version = version_of(context, name, revision=revision)
    if version is None:
        several = f"{name} has several releases: name one" if revision == MAIN else None
        _refuse("RevisionNotFound", several or f"{name}: no revision {revision[:80]!a}")
    return require_release(context, ReleaseName(name.publisher, name.model, version))


@router.head(FILE)
@router.get(FILE)
def resolve_file(
    name: ModelHere, revision: str, file: str, request: Request, context: ContextHere
) -> Response:
    """Return a file of a release, as huggingface_hub asks for it."""
    release = _release(context, name, revision)
    commit = commit_of(release.envelope)
    entry = manifest_of(release.upload).entry(file)
    if entry is None:
        _refuse("EntryNotFound", f"{name}: no file {file[:80]!a}", commit=commit)
    response = _file_response(request, context, release, entry)
    response.headers["X-Repo-Commit"] = commit
    return response


# Not in our API's description: it is there to say no in words that clients understand.
@router.head(NAMELESS, include_in_schema=False)
@router.get(NAMELESS, include_in_schema=False)
@router.get("/api/models/{model}/revision/{_:path}", include_in_schema=False)
def refuse_model_without_publisher(model: str) -> None:
    """Refuse a name such as ``gpt2``, which some hubs have; no model here has one."""
    _refuse("RepoNotFound", f"{model[:80]!a}: expected publisher/model")


@router.get(INFO)
def show_repository(name: ModelHere, context: ContextHere) -> dict[str, Any]:
    """Return the only release of a model, as huggingface_hub asks for it."""
    return _info(name, _release(context, name, MAIN))


@router.get(INFO + "/revision/{revision:path}")
def show_revision(
    name: ModelHere, revision: str, context: ContextHere
) -> dict[str, Any]:
    """Return a release of a model, as huggingface_hub asks for it."""
    return _info(name, _release(context, name, revision))


@router.get(INFO + "/tree/{revision:path}")
def list_tree(
    name: ModelHere, revision: str, context: ContextHere
) -> list[dict[str, Any]]:
    """Return the files of a release, as huggingface_hub asks for them."""
    release = _release(context, name, revision)
    return [_tree_entry(file) for file in manifest_of(release.upload).files]


@router.head(WEIGHTS)
@router.get(WEIGHTS)
def download_weights(
    publisher: str,
    model: str,
    version: str,
    sha256: str,
    request: Request,
    context: ContextHere,
) -> Response:
    """Return the weights whose digest stands in the URL, where torch.hub checks it."""
    release = require_release(context, ReleaseName(publisher, model, version))
    for entry in manifest_of(release.upload).weights():
        if entry.sha256 == sha256 and entry.name.endswith(WEIGHTS_SUFFIX):
            return _file_response(request, context, release, entry)
    msg = f"{publisher}/{model}@{version}: no weights of digest {sha256[:80]!a}"
    raise NotFoundError(msg)


def _file_response(
    request: Request, context: Context, release: ReleaseRow, entry: FileEntry
) -> Response:
    """Return a file that caches must ask for again: it may be withdrawn meanwhile."""
    name = ReleaseName(release.publisher, release.model, release.version)
    require_not_withdrawn(context, name)
    response = blob_response(request, context, entry)
    response.headers["Cache-Control"] = "no-cache"
    return response


def _info(name: ModelName, release: ReleaseRow) -> dict[str, Any]:
    files = manifest_of(release.upload).files
    return {
        "id": str(name),
        "sha": commit_of(release.envelope),
        "lastModified": rfc3339(release.published_at),
        "private": False,
        "siblings": [{"rfilename": file.name} for file in files],
    }


def _tree_entry(file: FileEntry) -> dict[str, Any]:
    """Return the entry of a file kept by Git LFS, whose pointer has the digest.

    Source:
        Git LFS specification, "The Pointer"; Git's object name of a blob.
    """
    pointer = (
        "version https://git-lfs.github.com/spec/v1\n"
        f"oid sha256:{file.sha256}\nsize {file.size_bytes}\n"
    ).encode()
    blob = b"blob %d\0%s" % (len(pointer), pointer)
    return {
        "type": "file",
        "path": file.name,
        "size": file.size_bytes,
        "oid": hashlib.sha1(blob, usedforsecurity=False).hexdigest(),
        "lfs": {
            "oid": file.sha256,
            "size": file.size_bytes,
            "pointerSize": len(pointer),
        },
    }
