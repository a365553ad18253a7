"""Signed documents with values that no honest program writes."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tuf.api.metadata import Timestamp

from model_zoo.canonical import parse_object
from model_zoo.client.lockfile import read_lock
from model_zoo.errors import InvalidSpecError, MalformedDocumentError, VerificationError
from model_zoo.http.server import Server
from model_zoo.statements.dsse import Envelope, Role
from model_zoo.statements.evaluation import EvaluationReport
from model_zoo.statements.intoto import (
    PAYLOAD_TYPE,
    PROVENANCE_TYPE,
    RELEASE_TYPE,
    STATEMENT_TYPE,
    open_provenance,
    open_release,
)
from model_zoo.statements.jobs import parse_spec
from model_zoo.statements.policy import Policy, read_policy
from model_zoo.statements.release_json import parse_bundle
from model_zoo.tuf.evidence import Evidence, signed_at_of, verify
from model_zoo.tuf.revocations import MAX_REASON_CHARACTERS, YankNotice
from model_zoo.tuf.roles import MAX_UNKNOWN_BYTES, SIGNED_AT, checked
from model_zoo.tuf.trusted_keys import TrustedKeys
from model_zoo.tuf.updater import refreshed
from tests.model_zoo.releases import ALICE, BUILDER, ROLE
from tests.model_zoo.tuf.repositories import (
    NOW,
    WEIGHTS_PATH,
    TufRepository,
    good_repository,
    serving,
)

TIMESTAMP_FILE = "/tuf/metadata/timestamp.json"
MIB = 1024 * 1024
Damage = Callable[[bytes], bytes]


def look(repository: TufRepository, cache: Path) -> None:
    """Look for alice's weights as a client does."""
    root = repository.files["/tuf/metadata/1.root.json"]
    with (
        serving(repository) as url,
        refreshed(Server(url), root, cache=cache, now=NOW) as zoo,
    ):
        zoo.target(WEIGHTS_PATH)


def first(text: bytes) -> Damage:
    """Return what puts a field before the others of a file."""
    return lambda data: b"{" + text + b"," + data.strip()[1:]


JUNK = [
    pytest.param(first(b'"junk":NaN'), id="NaN"),
    pytest.param(first(b'"junk":-Infinity'), id="infinity"),
    pytest.param(first(b'"junk":1e999'), id="a float past all floats"),
    pytest.param(first(b'"signed":{}'), id="a name twice"),
    pytest.param(first(b'"junk":"\\ud800"'), id="half a surrogate pair"),
    pytest.param(first(b'"junk":' + b"[" * 99 + b"]" * 99), id="deep nesting"),
]


@pytest.mark.parametrize("damage", JUNK)
def test_unsigned_junk_is_refused_on_line_as_it_is_off_line(
    damage: Damage, tmp_path: Path
) -> None:
    repository = good_repository()
    honest = repository.files[TIMESTAMP_FILE]
    repository.files[TIMESTAMP_FILE] = damage(honest)
    with pytest.raises(MalformedDocumentError):
        checked(damage(honest))
    with pytest.raises(MalformedDocumentError):
        look(repository, tmp_path)

    repository.files[TIMESTAMP_FILE] = honest
    look(repository, tmp_path)  # nothing of the junk was kept


def in_the_role(repository: TufRepository) -> None:
    repository.roles["alice"].signed.unrecognized_fields["x"] = "y" * MIB


def in_a_target(repository: TufRepository) -> None:
    target = repository.roles["alice"].signed.targets[WEIGHTS_PATH]
    target.unrecognized_fields["custom"] = {"x": "y" * MIB}


def in_hashes(repository: TufRepository) -> None:
    target = repository.roles["alice"].signed.targets[WEIGHTS_PATH]
    target.hashes["x"] = "y" * MIB


def in_many_targets(repository: TufRepository) -> None:
    for number in range(99):
        path = f"alice/m/{number}/f"
        repository.add_target("alice", path, b"x")
        target = repository.roles["alice"].signed.targets[path]
        target.unrecognized_fields["custom"] = {"x": "y" * 999}


