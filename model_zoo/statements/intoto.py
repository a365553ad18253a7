"""In-toto statements: signed claims about files, named by their digests.

A publisher's *release statement* says: these files are ``alice/digits@1``. A
builder's *provenance* says: these files came of this spec, data and environment.
Neither says that a model is harmless.

Source:
    in-toto Attestation Framework v1 (Statement, DSSE payload type);
    SLSA provenance v1 (predicate).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from model_zoo.canonical import JsonObject, canonical_json, parse_object
from model_zoo.clock import from_rfc3339
from model_zoo.documents import Document
from model_zoo.errors import (
    InvalidSpecError,
    MalformedDocumentError,
    ProvenanceMismatchError,
)
from model_zoo.keys.ed25519 import SigningKey
from model_zoo.names import ReleaseName
from model_zoo.statements.dsse import MAX_PAYLOAD_BYTES, Envelope, Role
from model_zoo.statements.evaluation import EvaluationReport
from model_zoo.statements.jobs import (
    ChildSpec,
    Digest,
    FineTuneSpec,
    JobSpec,
    MeasuredSpec,
    TrainSpec,
    data_of,
    kind_of,
)
from model_zoo.statements.manifest import FileEntry, Manifest
from model_zoo.text import OneLine

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PROVENANCE_TYPE = "https://slsa.dev/provenance/v1"
RELEASE_TYPE = "urn:verified-model-zoo:release:v1"
BUILD_TYPE = "urn:verified-model-zoo:build:v1"
CODE = "verified-model-zoo"
"""Among the resolved dependencies: the sources that did the work."""
MEASURED = "measured-evaluation"
"""Among the byproducts: what the builder's supervisor measured."""


def _time(text: str) -> str:
    from_rfc3339(text)
    return text


Time = Annotated[str, AfterValidator(_time)]


@dataclass(frozen=True, slots=True)
class ReleaseStatement:
    """These files, and no others, are this release."""

    release: ReleaseName
    manifest: Manifest


class Provenance(Document):
    """These files came of this spec, from these inputs, in this environment.

    ``inputs`` maps the name of a data set or parent to its SHA-256; ``code`` is the
    SHA-256 over the sources that followed the spec; ``environment`` holds what else
    decides the bits: library versions, processor, threads, device, precision. Every
    text of the builder's is one line, since it is shown to people.
    ``invocation`` names job and attempt; times are RFC 3339, UTC. ``measured`` is how
    the builder's supervisor found the model to behave, None where nobody measures and
    in what was signed before there was such a field.
    """

    subjects: Annotated[dict[OneLine, Digest], Field(min_length=1, max_length=256)]
    kind: OneLine
    spec: dict[str, Any]
    inputs: dict[OneLine, Digest]
    code: Digest
    environment: dict[OneLine, OneLine | int]
    builder: Digest
    invocation: OneLine
    measured: EvaluationReport | None = None
    started_at: Time
    finished_at: Time

    def is_of(self, spec: JobSpec) -> bool:
        """Whether the build claims to have followed ``spec``, to the last field."""
        return self.kind == kind_of(spec) and canonical_json(
            self.spec
        ) == canonical_json(spec.to_object())


def invocation_of(job: str, attempt: str) -> str:
    """Return how provenance names one attempt at one job."""
    return f"{job}/{attempt}"


def subjects_of(manifest: Manifest) -> dict[str, str]:
    """Return name -> SHA-256 of the manifest's files."""
    return {file.name: file.sha256 for file in manifest.files}


def sign_release(statement: ReleaseStatement, *keys: SigningKey) -> Envelope:
    """Return ``statement`` signed by each of ``keys``."""
    predicate = {
        "release": str(statement.release),
        "files": statement.manifest.to_object()["files"],
    }
    subjects = subjects_of(statement.manifest)
    return _sign(RELEASE_TYPE, subjects=subjects, predicate=predicate, keys=keys)


def open_release(envelope: Envelope, role: Role) -> ReleaseStatement:
    """Return the release statement, once enough keys of ``role`` vouch for it.

    Raises:
        ThresholdNotMetError: too few of them signed it.
        MalformedDocumentError: what they signed is no well-formed release statement.
    """
    payload = envelope.verified_payload(role, payload_type=PAYLOAD_TYPE)
    return _release(payload)


