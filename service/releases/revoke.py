"""A publisher withdraws his own release: one step, and no way back."""

from collections.abc import Mapping

from model_zoo.digests import sha256_bytes
from model_zoo.errors import ConflictError, MalformedDocumentError
from model_zoo.names import ReleaseName
from model_zoo.statements.dsse import Envelope
from model_zoo.statements.release_json import bundle_bytes
from model_zoo.tuf.revocations import YANK_NAME, YankNotice, yank_edit
from model_zoo.tuf.roles import target_path, version_of
from service.context import Context
from service.database.tables import ReleaseRow, WithdrawalRow
from service.releases.publish import require_release
from service.repository.commit import commit, entry, keep_target
from service.repository.index import indexed
from service.repository.validation import Change, require_roles
from service.uploads.sessions import manifest_of


def yank(
    context: Context,
    name: ReleaseName,
    *,
    notice: YankNotice,
    roles: Mapping[str, bytes],
) -> dict[str, int]:
    """Withdraw ``name``: its role drops it and names the notice; return the versions.

    Raises:
        NotFoundError: there is no such release.
        ConflictError: it is withdrawn already, or the role is not the next one.
        ThresholdNotMetError: too few keys signed; see ``require_roles``.
        VerificationError: notice and role do not say what they must.
    """
    release = require_release(context, name)
    _require_notice(release, notice, name=name)
    edit = yank_edit(
        name, notice, manifest=manifest_of(release.upload), bundle=_bundle(release)
    )
    change = Change(add=edit.add, remove=edit.remove)
    with context.database.writing() as session:
        key = (name.publisher, name.model, name.version)
        if session.get(WithdrawalRow, key) is not None:
            msg = f"{name} is withdrawn already"
            raise ConflictError(msg)
        require_roles(session, name.publisher, roles, change=change, now=context.now())
        data = notice.to_bytes()
        keep_target(
            session, target_path(name, YANK_NAME), data, sha256=sha256_bytes(data)
        )
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
        told = entry("yank", str(name), data)
        commit(session, context, {**roles, **yanked}, entries=[told])
    return {n: version_of(n, it) for n, it in roles.items()}


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