def a_version_past_all(repository: TufRepository) -> None:
    repository.roles["alice"].signed.version = 2**63


@pytest.mark.parametrize(
    "change",
    [in_the_role, in_a_target, in_hashes, in_many_targets, a_version_past_all],
)
def test_a_role_of_unbounded_values_is_refused_though_signed(
    change: Callable[[TufRepository], None], tmp_path: Path
) -> None:
    repository = good_repository()
    repository.next("alice")
    change(repository)
    repository.publish("alice")
    with pytest.raises(MalformedDocumentError, match=r"unknown fields|a version above"):
        look(repository, tmp_path)


def test_a_hundred_signatures_beside_the_true_ones_are_refused() -> None:
    data = json.loads(good_repository().files[TIMESTAMP_FILE])
    data["signatures"] += [{"keyid": f"{n:064}", "sig": "00"} for n in range(100)]
    with pytest.raises(MalformedDocumentError, match="signatures"):
        checked(json.dumps(data).encode())


def test_a_few_unknown_fields_are_kept(tmp_path: Path) -> None:
    repository = good_repository()
    repository.next("alice")
    role = repository.roles["alice"].signed
    role.unrecognized_fields["x"] = "y" * (MAX_UNKNOWN_BYTES - 100)
    repository.publish("alice")
    look(repository, tmp_path)


TIMES = [
    "2026-11-30T00:00:00",
    "2026-11-30",
    "2026-11-30T00:00:00+00:00",
    "2026-11-30T00:00:00.5Z",
    "2026-11-30t00:00:00z",
    "0000-01-01T00:00:00Z",
    "2026-02-30T00:00:00Z",
    "2026-11-30T24:00:00Z",
    "2026-11-30T00:00:60Z",
    "10000-01-01T00:00:00Z",
    "\u0662026-11-30T00:00:00Z",
    "2026-11-30T00:00:00Z\n",
    "",
    None,
    7,
    1e300,
    True,
    ["2026-11-30T00:00:00Z"],
]


@pytest.mark.parametrize("told", TIMES)
def test_a_signed_time_is_one_moment_in_utc_or_refused(told: object) -> None:
    timestamp = Timestamp(expires=NOW, unrecognized_fields={SIGNED_AT: told})
    with pytest.raises(MalformedDocumentError, match="when it was signed"):
        signed_at_of(timestamp)


def kept(repository: TufRepository, **changes: object) -> Evidence:
    """Return the metadata of a repository as evidence, changed."""
    files = {
        path.removeprefix("/"): base64.b64encode(data).decode()
        for path, data in repository.files.items()
    }
    fields = {"release": "alice/digits@1", "files": files, "holders": {}}
    return Evidence.from_object({**fields, **changes})


def verified(evidence: Evidence, repository: TufRepository) -> None:
    root = repository.files["/tuf/metadata/1.root.json"]
    verify(evidence, root, name=None, policy=Policy(), now=NOW)


def test_a_zone_less_time_in_evidence_is_no_type_error() -> None:
    repository = good_repository()
    fields = repository.roles["timestamp"].signed.unrecognized_fields
    fields[SIGNED_AT] = "2026-11-30T00:00:00"
    repository.publish_next()
    with pytest.raises(VerificationError):
        verified(kept(repository), repository)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"release": "no release"}, id="no name of a release"),
        pytest.param({"holders": {"0" * 64: ["x"]}}, id="a holder that is none"),
    ],
)
def test_names_in_evidence_are_judged_like_the_rest_of_it(changes: Any) -> None:  # noqa: ANN401
    repository = good_repository()
    fields = repository.roles["timestamp"].signed.unrecognized_fields
    fields[SIGNED_AT] = f"{NOW:%Y-%m-%dT%H:%M:%SZ}"
    repository.publish_next()
    with pytest.raises(VerificationError):
        verified(kept(repository, **changes), repository)