def vouched_release(envelope: Envelope) -> ReleaseStatement:
    """Return the release statement in an envelope whose bytes a TUF role vouches for.

    The role's signatures over the envelope's digest take the place of its own.

    Raises:
        MalformedDocumentError: it is no well-formed release statement.
    """
    return _release(envelope.unverified_payload)


def vouched_provenance(envelope: Envelope) -> Provenance:
    """Return the provenance in an envelope whose bytes a TUF role vouches for.

    The publisher says so; whether a builder does is ``open_provenance``'s question.

    Raises:
        MalformedDocumentError: it is no well-formed provenance of ours.
    """
    return _provenance_in(envelope.unverified_payload)


def _release(payload: bytes) -> ReleaseStatement:
    subjects, predicate = _parse(payload, predicate_type=RELEASE_TYPE)
    try:
        fields = _ReleasePredicate.from_object(predicate)
        release = ReleaseName.parse(fields.release)
        manifest = Manifest(files=fields.files)
    except (ValueError, InvalidSpecError) as error:
        msg = f"release statement: {error}"
        raise MalformedDocumentError(msg) from error
    if subjects != subjects_of(manifest):
        msg = "release statement: its subject and its files are not the same"
        raise MalformedDocumentError(msg)
    return ReleaseStatement(release, manifest)


def sign_provenance(provenance: Provenance, key: SigningKey) -> Envelope:
    """Return ``provenance`` as a SLSA statement signed with the builder's key.

    Raises:
        ValueError: the provenance names another builder than ``key``, or an input
            by the name that is kept for the code.
    """
    if provenance.builder != key.public.keyid:
        msg = "the provenance names another builder than the key that signs it"
        raise ValueError(msg)
    if CODE in provenance.inputs:
        msg = f"no input may be called {CODE}: that is the name of the sources"
        raise ValueError(msg)
    predicate: dict[str, Any] = {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": {"kind": provenance.kind, "spec": provenance.spec},
            "internalParameters": {"environment": provenance.environment},
            "resolvedDependencies": [
                {"name": name, "digest": {"sha256": sha256}}
                for name, sha256 in sorted(provenance.inputs.items())
            ]
            + [{"name": CODE, "digest": {"sha256": provenance.code}}],
        },
        "runDetails": {
            "builder": {"id": provenance.builder},
            "metadata": {
                "invocationId": provenance.invocation,
                "startedOn": provenance.started_at,
                "finishedOn": provenance.finished_at,
            },
        },
    }
    if provenance.measured is not None:
        predicate["runDetails"]["byproducts"] = [
            {"name": MEASURED, "annotations": provenance.measured.to_object()}
        ]
    subjects = provenance.subjects
    return _sign(PROVENANCE_TYPE, subjects=subjects, predicate=predicate, keys=[key])


def open_provenance(envelope: Envelope, role: Role) -> Provenance:
    """Return the provenance, once a builder of ``role`` vouches for it.

    Raises:
        ThresholdNotMetError: no key of the role signed it.
        MalformedDocumentError: what it signed is no well-formed provenance of ours,
            or names another builder than one of the role.
    """
    payload = envelope.verified_payload(role, payload_type=PAYLOAD_TYPE)
    provenance = _provenance_in(payload)
    if provenance.builder not in {key.keyid for key in role.keys}:
        msg = "provenance: it names another builder than the one that signed it"
        raise MalformedDocumentError(msg)
    return provenance


def require_plausible(provenance: Provenance, spec: JobSpec) -> None:
    """Accept a provenance only if a build of ``spec`` can have these fields.

    Its inputs are the data sets and the parent of ``spec``, and it carries a
    measurement, on that data set and with that attack, if such a model is measured.

    Raises:
        ProvenanceMismatchError: it is of something else.
    """
    wanted = {*data_of(spec), *(("parent",) if isinstance(spec, ChildSpec) else ())}
    parent = spec.parent if isinstance(spec, ChildSpec) else None
    if (
        provenance.inputs.keys() != wanted
        or provenance.inputs.get("parent", parent) != parent
    ):
        msg = "the provenance is of other inputs than those of the spec"
        raise ProvenanceMismatchError(msg)
    if not _is_measured_as(provenance.measured, spec):
        msg = "the provenance carries another measurement than one of this spec"
        raise ProvenanceMismatchError(msg)


