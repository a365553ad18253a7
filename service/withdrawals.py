"""Releases that were withdrawn; there is no way back."""

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from model_zoo.errors import YankedError
from model_zoo.manifest import GRAPH_SUFFIX, WEIGHTS_SUFFIX
from model_zoo.names import ModelName, ReleaseName
from service.database.tables import ReleaseRow, UploadFileRow, WithdrawalRow
from service.parts import Parts
from service.trust.losses import is_lost_withdrawal


def find_withdrawal(parts: Parts, name: ReleaseName) -> WithdrawalRow | None:
    """Return who withdrew the release, when and why; None if nobody did."""
    key = (name.publisher, name.model, name.version)
    with parts.database.reading() as session:
        return session.get(WithdrawalRow, key)


def withdrawals(
    parts: Parts, model: ModelName | None = None
) -> dict[ReleaseName, WithdrawalRow]:
    """Return every withdrawal by the name of its release, or those of one model."""
    wanted = select(WithdrawalRow)
    if model is not None:
        wanted = wanted.where(
            WithdrawalRow.publisher == model.publisher,
            WithdrawalRow.model == model.model,
        )
    with parts.database.reading() as session:
        return {
            ReleaseName(row.publisher, row.model, row.version): row
            for row in session.scalars(wanted)
        }


def require_not_withdrawn(parts: Parts, name: ReleaseName) -> None:
    """Accept a release that nobody withdrew.

    Raises:
        YankedError: somebody did; the message says who, when and why.
    """
    withdrawal = find_withdrawal(parts, name)
    if withdrawal is not None:
        raise _told(withdrawal)
    with parts.database.reading() as session:
        if is_lost_withdrawal(session, str(name)):
            msg = f"{name} was withdrawn; the notice was lost since: withdraw it again"
            raise YankedError(msg)


def require_not_withdrawn_file(session: Session, sha256: str) -> None:
    """Accept a file that no withdrawn release holds: nobody should learn from it.

    Raises:
        YankedError: one does.
    """
    withdrawal = session.scalar(
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
        .where(
            UploadFileRow.sha256 == sha256,
            or_(
                UploadFileRow.name.endswith(WEIGHTS_SUFFIX),
                UploadFileRow.name.endswith(GRAPH_SUFFIX),
            ),
        )
        .limit(1)
    )
    if withdrawal is not None:
        raise _told(withdrawal)


def _told(row: WithdrawalRow) -> YankedError:
    return YankedError(
        f"{row.publisher}/{row.model}@{row.version} was withdrawn by the "
        f"{row.withdrawn_by} on {row.withdrawn_at:%Y-%m-%d}: {row.reason}"
    )