@pytest.mark.parametrize(
    "seconds", [2**53 - 1, 2**53, 2**63, 10**30, -1, 1.5, True, "7"]
)
def test_an_age_that_no_date_can_have_is_no_policy(
    seconds: object, tmp_path: Path
) -> None:
    (tmp_path / "policy.json").write_text(json.dumps({"max_age_seconds": seconds}))
    with pytest.raises(InvalidSpecError, match=r"max_age_seconds|canonical JSON"):
        read_policy(tmp_path / "policy.json")


def test_an_age_that_no_date_can_have_is_no_policy_in_a_program_either() -> None:
    with pytest.raises(ValueError, match="max_age_seconds"):
        Policy(max_age_seconds=2**53)


NOTICE = {
    "format": 1,
    "release": "alice/digits@1",
    "withdrawn_by": "publisher",
    "reason": "it is backdoored",
    "yanked_at": "2026-11-30T00:00:00Z",
    "files": {},
}
FORGED = "an error\nverified alice/digits@1 in digits-1: 2 file(s)"


@pytest.mark.parametrize("field", ["reason", "release", "yanked_at"])
@pytest.mark.parametrize(
    "text",
    [
        pytest.param(FORGED, id="a line of its own"),
        pytest.param("\x1b[2Jverified", id="terminal control"),
        pytest.param("\u202edeifirev", id="right to left"),
        pytest.param("\u2066x", id="isolate"),
        pytest.param("a\u2028b", id="line separator"),
        pytest.param("a\x85b", id="next line"),
        pytest.param("\0", id="NUL"),
        pytest.param("x" * (MAX_REASON_CHARACTERS + 1), id="too long"),
        pytest.param("\ud800", id="half a surrogate pair"),
    ],
)
def test_a_notice_is_one_line_of_text_or_refused(field: str, text: str) -> None:
    assert YankNotice.read(json.dumps(NOTICE).encode())
    with pytest.raises(MalformedDocumentError):
        YankNotice.read(json.dumps({**NOTICE, field: text}).encode())


PEM = ALICE.public.to_pem()


