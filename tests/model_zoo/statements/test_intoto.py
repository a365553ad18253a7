import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_zoo.canonical import JsonObject
from model_zoo.errors import MalformedDocumentError
from model_zoo.keys.ed25519 import SigningKey
from model_zoo.statements.dsse import Envelope, Role
from model_zoo.statements.evaluation import EvaluationReport, Proportion
from model_zoo.statements.folder import manifest_of
from model_zoo.statements.intoto import (
    CODE,
    MEASURED,
    PAYLOAD_TYPE,
    ReleaseStatement,
    open_provenance,
    open_release,
    sign_provenance,
    sign_release,
)
from model_zoo.statements.jobs import NoopSpec, TrainSpec
from model_zoo.statements.manifest import FileEntry, Manifest
from tests.model_zoo.releases import (
    ALICE,
    BOB,
    BUILDER,
    NAME,
    ROLE,
    SPEC,
    provenance_of,
    write_files,
)

GOOD: JsonObject = {
    "name": MEASURED,
    "annotations": {"dataset": "mnist", "accuracy": {"successes": 1, "n": 2}},
}
Change = Callable[[JsonObject], None]
BUILDERS = Role("builder", (BUILDER.public,))


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return manifest_of(write_files(tmp_path / "files"))


def resigned(
    envelope: Envelope, change: Change, *, key: SigningKey = ALICE
) -> Envelope:
    """Return ``envelope`` with its statement changed and signed again."""
    statement = json.loads(envelope.unverified_payload)
    change(statement)
    payload = json.dumps(statement).encode()
    return Envelope.sign(payload, payload_type=PAYLOAD_TYPE, keys=[key])


def test_a_release_signed_and_opened_is_the_same_release(manifest: Manifest) -> None:
    statement = ReleaseStatement(NAME, manifest)
    assert open_release(sign_release(statement, ALICE, BOB), ROLE) == statement


def test_what_is_signed_is_an_in_toto_statement(manifest: Manifest) -> None:
    envelope = sign_release(ReleaseStatement(NAME, manifest), ALICE)
    statement = json.loads(envelope.unverified_payload)
    assert envelope.payload_type == "application/vnd.in-toto+json"
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    assert statement["subject"] == [
        {"name": file.name, "digest": {"sha256": file.sha256}}
        for file in manifest.files
    ]


def test_a_provenance_signed_and_opened_is_the_same_provenance(
    manifest: Manifest,
) -> None:
    provenance = open_provenance(provenance_of(manifest), BUILDERS)
    assert provenance.is_of(SPEC)
    assert sign_provenance(provenance, BUILDER) == provenance_of(manifest)


def test_a_measurement_is_signed_with_its_provenance(manifest: Manifest) -> None:
    report = EvaluationReport(
        dataset="mnist", accuracy=Proportion(successes=1, n=2), attack_success=None
    )
    plain = open_provenance(provenance_of(manifest), BUILDERS)
    measured = plain.model_copy(update={"measured": report})
    assert open_provenance(sign_provenance(measured, BUILDER), BUILDERS) == measured


def test_provenance_from_before_measurements_were_signed_is_read(
    manifest: Manifest,
) -> None:
    envelope = provenance_of(manifest)
    assert b"byproducts" not in envelope.unverified_payload
    assert open_provenance(envelope, BUILDERS).measured is None


@pytest.mark.parametrize("name", ["mnist", CODE])
def test_an_input_that_is_named_twice_is_none(manifest: Manifest, name: str) -> None:
    def change(statement: JsonObject) -> None:
        definition = statement["predicate"]["buildDefinition"]
        inputs = definition["resolvedDependencies"]
        inputs[:0] = [{"name": name, "digest": {"sha256": ZEROS}}] * 2

    envelope = resigned(provenance_of(manifest), change, key=BUILDER)
    with pytest.raises(MalformedDocumentError, match="named twice"):
        open_provenance(envelope, BUILDERS)


@pytest.mark.parametrize(
    "byproducts",
    [
        pytest.param(5, id="no list"),
        pytest.param([5], id="no object"),
        pytest.param([{}], id="no name"),
        pytest.param([{"name": MEASURED}], id="no annotations"),
        pytest.param([{"name": MEASURED, "annotations": {"accuracy": 1}}], id="none"),
        pytest.param([GOOD, GOOD], id="twice"),
    ],
)
def test_a_measurement_that_is_none_is_refused(
    manifest: Manifest, byproducts: object
) -> None:
    def change(statement: JsonObject) -> None:
        statement["predicate"]["runDetails"]["byproducts"] = byproducts

    envelope = resigned(provenance_of(manifest), change, key=BUILDER)
    with pytest.raises(MalformedDocumentError):
        open_provenance(envelope, BUILDERS)


def test_a_provenance_is_of_its_spec_to_the_last_field_and_kind(
    manifest: Manifest,
) -> None:
    provenance = open_provenance(provenance_of(manifest, spec=TrainSpec()), BUILDERS)
    assert provenance.is_of(TrainSpec())
    assert not provenance.is_of(TrainSpec(seed=1))
    assert not provenance.is_of(NoopSpec())