def _is_measured_as(report: EvaluationReport | None, spec: JobSpec) -> bool:
    if report is None or not isinstance(spec, MeasuredSpec):
        return report is None and not isinstance(spec, MeasuredSpec)
    is_attacked = (
        isinstance(spec, TrainSpec | FineTuneSpec) and spec.poisoning is not None
    )
    shares = (report.attack_success, report.robust_accuracy)
    return report.dataset == spec.dataset and all(
        (share is not None) == is_attacked for share in shares
    )


class _ReleasePredicate(Document):
    model_config = ConfigDict(extra="ignore")

    release: Annotated[str, Field(max_length=256)]
    files: tuple[FileEntry, ...]


class _Statement(Document):
    model_config = ConfigDict(extra="ignore")

    statement_type: Annotated[str, Field(alias="_type")]
    subject: Annotated[list["_Subject"], Field(min_length=1, max_length=256)]
    predicate_type: Annotated[str, Field(alias="predicateType")]
    predicate: dict[str, Any]


class _Subject(BaseModel):
    model_config = ConfigDict(strict=True)

    name: str
    digest: dict[str, str]


def _sign(
    predicate_type: str,
    *,
    subjects: dict[str, str],
    predicate: JsonObject,
    keys: Iterable[SigningKey],
) -> Envelope:
    statement = {
        "_type": STATEMENT_TYPE,
        "subject": [
            {"name": name, "digest": {"sha256": sha256}}
            for name, sha256 in sorted(subjects.items())
        ],
        "predicateType": predicate_type,
        "predicate": predicate,
    }
    payload = canonical_json(statement)
    return Envelope.sign(payload, payload_type=PAYLOAD_TYPE, keys=keys)


def _provenance_in(payload: bytes) -> Provenance:
    subjects, predicate = _parse(payload, predicate_type=PROVENANCE_TYPE)
    try:
        return _provenance(subjects, predicate)
    except (KeyError, TypeError, ValueError) as error:
        msg = f"provenance: {error}"
        raise MalformedDocumentError(msg) from error


def _parse(payload: bytes, *, predicate_type: str) -> tuple[dict[str, str], JsonObject]:
    """Return subjects and predicate of a payload that somebody vouches for."""
    try:
        statement = _Statement.from_object(
            parse_object(payload, limit_bytes=MAX_PAYLOAD_BYTES)
        )
        subjects = {item.name: item.digest["sha256"] for item in statement.subject}
    except (KeyError, ValueError) as error:
        msg = f"not an in-toto statement: {error}"
        raise MalformedDocumentError(msg) from error
    found = (statement.statement_type, statement.predicate_type)
    if found != (STATEMENT_TYPE, predicate_type):
        msg = f"expected a statement of type {predicate_type}, found another"
        raise MalformedDocumentError(msg)
    if len(subjects) != len(statement.subject):
        msg = "not an in-toto statement: a subject is named twice"
        raise MalformedDocumentError(msg)
    return subjects, statement.predicate


def _provenance(subjects: dict[str, str], predicate: JsonObject) -> Provenance:
    definition, run = predicate["buildDefinition"], predicate["runDetails"]
    if definition["buildType"] != BUILD_TYPE:
        msg = "an unknown build type"
        raise ValueError(msg)
    inputs = {
        item["name"]: item["digest"]["sha256"]
        for item in definition["resolvedDependencies"]
    }
    if len(inputs) != len(definition["resolvedDependencies"]):
        msg = "an input is named twice"
        raise ValueError(msg)
    return Provenance(
        subjects=subjects,
        kind=definition["externalParameters"]["kind"],
        spec=definition["externalParameters"]["spec"],
        code=inputs.pop(CODE),
        inputs=inputs,
        environment=definition["internalParameters"]["environment"],
        builder=run["builder"]["id"],
        invocation=run["metadata"]["invocationId"],
        measured=_measured(run.get("byproducts", [])),
        started_at=run["metadata"]["startedOn"],
        finished_at=run["metadata"]["finishedOn"],
    )


def _measured(byproducts: list[dict[str, Any]]) -> EvaluationReport | None:
    """Return the one measurement among the byproducts, None where there is none."""
    found = [item for item in byproducts if item["name"] == MEASURED]
    if len(found) > 1:
        msg = f"{MEASURED} stands twice among the byproducts"
        raise ValueError(msg)
    return EvaluationReport.from_object(found[0]["annotations"]) if found else None
