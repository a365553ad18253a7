"""A publisher revokes his own release: one step, and no way back.

ADR 21. Documents, routes and log call it a yank; PEP 592's can be undone, this cannot.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from sqlalchemy.orm import Session

from model_zoo.canonical import JsonObject, canonical_json
from model_zoo.digests import sha256_bytes
from model_zoo.errors import ConflictError, MalformedDocumentError
from model_zoo.names import ReleaseName
from model_zoo.statements.dsse import Envelope
from model_zoo.statements.release_json import bundle_bytes
from model_zoo.tuf.revocations import YANK_NAME, YankNotice, yank_edit
from model_zoo.tuf.roles import target_path
from service.context import Context
from service.database.tables import ReleaseRow, WithdrawalRow
from service.releases.catalog import require_release
from service.repository.commit import commit, entry, keep_target
from service.repository.index import indexed
from service.repository.pending import HeldChange, hold
from service.repository.validation import (
    Change,
    check_roles,
    role_files,
    versions_of,
)
from service.uploads.sessions import manifest_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Revocation:
    """A publisher's notice, and his role's next version without the release.

    ``request`` is both as they were sent, to be held while a signature is lacking.
    """

    notice: YankNotice
    roles: Mapping[str, bytes]
    request: JsonObject

    @classmethod
    def read(cls, request: JsonObject) -> Self:
        """Return what the JSON body of a request revokes.

        Raises:
            MalformedDocumentError: it is no notice, or a role is no JSON.
        """
        roles = role_files(request["roles"])
        notice = YankNotice.read(canonical_json(request["notice"]))
        return cls(notice=notice, roles=roles, request=request)


def revoke(
    context: Context, name: ReleaseName, revocation: Revocation
) -> dict[str, int] | None:
    """Revoke ``name``, for good: its role drops it and names the notice.

    Returns:
        Role name -> version that is current now; None where the change is held until
        enough of the publisher's keys signed.

    Raises:
        NotFoundError: there is no such release.
        ConflictError: it is withdrawn already, the role is not the next one, or another
            change of the publisher waits for signatures.
        ThresholdNotMetError: no delegated key signed; see ``check_roles``.
        VerificationError: notice and role do not say what they must.
    """
    release, notice = require_release(context, name), revocation.notice
    _require_notice(release, notice, name=name)
    edit = yank_edit(
        name, notice, manifest=manifest_of(release.upload), bundle=_bundle(release)
    )
    change = Change(add=edit.add, remove=edit.remove)
    roles = revocation.roles
    with context.database.writing() as session:
        _require_not_revoked(session, name)
        lacking = check_roles(
            session, name.publisher, roles, change=change, now=context.now()
        )
        if lacking is not None:
            body = revocation.request
            waiting = HeldChange(kind="yank", name=str(name), body=body)
            hold(session, context, waiting)
            return None
        data = notice.to_bytes()
        path = target_path(name, YANK_NAME)
        keep_target(session, path, data, sha256=sha256_bytes(data))
        session.add(
            WithdrawalRow(
                publisher=name.publisher,
                model=name.model,
                version=name.version,
                withdrawn_by="publisher",
                reason=notice.reason,
                withdrawn_at=context.now(),
            )
        )
        yanked = indexed(session, context, [notice])
        logged = entry("yank", str(name), data)
        commit(session, context, {**roles, **yanked}, entries=[logged])
    return versions_of(roles)


def _require_not_revoked(session: Session, name: ReleaseName) -> None:
    key = (name.publisher, name.model, name.version)
    if session.get(WithdrawalRow, key) is not None:
        msg = f"{name} is withdrawn already"
        raise ConflictError(msg)


def _bundle(release: ReleaseRow) -> bytes:
    made = release.provenance
    return bundle_bytes(
        envelope=Envelope.from_object(release.envelope),
        provenance=None if made is None else Envelope.from_object(made),
    )


def _require_notice(
    release: ReleaseRow, notice: YankNotice, *, name: ReleaseName
) -> None:
    tensors = manifest_of(release.upload).tensors()
    files = {file.name: file.sha256 for file in tensors}
    expected = (str(name), "publisher", files)
    if (notice.release, notice.withdrawn_by, notice.files) != expected:
        msg = f"the notice is not its publisher's of the tensors of {name}"
        raise MalformedDocumentError(msg)