def test_nobody_signs_in_another_builder_s_name(manifest: Manifest) -> None:
    provenance = open_provenance(provenance_of(manifest), BUILDERS)
    with pytest.raises(ValueError, match="names another builder"):
        sign_provenance(provenance, ALICE)
    with pytest.raises(MalformedDocumentError, match="names another builder"):
        open_provenance(
            resigned(provenance_of(manifest), lambda _: None, key=ALICE), ROLE
        )


def _set(*path: str | int, value: object) -> Change:
    def change(statement: JsonObject) -> None:
        node: Any = statement
        for step in path[:-1]:
            node = node[step]
        node[path[-1]] = value

    return change


ZEROS = "0" * 64


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("_type",), "https://in-toto.io/Statement/v0.1"),
        (("predicateType",), "urn:verified-model-zoo:release:v2"),
        (("subject",), []),
        (("subject", 0, "digest"), {"md5": "0"}),
        (("subject", 0, "digest", "sha256"), ZEROS),
        (("subject", 0, "name"), "model.safetensors"),
        (("predicate",), {}),
        (("predicate", "release"), "alice/digits"),
        (("predicate", "files"), []),
        (("predicate", "files", 0, "sha256"), ZEROS),
        (("predicate", "files", 0, "name"), "../config.json"),
    ],
)
def test_a_signed_statement_that_contradicts_itself_is_refused(
    path: tuple[str | int, ...], value: object, manifest: Manifest
) -> None:
    envelope = sign_release(ReleaseStatement(NAME, manifest), ALICE)
    with pytest.raises(MalformedDocumentError):
        open_release(resigned(envelope, _set(*path, value=value)), ROLE)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("predicate", "buildDefinition", "buildType"), "urn:other"),
        (("predicate", "buildDefinition", "externalParameters"), {}),
        (("predicate", "buildDefinition", "resolvedDependencies"), [{}]),
        (("predicate", "buildDefinition", "resolvedDependencies"), 7),
        (("predicate", "runDetails"), None),
        (("predicate", "runDetails", "builder", "id"), ZEROS),
        (("predicate", "runDetails", "metadata", "startedOn"), 7),
        (("predicate", "buildDefinition"), "text"),
    ],
)
def test_a_signed_provenance_that_is_none_is_refused(
    path: tuple[str | int, ...], value: object, manifest: Manifest
) -> None:
    change = _set(*path, value=value)
    envelope = resigned(provenance_of(manifest), change, key=BUILDER)
    with pytest.raises(MalformedDocumentError):
        open_provenance(envelope, BUILDERS)


RUN, DEFINITION = ("predicate", "runDetails"), ("predicate", "buildDefinition")
TWO_LINES = "1\nverified alice/digits@1"


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ((*RUN, "metadata", "invocationId"), TWO_LINES),
        ((*RUN, "metadata", "startedOn"), TWO_LINES),
        ((*RUN, "metadata", "startedOn"), "2026-11-22T13:00:00"),
        ((*RUN, "metadata", "finishedOn"), "today"),
        ((*DEFINITION, "externalParameters", "kind"), TWO_LINES),
        ((*DEFINITION, "internalParameters", "environment"), {TWO_LINES: 1}),
        ((*DEFINITION, "internalParameters", "environment"), {"python": TWO_LINES}),
        ((*DEFINITION, "resolvedDependencies", 0, "name"), TWO_LINES),
        (("subject", 0, "name"), TWO_LINES),
    ],
)
def test_a_builder_signs_lines_and_times_that_are_shown_as_they_are(
    path: tuple[str | int, ...], value: object, manifest: Manifest
) -> None:
    envelope = provenance_of(manifest, spec=SPEC)
    envelope = resigned(envelope, _input_first, key=BUILDER)
    open_provenance(envelope, BUILDERS)
    with pytest.raises(MalformedDocumentError):
        open_provenance(
            resigned(envelope, _set(*path, value=value), key=BUILDER), BUILDERS
        )


def _input_first(statement: JsonObject) -> None:
    data = {"name": "mnist", "digest": {"sha256": ZEROS}}
    statement["predicate"]["buildDefinition"]["resolvedDependencies"].insert(0, data)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(0, 9) | st.text(max_size=3),
        lambda inner: (
            st.lists(inner, max_size=2)
            | st.dictionaries(
                st.sampled_from(
                    [
                        "buildDefinition",
                        "runDetails",
                        "buildType",
                        "externalParameters",
                        "internalParameters",
                        "resolvedDependencies",
                        "builder",
                        "metadata",
                        "digest",
                    ]
                ),
                inner,
            )
        ),
    )
)
def test_any_signed_predicate_is_a_provenance_or_a_told_refusal(value: object) -> None:
    file = FileEntry(name="a.json", size_bytes=0, sha256=ZEROS)
    envelope = provenance_of(Manifest(files=(file,)))
    changed = resigned(envelope, _set("predicate", value=value), key=BUILDER)
    with pytest.raises(MalformedDocumentError):
        open_provenance(changed, BUILDERS)
