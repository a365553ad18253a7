"""Whose withdrawal reaches which file: a publisher's his own, the operator's every one.

The index of withdrawn files is signed online and not believed: it says where to look.
A withdrawal counts once its publisher's role, or the operator's, says it of a release
that held the file.
"""

from model_zoo.errors import WrongReleaseError
from model_zoo.names import ReleaseName
from model_zoo.statements.folder import BUNDLE_NAME
from model_zoo.statements.intoto import vouched_release
from model_zoo.statements.release_json import parse_bundle
from model_zoo.text import printable
from model_zoo.tuf.revocations import YANK_NAME, WithdrawnFile, YankNotice, index_path
from model_zoo.tuf.roles import WITHDRAWALS, WITHDRAWN, delegation_of, target_path
from model_zoo.tuf.view import TrustedZoo


def withdrawal(zoo: TrustedZoo, name: ReleaseName) -> str | None:
    """Return why a release was withdrawn, in one line; None where it was not."""
    if is_withdrawn_by_operator(zoo, name):
        zoo.target(target_path(name, "-"))
        told = zoo.delegated(WITHDRAWN).unrecognized_fields.get(WITHDRAWALS, {})
        reason = told.get(str(name)) if isinstance(told, dict) else None
        shown = printable(str(reason or "no reason is told"))
        return f"{name} was withdrawn by the operator: {shown}"
    if zoo.target(target_path(name, BUNDLE_NAME)) is not None:
        return None  # a yank drops it in the step that adds the notice: one walk less
    if zoo.target(target_path(name, YANK_NAME)) is None:
        return None
    notice = YankNotice.read(zoo.read_target(target_path(name, YANK_NAME)))
    if notice.release != str(name):
        raise WrongReleaseError(expected=str(name), found=notice.release)
    return notice.told()


def is_withdrawn_by_operator(zoo: TrustedZoo, name: ReleaseName) -> bool:
    """Whether the top-level targets hide a release."""
    delegation = delegation_of(zoo.targets, WITHDRAWN)
    return delegation is not None and delegation.is_delegated_path(
        target_path(name, "-")
    )


def withdrawn_file(
    zoo: TrustedZoo, sha256: str, *, holder: ReleaseName | None
) -> str | None:
    """Return why a file must not be used any more, in one line; None where it may be.

    Args:
        zoo: what is vouched for now.
        sha256: the file's digest.
        holder: a release that holds the file: the operator's word counts, and that of
            the release's own publisher. None where no release is known to hold it:
            then everybody's does.

    Raises:
        VerificationError: a role that withdraws it cannot be believed.
    """
    path = index_path(sha256)
    if zoo.target(path) is None:
        return None
    entry = WithdrawnFile.read(zoo.read_target(path))
    for name in entry.releases():
        is_bound = holder is None or name.publisher == holder.publisher
        if not is_bound and not is_withdrawn_by_operator(zoo, name):
            continue
        told = withdrawal(zoo, name)
        if told is not None and _held(zoo, name, sha256):
            return told
    return None


def _held(zoo: TrustedZoo, name: ReleaseName, sha256: str) -> bool:
    """Whether a withdrawn release's own publisher says that it had the file."""
    notice = zoo.published(target_path(name, YANK_NAME))
    if notice is not None:
        return sha256 in YankNotice.read(zoo.fetch(notice)).files.values()
    bundle = zoo.published(target_path(name, BUNDLE_NAME))
    if bundle is None:
        return False
    envelope, _ = parse_bundle(zoo.fetch(bundle))
    tensors = vouched_release(envelope).manifest.tensors()
    return sha256 in {file.sha256 for file in tensors}