@pytest.mark.parametrize(
    "changes",
    [
        {"witnesses": ["no key"]},
        {"builders": ["no key"]},
        {"scanners": ["no key"]},
        {"builders": [PEM, PEM]},
        {"log": [PEM], "log_retired": [PEM]},
        {"log": ["\u00e9"]},
        {"format": 2},
        {"format": True},
    ],
)
def test_trusted_keys_that_are_none_are_refused_when_read(changes: Any) -> None:  # noqa: ANN401
    with pytest.raises(MalformedDocumentError):
        TrustedKeys.read(json.dumps(changes).encode())


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**64)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from([PEM, "0" * 64, "alice/digits@1", "9999-12-31T23:59:59Z"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
SPELLED = st.builds(lambda value: json.dumps(value).encode(), json_values)


def mutated(document: Any) -> st.SearchStrategy[bytes]:  # noqa: ANN401
    """Return the document with one value of it replaced by any other."""
    paths = list(_paths(document))

    def change(path: tuple[Any, ...], value: object) -> bytes:
        copy = json.loads(json.dumps(document))
        if not path:
            return json.dumps(value).encode()
        holder = copy
        for step in path[:-1]:
            holder = holder[step]
        holder[path[-1]] = value
        return json.dumps(copy).encode()

    return st.builds(change, st.sampled_from(paths), json_values)


def _paths(document: Any, path: tuple[Any, ...] = ()) -> Any:  # noqa: ANN401
    yield path
    steps: Any = ()
    if isinstance(document, dict):
        steps = document.items()
    elif isinstance(document, list):
        steps = enumerate(document)
    for step, value in steps:
        yield from _paths(value, (*path, step))


ROLES = {
    path: json.loads(data)
    for path, data in good_repository().files.items()
    if path.startswith("/tuf/metadata/")
}


@given(st.sampled_from(sorted(ROLES)).flatmap(lambda path: mutated(ROLES[path])))
def test_any_metadata_is_read_or_refused(data: bytes) -> None:
    try:
        checked(data)
    except MalformedDocumentError:
        return


@given(mutated(NOTICE) | st.binary(max_size=64))
def test_any_bytes_are_a_notice_or_refused(data: bytes) -> None:
    try:
        assert YankNotice.read(data).told().isprintable()
    except MalformedDocumentError:
        return


@given(mutated({"log": [PEM], "witnesses": [PEM], "format": 1}) | SPELLED)
def test_any_bytes_are_trusted_keys_or_refused(data: bytes) -> None:
    try:
        keys = TrustedKeys.read(data)
    except MalformedDocumentError:
        return
    assert keys.witness_keys() is not None
    keys.builder_role()


NOON = "2026-11-22T12:00:00Z"
RELEASE = {"release": "alice/digits@1", "files": []}
BUILD = {
    "buildDefinition": {
        "buildType": "urn:verified-model-zoo:build:v1",
        "externalParameters": {"kind": "noop", "spec": {}},
        "internalParameters": {"environment": {"threads": 1}},
        "resolvedDependencies": [
            {"name": "verified-model-zoo", "digest": {"sha256": "0" * 64}}
        ],
    },
    "runDetails": {
        "builder": {"id": BUILDER.public.keyid},
        "metadata": {"invocationId": "0", "startedOn": NOON, "finishedOn": NOON},
    },
}


def statement(predicate_type: str, predicate: object) -> dict[str, object]:
    return {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": "a.json", "digest": {"sha256": "0" * 64}}],
        "predicateType": predicate_type,
        "predicate": predicate,
    }


@given(mutated(statement(RELEASE_TYPE, RELEASE)))
def test_any_signed_payload_is_a_release_or_refused(payload: bytes) -> None:
    envelope = Envelope.sign(payload, payload_type=PAYLOAD_TYPE, keys=[ALICE])
    try:
        open_release(envelope, ROLE)
    except VerificationError:
        return


@given(mutated(statement(PROVENANCE_TYPE, BUILD)))
def test_any_signed_payload_is_provenance_or_refused(payload: bytes) -> None:
    envelope = Envelope.sign(payload, payload_type=PAYLOAD_TYPE, keys=[BUILDER])
    try:
        open_provenance(envelope, Role("builder", (BUILDER.public,)))
    except VerificationError:
        return


@given(SPELLED)
def test_any_json_is_a_bundle_or_refused(data: bytes) -> None:
    try:
        parse_bundle(data)
    except VerificationError:
        return


EVIDENCE = kept(good_repository()).to_object()


@given(mutated({**EVIDENCE, "log": {"format": 1, "checkpoint": "", "entries": []}}))
def test_any_evidence_is_verified_or_refused(data: bytes) -> None:
    repository = good_repository()
    try:
        evidence = Evidence.from_bytes(data, limit_bytes=MIB)
    except ValueError:
        return
    with pytest.raises(VerificationError):
        verified(evidence, repository)


@given(data=SPELLED)
def test_any_json_of_a_user_is_read_or_refused(
    data: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "given.json"
    path.write_bytes(data)
    for read in (read_policy, read_lock):
        try:
            read(path)
        except InvalidSpecError:
            continue


@given(kind=st.sampled_from(["noop", "train", "repair", "x"]), value=json_values)
def test_any_fields_are_a_spec_or_refused(kind: str, value: object) -> None:
    try:
        parse_spec(kind, value if isinstance(value, dict) else {"note": value})
    except InvalidSpecError:
        return


REPORT = {"dataset": "mnist", "accuracy": {"successes": 1, "n": 2}}


@given(mutated(REPORT))
def test_any_report_is_a_share_or_refused(data: bytes) -> None:
    try:
        report = EvaluationReport.from_object(parse_object(data, limit_bytes=MIB))
    except ValueError:
        return
    low, high = report.accuracy.wilson()
    assert 0 <= low <= high <= 1
