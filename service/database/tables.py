"""The tables: typed, named by one convention so that migrations can find them."""

import uuid
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    LargeBinary,
    MetaData,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column, relationship
from sqlalchemy.types import TypeDecorator

ID_CHARACTERS = 32
NAME_CHARACTERS = 64
DIGEST_CHARACTERS = 64


def new_id() -> str:
    """Return a key that nobody can guess: 128 random bits in hexadecimal digits."""
    return uuid.uuid4().hex


class UtcDateTime(TypeDecorator[datetime]):
    """An aware moment in UTC, also where the database keeps no time zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(
        self, value: datetime | None, dialect: Dialect
    ) -> datetime | None:
        """Return the moment in UTC; a naive one would mean another hour elsewhere."""
        if value is None:
            return None
        if value.tzinfo is None:
            msg = f"{dialect.name}: expected an aware moment"
            raise ValueError(msg)
        return value.astimezone(UTC)

    def process_result_value(
        self, value: datetime | None, dialect: Dialect
    ) -> datetime | None:
        """Return the moment with its zone, which SQLite has dropped."""
        del dialect
        return None if value is None else value.replace(tzinfo=UTC)


class Table(DeclarativeBase):
    """The base of every row."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(column_0_label)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
            "pk": "pk_%(table_name)s",
        }
    )
    type_annotation_map = {  # noqa: RUF012  SQLAlchemy reads it from the class
        datetime: UtcDateTime,
        dict[str, Any]: JSON(none_as_null=True),
        list[str]: JSON,
    }


class PublisherRow(Table):
    """A publisher's name, bound by the operator to one key for good."""

    __tablename__ = "publishers"

    name: Mapped[str] = mapped_column(String(NAME_CHARACTERS), primary_key=True)
    keyid: Mapped[str] = mapped_column(String(DIGEST_CHARACTERS))
    public_key: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime]


class TrainerRow(Table):
    """A trainer's name, bound by the operator to one builder key for good."""

    __tablename__ = "trainers"

    name: Mapped[str] = mapped_column(String(NAME_CHARACTERS), primary_key=True)
    keyid: Mapped[str] = mapped_column(String(DIGEST_CHARACTERS))
    public_key: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime]


class UploadRow(Table):
    """Files that arrive together; a release or a draft refers to them when complete.

    ``active_at`` is when it was declared, completed, or a part of it began to arrive.
    """

    __tablename__ = "uploads"

    id: Mapped[str] = mapped_column(String(ID_CHARACTERS), primary_key=True)
    state: Mapped[str] = mapped_column(String(16))
    active_at: Mapped[datetime]
    files: Mapped[list["UploadFileRow"]] = relationship(
        order_by="UploadFileRow.name", lazy="selectin", cascade="all, delete-orphan"
    )


class UploadFileRow(Table):
    """One declared file of an upload."""

    __tablename__ = "upload_files"

    upload_id: Mapped[str] = mapped_column(
        ForeignKey("uploads.id", ondelete="CASCADE"), primary_key=True
    )
    name: Mapped[str] = mapped_column(String(NAME_CHARACTERS), primary_key=True)
    size_bytes: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(DIGEST_CHARACTERS), index=True)


class ReleaseRow(Table):
    """One immutable version; its primary key lets one of two publishes commit."""

    __tablename__ = "releases"

    publisher: Mapped[str] = mapped_column(
        ForeignKey("publishers.name"), primary_key=True
    )
    model: Mapped[str] = mapped_column(String(NAME_CHARACTERS), primary_key=True)
    version: Mapped[str] = mapped_column(String(NAME_CHARACTERS), primary_key=True)
    upload_id: Mapped[str] = mapped_column(ForeignKey("uploads.id"), index=True)
    envelope: Mapped[dict[str, Any]]
    provenance: Mapped[dict[str, Any] | None]
    published_at: Mapped[datetime]
    upload: Mapped[UploadRow] = relationship(lazy="joined")


class InputRow(Table):
    """A file that a release was made from, as its provenance says."""

    __tablename__ = "release_inputs"
    __table_args__ = (
        ForeignKeyConstraint(
            ["publisher", "model", "version"],
            ["releases.publisher", "releases.model", "releases.version"],
        ),
    )

    sha256: Mapped[str] = mapped_column(String(DIGEST_CHARACTERS), primary_key=True)
    publisher: Mapped[str] = mapped_column(String(NAME_CHARACTERS), primary_key=True)
    model: Mapped[str] = mapped_column(String(NAME_CHARACTERS), primary_key=True)
    version: Mapped[str] = mapped_column(String(NAME_CHARACTERS), primary_key=True)


class JobRow(Table):
    """A job for a trainer; ``attempt_id`` is the one attempt that may end it."""

    __tablename__ = "jobs"
    __table_args__ = (Index("ix_jobs_trainer_state", "trainer", "state", "created_at"),)

    id: Mapped[str] = mapped_column(String(ID_CHARACTERS), primary_key=True)
    kind: Mapped[str] = mapped_column(String(NAME_CHARACTERS))
    trainer: Mapped[str] = mapped_column(ForeignKey("trainers.name"))
    spec: Mapped[dict[str, Any]]
    spec_digest: Mapped[str] = mapped_column(String(DIGEST_CHARACTERS))
    state: Mapped[str] = mapped_column(String(16))
    attempts: Mapped[int] = mapped_column(default=0)
    attempt_id: Mapped[str | None] = mapped_column(String(ID_CHARACTERS))
    cancel_requested: Mapped[bool] = mapped_column(default=False)
    last_event: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    finished_at: Mapped[datetime | None]
    error: Mapped[str | None] = mapped_column(Text)
    claimed_evaluation: Mapped[dict[str, Any] | None]
    measured_evaluation: Mapped[dict[str, Any] | None]


