"""What goes in and out as JSON; the domain's records have other names."""

from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from model_zoo.clock import rfc3339
from model_zoo.keys.pem import MAX_PEM_BYTES
from model_zoo.names import ReleaseName
from model_zoo.statements.manifest import MAX_FILES, FileEntry
from model_zoo.statements.recipes import OfferedName
from service.context import Parts
from service.database.tables import (
    DraftRow,
    JobRow,
    PublisherRow,
    ReleaseRow,
    TrainerRow,
    UploadRow,
    WithdrawalRow,
)
from service.jobs.queue import waiting_because
from service.uploads.sessions import manifest_of, missing_parts, part_count

MAX_EVENTS = 64
MAX_ERROR_CHARACTERS = 16_384
Dsse = dict[str, Any]
Roles = Annotated[dict[str, dict[str, Any]], Field(min_length=1, max_length=64)]
Name = Annotated[str, Field(max_length=64)]


class Incoming(BaseModel):
    """A request's body: exact types, no unknown fields."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class NothingIn(Incoming):
    """An empty object, or no body at all."""


class BindingIn(Incoming):
    """The key to bind a name to."""

    public_key: Annotated[str, Field(max_length=MAX_PEM_BYTES)]


class UploadIn(Incoming):
    """The files that will come."""

    files: Annotated[list[FileEntry], Field(min_length=1, max_length=MAX_FILES)]


class ReleaseIn(Incoming):
    """Uploaded files, the publisher's statement, and how they were made."""

    upload: str
    envelope: Dsse
    provenance: Dsse | None = None
    roles: Roles


class YankIn(Incoming):
    """A publisher's notice, and his role's next version without the release."""

    notice: dict[str, Any]
    roles: Roles


class RolesIn(Incoming):
    """Role versions, each signed where its key lies, and small files they name."""

    roles: Roles
    files: Annotated[dict[str, dict[str, Any]], Field(max_length=1)] = Field(
        default_factory=dict
    )


class AcceptedOut(BaseModel):
    """Which versions are current now; none new where the change waits."""

    versions: dict[str, int]
    pending: bool = False


class LostOut(BaseModel):
    """The newest version of each role that was served and lost with the database."""

    versions: dict[str, int]


class HoldersOut(BaseModel):
    """Releases that hold a file of some digest: a hint that clients verify."""

    releases: list[str]
    children: list[str]


class JobIn(Incoming):
    """What is asked of which trainer."""

    kind: Name
    trainer: str
    spec: dict[str, Any]


class LeaseIn(Incoming):
    """A worker that asks for work."""

    worker: str
    kinds: Annotated[list[Name], Field(min_length=1, max_length=64)]
    names: Annotated[list[OfferedName], Field(max_length=1024)] = []
    lease_seconds: Annotated[int, Field(ge=5, le=300)]


class EventIn(Incoming):
    """Something a worker tells of its attempt."""

    type: Annotated[str, Field(pattern=r"\A(progress|log)\z")]
    data: dict[str, Any]


class EventsIn(Incoming):
    """Several of them, in order."""

    events: Annotated[list[EventIn], Field(max_length=MAX_EVENTS)]


class CompletionIn(Incoming):
    """What an attempt made."""

    upload: str
    provenance: Dsse
    claimed_evaluation: dict[str, Any] | None = None


class FailureIn(Incoming):
    """Why an attempt did not work, and whether another one might."""

    error: Annotated[str, Field(max_length=MAX_ERROR_CHARACTERS)]
    retry: bool


class BindingOut(BaseModel):
    """A name and its key."""

    name: str
    keyid: str
    public_key: str

    @classmethod
    def of(cls, row: PublisherRow | TrainerRow) -> "BindingOut":
        """Return what the API says of a binding."""
        return cls(name=row.name, keyid=row.keyid, public_key=row.public_key)


class BindingsOut(BaseModel):
    """Several of them."""

    items: list[BindingOut]


class UploadFileOut(BaseModel):
    """A declared file and the parts that have yet to come."""

    name: str
    size_bytes: int
    sha256: str
    parts: int
    missing: list[int]


class UploadOut(BaseModel):
    """How far an upload is."""

    id: str
    state: str
    part_bytes: int
    files: list[UploadFileOut]

    @classmethod
    def of(cls, parts: Parts, row: UploadRow) -> "UploadOut":
        """Return what the API says of an upload."""
        missing = missing_parts(parts, row)
        return cls(
            id=row.id,
            state=row.state,
            part_bytes=parts.settings.part_bytes,
            files=[
                UploadFileOut(
                    name=file.name,
                    size_bytes=file.size_bytes,
                    sha256=file.sha256,
                    parts=part_count(parts, file.size_bytes),
                    missing=missing[file.name],
                )
                for file in row.files
            ],
        )


