"""What the service answers, as its clients read it: checked, fields of later kept out.

A server may be lying: nothing here is believed about a model until
``model_zoo.statements.verification`` has seen the signatures. Whether an answer
bears the name or the id that was asked for is checked at once.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import ConfigDict, Field, model_validator

from model_zoo.canonical import JsonObject
from model_zoo.documents import Document
from model_zoo.errors import InvalidSpecError, MalformedDocumentError, WrongReleaseError
from model_zoo.names import ModelName, ReleaseName
from model_zoo.statements.dsse import Envelope
from model_zoo.statements.jobs import Digest
from model_zoo.statements.manifest import MAX_FILES, FileEntry

MAX_PART_BYTES = 64 * 1024 * 1024
"""A part is held in memory; a server may not ask for more than this at once."""
MAX_PARTS = 1 << 20
MAX_QUOTED_CHARACTERS = 200

JobId = Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
FinalState = Literal["succeeded", "failed", "cancelled"]
JobState = Literal["queued", "running"] | FinalState
FINAL_STATES: frozenset[str] = frozenset(get_args(FinalState))
"""The states in which a job stays, which are also the types of its last event."""


def escaped(text: str) -> str:
    """Return a server's ``text`` as it may stand in a message: short, on one line."""
    return ascii(text[:MAX_QUOTED_CHARACTERS])


class Answer(Document):
    """One JSON answer; a newer server may say more than is read here."""

    model_config = ConfigDict(extra="ignore")

    @classmethod
    def read(cls, value: JsonObject | None) -> Self:
        """Return the answer that ``value`` spells.

        Raises:
            MalformedDocumentError: it does not; nothing of it can be used.
        """
        try:
            return cls.from_object(value)
        except ValueError as error:
            msg = f"the server's answer is no {cls.__name__}: {error}"
            raise MalformedDocumentError(msg) from error


class Withdrawn(Answer):
    """Who withdrew a release, when and why, as the service tells it."""

    by: str
    at: str
    reason: str


class PublishedRelease(Answer):
    """A release as the service tells it: two envelopes that prove it, or do not."""

    name: str
    published_at: str = ""
    files: Annotated[tuple[FileEntry, ...], Field(max_length=MAX_FILES)] = ()
    withdrawn: Withdrawn | None = None
    envelope: dict[str, Any]
    provenance: dict[str, Any] | None = None
    pending: bool = False

    def require_name(self, name: ReleaseName) -> Self:
        """Return the answer if it is about the release that was asked for.

        Raises:
            WrongReleaseError: it is about another one, or none.
        """
        if self.name != str(name):
            raise WrongReleaseError.of(expected=str(name), found=escaped(self.name))
        return self

    def envelopes(self) -> tuple[Envelope, Envelope | None]:
        """Return release statement and provenance, each still to be verified.

        Raises:
            MalformedDocumentError: not DSSE.
        """
        return Envelope.from_object(self.envelope), (
            None if self.provenance is None else Envelope.from_object(self.provenance)
        )


class Accepted(Answer):
    """Which role versions are current since a change; none new where it waits."""

    versions: dict[str, int]
    pending: bool = False


class WaitingChange(Answer):
    """A change that waits for co-signatures: its kind, and the request that made it."""

    kind: Literal["release", "yank", "renewal"]
    name: str
    request: dict[str, Any]


class PendingRoles(Answer):
    """What every such request has: the roles that the signatures are to be over."""

    roles: Annotated[dict[str, dict[str, Any]], Field(min_length=1, max_length=64)]


class PendingRelease(PendingRoles):
    """The request to publish: two envelopes, still to be verified."""

    envelope: dict[str, Any]
    provenance: dict[str, Any] | None = None

    def envelopes(self) -> tuple[Envelope, Envelope | None]:
        """Return release statement and provenance, each still to be verified.

        Raises:
            MalformedDocumentError: not DSSE.
        """
        return Envelope.from_object(self.envelope), (
            None if self.provenance is None else Envelope.from_object(self.provenance)
        )


class PendingYank(PendingRoles):
    """The request to withdraw: the notice, still to be verified."""

    notice: dict[str, Any]