class AttemptRow(Table):
    """One try at a job by one worker, alive until ``lease_until``."""

    __tablename__ = "attempts"
    __table_args__ = (
        UniqueConstraint("job_id", "number"),
        Index("ix_attempts_state_lease_until", "state", "lease_until"),
    )

    id: Mapped[str] = mapped_column(String(ID_CHARACTERS), primary_key=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"))
    number: Mapped[int]
    worker: Mapped[str] = mapped_column(String(NAME_CHARACTERS))
    state: Mapped[str] = mapped_column(String(16))
    lease_seconds: Mapped[int]
    lease_until: Mapped[datetime]
    started_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    error: Mapped[str | None] = mapped_column(Text)


class EventRow(Table):
    """Something that happened to a job, numbered from 1 without a gap."""

    __tablename__ = "events"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    sequence: Mapped[int] = mapped_column(primary_key=True)
    type: Mapped[str] = mapped_column(String(16))
    data: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]


class DraftRow(Table):
    """What a job made, as its trainer signed it; at most one a job."""

    __tablename__ = "drafts"

    job_id: Mapped[str] = mapped_column(ForeignKey("jobs.id"), primary_key=True)
    attempt_id: Mapped[str] = mapped_column(ForeignKey("attempts.id"))
    upload_id: Mapped[str] = mapped_column(ForeignKey("uploads.id"), index=True)
    provenance: Mapped[dict[str, Any]]
    upload: Mapped[UploadRow] = relationship(lazy="joined")


class WorkerRow(Table):
    """When a trainer's worker last asked for work, for which kinds, with what names."""

    __tablename__ = "workers"

    trainer: Mapped[str] = mapped_column(ForeignKey("trainers.name"), primary_key=True)
    name: Mapped[str] = mapped_column(String(NAME_CHARACTERS), primary_key=True)
    kinds: Mapped[list[str]]
    names: Mapped[list[str]]
    seen_at: Mapped[datetime]


class MetadataRow(Table):
    """One version of one TUF role, as its keys signed it; never changed."""

    __tablename__ = "trust_metadata"

    role: Mapped[str] = mapped_column(String(96), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    data: Mapped[bytes] = mapped_column(LargeBinary)
    created_at: Mapped[datetime]


class TargetRow(Table):
    """A small target that some role vouches for, or did: kept under its digest."""

    __tablename__ = "trust_targets"

    path: Mapped[str] = mapped_column(String(512), primary_key=True)
    sha256: Mapped[str] = mapped_column(String(DIGEST_CHARACTERS), primary_key=True)
    data: Mapped[bytes] = mapped_column(LargeBinary)


class PendingRow(Table):
    """A publisher's next role that still lacks signatures; one a publisher."""

    __tablename__ = "pending_roles"

    publisher: Mapped[str] = mapped_column(
        ForeignKey("publishers.name"), primary_key=True
    )
    request: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]


class WithdrawalRow(Table):
    """A release that its publisher or the operator withdrew; there is no way back."""

    __tablename__ = "withdrawals"

    publisher: Mapped[str] = mapped_column(String(NAME_CHARACTERS), primary_key=True)
    model: Mapped[str] = mapped_column(String(NAME_CHARACTERS), primary_key=True)
    version: Mapped[str] = mapped_column(String(NAME_CHARACTERS), primary_key=True)
    withdrawn_by: Mapped[str] = mapped_column(String(16))
    reason: Mapped[str] = mapped_column(Text)
    withdrawn_at: Mapped[datetime]


class LogEntryRow(Table):
    """One entry of the transparency log; ``leaf_hash`` is RFC 6962's, in hex."""

    __tablename__ = "log_entries"

    index: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    leaf_hash: Mapped[str] = mapped_column(String(DIGEST_CHARACTERS), index=True)
    data: Mapped[bytes] = mapped_column(LargeBinary)


class LogNodeRow(Table):
    """The hash of a complete subtree of the log, of 2**level leaves."""

    __tablename__ = "log_nodes"

    level: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    index: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    hash: Mapped[bytes] = mapped_column(LargeBinary(32))


class LostEntryRow(Table):
    """An entry of the log that was served, of which the document was lost since.

    ``index`` is its place in the log.
    """

    __tablename__ = "lost_entries"

    index: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    kind: Mapped[str] = mapped_column(String(16))
    name: Mapped[str] = mapped_column(String(256), index=True)
    version: Mapped[int | None] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(DIGEST_CHARACTERS))


class CheckpointRow(Table):
    """The log's signed note over its first ``size`` entries."""

    __tablename__ = "log_checkpoints"

    size: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    note: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime]


class CosignatureRow(Table):
    """A witness's signature line for one checkpoint."""

    __tablename__ = "log_cosignatures"

    size: Mapped[int] = mapped_column(
        ForeignKey("log_checkpoints.size"), primary_key=True
    )
    keyid: Mapped[str] = mapped_column(String(DIGEST_CHARACTERS), primary_key=True)
    line: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime]