class WithdrawnOut(BaseModel):
    """Who withdrew a release, the publisher or the operator, when and why."""

    by: str
    at: str
    reason: str

    @classmethod
    def of(cls, row: WithdrawalRow) -> "WithdrawnOut":
        """Return what the API says of a withdrawal."""
        at = rfc3339(row.withdrawn_at)
        return cls(by=row.withdrawn_by, at=at, reason=row.reason)


class ReleaseOut(BaseModel):
    """A release: its files, and what is signed about them."""

    name: str
    published_at: str
    files: list[FileEntry]
    envelope: Dsse
    provenance: Dsse | None
    pending: bool = False
    withdrawn: WithdrawnOut | None = None

    @classmethod
    def waiting(cls, name: ReleaseName, body: ReleaseIn) -> "ReleaseOut":
        """Return what the API says of a release that lacks a co-signature."""
        return cls(
            name=str(name),
            published_at="",
            files=[],
            envelope=body.envelope,
            provenance=body.provenance,
            pending=True,
        )

    @classmethod
    def of(
        cls, row: ReleaseRow, withdrawal: WithdrawalRow | None = None
    ) -> "ReleaseOut":
        """Return what the API says of a release, and of its withdrawal."""
        return cls(
            name=f"{row.publisher}/{row.model}@{row.version}",
            published_at=rfc3339(row.published_at),
            files=list(manifest_of(row.upload).files),
            envelope=row.envelope,
            provenance=row.provenance,
            withdrawn=None if withdrawal is None else WithdrawnOut.of(withdrawal),
        )


class PendingOut(BaseModel):
    """A change that waits for signatures: its kind, and the request as it was sent."""

    kind: str
    name: str
    request: dict[str, Any]


class SignedOut(BaseModel):
    """A change that one more key has signed, and whether it still waits."""

    kind: str
    name: str
    pending: bool


class ModelOut(BaseModel):
    """A model, its publisher's key and every release."""

    name: str
    publisher_keyid: str
    releases: list[ReleaseOut]


class ModelItemOut(BaseModel):
    """A model in a list: its versions, and which of these are withdrawn."""

    name: str
    versions: list[str]
    withdrawn: list[str]


class ModelsOut(BaseModel):
    """Every model."""

    items: list[ModelItemOut]


class JobOut(BaseModel):
    """A job as it stands; its claimed evaluation is a claim and no more."""

    id: str
    kind: str
    trainer: str
    spec: dict[str, Any]
    spec_digest: str
    state: str
    attempts: int
    created_at: str
    started_at: str | None
    finished_at: str | None
    error: str | None
    claimed_evaluation: dict[str, Any] | None
    measured_evaluation: dict[str, Any] | None
    waiting_because: str | None

    @classmethod
    def of(cls, parts: Parts, row: JobRow) -> "JobOut":
        """Return what the API says of a job."""
        return cls.of_all(parts, [row])[0]

    @classmethod
    def of_all(cls, parts: Parts, rows: Sequence[JobRow]) -> list["JobOut"]:
        """Return what the API says of several jobs, in their order."""
        reasons = waiting_because(parts, rows)
        return [cls._of(row, reasons.get(row.id)) for row in rows]

    @classmethod
    def _of(cls, row: JobRow, reason: str | None) -> "JobOut":
        started, finished = row.started_at, row.finished_at
        return cls(
            id=row.id,
            kind=row.kind,
            trainer=row.trainer,
            spec=row.spec,
            spec_digest=row.spec_digest,
            state=row.state,
            attempts=row.attempts,
            created_at=rfc3339(row.created_at),
            started_at=None if started is None else rfc3339(started),
            finished_at=None if finished is None else rfc3339(finished),
            error=row.error,
            claimed_evaluation=row.claimed_evaluation,
            measured_evaluation=row.measured_evaluation,
            waiting_because=reason,
        )


class JobsOut(BaseModel):
    """Several jobs, the newest first."""

    items: list[JobOut]


class DraftOut(BaseModel):
    """What a job made, as its trainer signed it."""

    files: list[FileEntry]
    provenance: Dsse

    @classmethod
    def of(cls, row: DraftRow) -> "DraftOut":
        """Return what the API says of a draft."""
        files = list(manifest_of(row.upload).files)
        return cls(files=files, provenance=row.provenance)


class LeaseOut(BaseModel):
    """A job that a worker now holds."""

    attempt: str
    number: int
    job: str
    kind: str
    spec: dict[str, Any]
    lease_seconds: int


class HeartbeatOut(BaseModel):
    """Whether somebody wants the job cancelled."""

    cancel: bool


class AliveOut(BaseModel):
    """The process answers."""

    status: str


class LoopOut(BaseModel):
    """How one thing goes that is done again and again; ``error`` is a type's name."""

    failures: int
    succeeded_at: str | None
    error: str | None


class ReadyOut(BaseModel):
    """Whether what the service needs is there."""

    database: bool
    storage: bool
    fresh: bool
    expiring: list[str]
    loops: dict[str, LoopOut]
