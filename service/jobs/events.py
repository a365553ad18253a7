"""Events of a job, in order: each is written with the change that it describes."""

from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.orm import Session

from model_zoo.canonical import JsonObject
from service.context import Context
from service.database.tables import EventRow, JobRow


class NewEvent(NamedTuple):
    """An event that has no number yet."""

    type: str
    data: JsonObject


def record(
    session: Session, job: JobRow, events: Iterable[NewEvent], *, now: datetime
) -> None:
    """Append to the job's events, in the transaction of the change they describe.

    The counter is on the job's row, so two writers wait for each other there.
    """
    for event in events:
        job.last_event += 1
        session.add(
            EventRow(
                job_id=job.id,
                sequence=job.last_event,
                type=event.type,
                data=event.data,
                created_at=now,
            )
        )


def events_after(
    context: Context, job_id: str, sequence: int, *, limit: int = 256
) -> list[EventRow]:
    """Return the job's next events after number ``sequence``, at most ``limit``."""
    with context.database.reading() as session:
        return list(
            session.scalars(
                select(EventRow)
                .where(EventRow.job_id == job_id, EventRow.sequence > sequence)
                .order_by(EventRow.sequence)
                .limit(limit)
            )
        )