class Signed(Answer):
    """A change that one more key has signed, and whether it still waits."""

    pending: bool


class FileReleases(Answer):
    """Releases that hold a file, and those made from it: hints, to be verified."""

    releases: Annotated[tuple[str, ...], Field(max_length=256)]
    children: Annotated[tuple[str, ...], Field(max_length=256)]


class ModelListing(Answer):
    """One model, the versions of it that the service lists, and the withdrawn ones."""

    name: str
    versions: tuple[str, ...]
    withdrawn: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        """Refuse what is no name of a release: people copy it from a list."""
        try:
            model = ModelName.parse(self.name)
            for version in self.versions:
                ReleaseName(model.publisher, model.model, version)
        except InvalidSpecError as error:
            raise ValueError(str(error)) from error
        return self


class Models(Answer):
    """The list of models."""

    items: tuple[ModelListing, ...]


class ModelReleases(Answer):
    """A model's releases, and the key its publisher's name is bound to.

    The key is what the service says; pin the one that the publisher says.
    """

    name: str
    publisher_keyid: Digest
    releases: tuple[PublishedRelease, ...]

    def require_model(self, model: ModelName) -> Self:
        """Return the answer if it is about the model that was asked for.

        Raises:
            WrongReleaseError: it, or a release in it, is of another one, or of none.
        """
        if self.name != str(model):
            raise WrongReleaseError.of(expected=str(model), found=escaped(self.name))
        for release in self.releases:
            try:
                found = ReleaseName.parse(release.name)
            except InvalidSpecError as error:
                msg = f"{model}: the server lists what is no release: {error}"
                raise MalformedDocumentError(msg) from error
            if found.model_name != model:
                raise WrongReleaseError.of(expected=f"{model}@...", found=str(found))
        return self


class BoundKey(Answer):
    """A publisher or trainer and the key the operator bound to the name."""

    name: str
    keyid: Digest
    public_key: str


class UploadFile(Answer):
    """One declared file and which of its parts have not arrived."""

    name: str
    parts: Annotated[int, Field(ge=0, le=MAX_PARTS)]
    missing: tuple[Annotated[int, Field(ge=0, lt=MAX_PARTS)], ...]


class Upload(Answer):
    """An upload under way: its id, part size and what is still missing."""

    id: JobId
    state: Literal["open", "complete"]
    part_bytes: Annotated[int, Field(ge=1, le=MAX_PART_BYTES)]
    files: Annotated[tuple[UploadFile, ...], Field(max_length=MAX_FILES)]


class Job(Answer):
    """A job as the service tells it."""

    id: JobId
    kind: str
    trainer: str
    spec: dict[str, Any]
    state: JobState
    attempts: int = 0
    error: str | None = None
    claimed_evaluation: dict[str, Any] | None = None
    measured_evaluation: dict[str, Any] | None = None
    waiting_because: str | None = None

    @property
    def is_final(self) -> bool:
        """Whether the job will not change any more."""
        return self.state in FINAL_STATES


def require_job(answer: Job, asked: Mapping[str, Any]) -> Job:
    """Return ``answer`` if its fields are those that were asked for.

    Raises:
        MalformedDocumentError: it is about another job.
    """
    found = answer.to_object()
    for field, value in asked.items():
        if found[field] != value:
            msg = (
                f"the server answers with another job: {field} {value!a} was expected, "
                f"{escaped(str(found[field]))} found"
            )
            raise MalformedDocumentError(msg)
    return answer


class Jobs(Answer):
    """A list of jobs."""

    items: tuple[Job, ...]


class Draft(Answer):
    """What a job made: files, and the builder's provenance, still to be verified."""

    files: Annotated[tuple[FileEntry, ...], Field(min_length=1, max_length=MAX_FILES)]
    provenance: dict[str, Any]


class Lease(Answer):
    """One attempt at one job, this worker's until the lease runs out."""

    attempt: JobId
    number: int
    job: JobId
    kind: str
    spec: dict[str, Any]
    lease_seconds: Annotated[float, Field(gt=0)]


class Heartbeat(Answer):
    """Whether the job's owner asked for it to stop."""

    cancel: bool
