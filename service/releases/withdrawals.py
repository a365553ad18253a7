"""Releases that were withdrawn; there is no way back.

The rule is that of clients, in ``model_zoo.tuf.revocations``: what the operator
withdraws is withdrawn wherever the same file lies; what a publisher withdraws, from his
own releases, and from who learned of the file if nobody else has it.
"""

from collections.abc import Collection

from sqlalchemy import ColumnElement, Select, and_, or_, select
from sqlalchemy.orm import Session

from model_zoo.errors import YankedError
from model_zoo.names import ModelName, ReleaseName
from model_zoo.statements.manifest import GRAPH_SUFFIX, WEIGHTS_SUFFIX
from service.context import Context
from service.database.tables import (
    LostEntryRow,
    ReleaseRow,
    UploadFileRow,
    WithdrawalRow,
)
from service.repository.losses import YANK, is_lost_withdrawal

OPERATOR_WITHDREW = WithdrawalRow.withdrawn_by == "operator"
IS_TENSORS = or_(
    UploadFileRow.name.endswith(WEIGHTS_SUFFIX),
    UploadFileRow.name.endswith(GRAPH_SUFFIX),
)


def find_withdrawal(context: Context, name: ReleaseName) -> WithdrawalRow | None:
    """Return who withdrew the release, when and why; None if nobody did."""
    key = (name.publisher, name.model, name.version)
    with context.database.reading() as session:
        return session.get(WithdrawalRow, key)


def withdrawals(
    context: Context, model: ModelName | None = None
) -> dict[ReleaseName, WithdrawalRow]:
    """Return every withdrawal by the name of its release, or those of one model."""
    wanted = select(WithdrawalRow)
    if model is not None:
        wanted = wanted.where(
            WithdrawalRow.publisher == model.publisher,
            WithdrawalRow.model == model.model,
        )
    with context.database.reading() as session:
        return {
            ReleaseName(row.publisher, row.model, row.version): row
            for row in session.scalars(wanted)
        }


def require_not_itself_withdrawn(context: Context, name: ReleaseName) -> None:
    """Accept a release for which its role still vouches, whatever its files are.

    Raises:
        YankedError: somebody withdrew it; the message says who, when and why.
    """
    withdrawal = find_withdrawal(context, name)
    if withdrawal is not None:
        raise _withdrawn_error(withdrawal)
    with context.database.reading() as session:
        if is_lost_withdrawal(session, str(name)):
            raise _lost_notice_error(str(name))


def require_not_withdrawn(context: Context, name: ReleaseName) -> None:
    """Accept a release that nobody withdrew, nor another for files that it holds, too.

    Raises:
        YankedError: somebody did; the message says who, when and why.
    """
    require_not_itself_withdrawn(context, name)
    with context.database.reading() as session:
        held = session.scalars(
            select(UploadFileRow.sha256)
            .join(ReleaseRow, ReleaseRow.upload_id == UploadFileRow.upload_id)
            .where(
                ReleaseRow.publisher == name.publisher,
                ReleaseRow.model == name.model,
                ReleaseRow.version == name.version,
                IS_TENSORS,
            )
        )
        require_held_files(session, name.publisher, held.all())


def require_held_files(
    session: Session, publisher: str, sha256s: Collection[str]
) -> None:
    """Accept files in a release of ``publisher``.

    Raises:
        YankedError: the operator withdrew a release that holds one of them, or the
            publisher one of his own.
    """
    reaches = or_(OPERATOR_WITHDREW, WithdrawalRow.publisher == publisher)
    found = session.scalar(
        _withdrawals(UploadFileRow.sha256.in_(sha256s)).where(reaches).limit(1)
    )
    if found is not None:
        raise _withdrawn_error(found)
    lost = _lost_withdrawals(UploadFileRow.sha256.in_(sha256s))
    name = session.scalar(lost.where(ReleaseRow.publisher == publisher).limit(1))
    if name is not None:
        raise _lost_notice_error(name)


def require_not_withdrawn_file(session: Session, sha256: str) -> None:
    """Accept a file that somebody may have and learn from, whoever holds it.

    Raises:
        YankedError: the operator withdrew a release that holds it, or publishers did
            and no other publisher has it.
    """
    found = session.scalars(_withdrawals(UploadFileRow.sha256 == sha256)).all()
    lost = session.scalars(_lost_withdrawals(UploadFileRow.sha256 == sha256)).all()
    if not found and not lost:
        return
    by_operator = [row for row in found if row.withdrawn_by == "operator"]
    if by_operator:
        raise _withdrawn_error(by_operator[0])
    publishers = {row.publisher for row in found}
    publishers |= {name.partition("/")[0] for name in lost}
    elsewhere = session.scalar(
        select(ReleaseRow.publisher)
        .join(UploadFileRow, UploadFileRow.upload_id == ReleaseRow.upload_id)
        .where(
            UploadFileRow.sha256 == sha256,
            ReleaseRow.publisher.not_in(publishers),
        )
        .limit(1)
    )
    if elsewhere is None:
        raise _withdrawn_error(found[0]) if found else _lost_notice_error(lost[0])


def _withdrawals(files: ColumnElement[bool]) -> Select[WithdrawalRow]:
    """Return the question for withdrawals of releases that hold one of ``files``."""
    return (
        select(WithdrawalRow)
        .join(
            ReleaseRow,
            and_(
                ReleaseRow.publisher == WithdrawalRow.publisher,
                ReleaseRow.model == WithdrawalRow.model,
                ReleaseRow.version == WithdrawalRow.version,
            ),
        )
        .join(UploadFileRow, UploadFileRow.upload_id == ReleaseRow.upload_id)
        .where(files, IS_TENSORS)
    )


def _lost_withdrawals(files: ColumnElement[bool]) -> Select[str]:
    """Return the question for releases with ``files`` whose withdrawal was lost.

    Nobody knows any more whose it was: it counts as their publisher's.
    """
    name = ReleaseRow.publisher + "/" + ReleaseRow.model + "@" + ReleaseRow.version
    return (
        select(LostEntryRow.name)
        .join(ReleaseRow, LostEntryRow.name == name)
        .join(UploadFileRow, UploadFileRow.upload_id == ReleaseRow.upload_id)
        .where(files, IS_TENSORS, LostEntryRow.kind == YANK)
    )


def _lost_notice_error(name: str) -> YankedError:
    return YankedError(
        f"{name} was withdrawn; the notice was lost since: withdraw it again"
    )


def _withdrawn_error(row: WithdrawalRow) -> YankedError:
    return YankedError(
        f"{row.publisher}/{row.model}@{row.version} was withdrawn by the "
        f"{row.withdrawn_by} on {row.withdrawn_at:%Y-%m-%d}: {row.reason}"
    )
