from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.service.zoo import (
    ALICE,
    BUILDER,
    JSON,
    MALLORY,
    Zoo,
    assert_problem,
    built,
    release_path,
    signed,
    weights,
)

NAME = "alice/digits@1"
NO_ROLES: dict[str, dict[str, object]] = {"alice": {}}
FILES = {"model.safetensors": weights(), "card.json": JSON}


def test_a_release_is_published_listed_shown_and_downloaded(zoo: Zoo) -> None:
    release = zoo.published(NAME, FILES)

    assert release["name"] == NAME
    assert release["published_at"] == "2026-11-22T13:00:00Z"
    assert [file["name"] for file in release["files"]] == sorted(FILES)
    assert zoo.get("/models").json() == {
        "items": [{"name": "alice/digits", "versions": ["1"], "withdrawn": []}]
    }
    model = zoo.get("/models/alice/digits").json()
    assert model["publisher_keyid"] == ALICE.public.keyid
    assert model["releases"] == [release]
    assert zoo.get(release_path(NAME)).json() == release
    for name, data in FILES.items():
        assert zoo.get(f"{release_path(NAME)}/files/{name}").content == data


def test_publishing_the_same_statement_again_answers_with_the_release(zoo: Zoo) -> None:
    upload = zoo.upload(FILES)
    first = zoo.publish(NAME, upload, signed(NAME, FILES))
    again = zoo.publish(NAME, upload, signed(NAME, FILES))

    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json() == again.json()
    assert first.headers["location"] == f"/api/v1{release_path(NAME)}"


def test_a_version_never_changes_its_content(zoo: Zoo) -> None:
    zoo.published(NAME, FILES)
    other = {"model.safetensors": weights(fill=7)}

    response = zoo.publish(NAME, zoo.upload(other), signed(NAME, other))

    assert_problem(response, 409, "ConflictError")
    shown = zoo.get(f"{release_path(NAME)}/files/model.safetensors")
    assert shown.content == FILES["model.safetensors"]


def test_only_the_publishers_own_key_may_publish(zoo: Zoo) -> None:
    response = zoo.publish(NAME, zoo.upload(FILES), signed(NAME, FILES, MALLORY))

    assert_problem(response, 403, "NotPermittedError")
    assert_problem(zoo.get(release_path(NAME)), 404, "NotFoundError")


def test_a_publisher_whom_nobody_bound_may_not_publish(zoo: Zoo) -> None:
    name = "stranger/digits@1"
    response = zoo.publish(name, zoo.upload(FILES), signed(name, FILES), roles=NO_ROLES)

    assert_problem(response, 403, "NotPermittedError")


def test_an_envelope_without_signatures_publishes_nothing(zoo: Zoo) -> None:
    envelope = signed(NAME, FILES) | {"signatures": []}

    response = zoo.publish(NAME, zoo.upload(FILES), envelope)

    assert_problem(response, 403, "NotPermittedError")


def test_a_statement_about_another_release_is_refused(zoo: Zoo) -> None:
    response = zoo.publish(NAME, zoo.upload(FILES), signed("alice/digits@2", FILES))

    assert_problem(response, 422, "WrongReleaseError")


def test_a_statement_about_other_files_is_refused(zoo: Zoo) -> None:
    other = {"model.safetensors": weights(fill=7)}

    response = zoo.publish(NAME, zoo.upload(other), signed(NAME, FILES))

    assert_problem(response, 422, "MalformedDocumentError")


@pytest.mark.parametrize(
    "envelope",
    [
        pytest.param({}, id="nothing"),
        pytest.param({"payload": "!", "payloadType": "x", "signatures": []}, id="junk"),
    ],
)
def test_what_is_no_envelope_is_refused(zoo: Zoo, envelope: dict[str, object]) -> None:
    response = zoo.publish(NAME, zoo.upload(FILES), envelope, roles=NO_ROLES)

    assert_problem(response, 422, "MalformedDocumentError")


def test_an_upload_that_is_open_or_unknown_cannot_be_published(zoo: Zoo) -> None:
    opened = zoo.declare(FILES).json()["id"]

    response = zoo.publish(NAME, opened, signed(NAME, FILES))
    assert_problem(response, 409, "ConflictError")
    response = zoo.publish(NAME, "0" * 32, signed(NAME, FILES))
    assert_problem(response, 404, "NotFoundError")


def test_provenance_by_a_trainer_is_kept_and_shown(zoo: Zoo) -> None:
    provenance = built(FILES, {})

    response = zoo.publish(NAME, zoo.upload(FILES), signed(NAME, FILES), provenance)

    assert response.status_code == 201
    assert zoo.get(release_path(NAME)).json()["provenance"] == provenance


def test_provenance_by_a_stranger_is_refused(zoo: Zoo) -> None:
    provenance = built(FILES, {}, key=MALLORY)

    response = zoo.publish(NAME, zoo.upload(FILES), signed(NAME, FILES), provenance)

    assert_problem(response, 422, "ThresholdNotMetError")


def test_provenance_of_other_files_is_refused(zoo: Zoo) -> None:
    provenance = built({"model.safetensors": weights(fill=7)}, {}, key=BUILDER)

    response = zoo.publish(NAME, zoo.upload(FILES), signed(NAME, FILES), provenance)

    assert_problem(response, 422, "ProvenanceMismatchError")


def test_a_file_that_changed_on_the_services_disk_is_not_published(zoo: Zoo) -> None:
    upload = zoo.upload(FILES)
    blobs = zoo.app.state.context.blobs
    digest = next(sha256 for sha256 in blobs.digests())
    path = blobs.path(digest)
    path.write_bytes(b"x" + path.read_bytes()[1:])

    response = zoo.publish(NAME, upload, signed(NAME, FILES))

    assert_problem(response, 500, "LocalError")
    assert zoo.get(release_path(NAME)).status_code == 404


def test_a_blob_that_was_damaged_on_disk_is_sent_anew_and_heals(zoo: Zoo) -> None:
    zoo.publish(NAME, zoo.upload(FILES), signed(NAME, FILES))
    blobs = zoo.app.state.context.blobs
    good = {digest: blobs.path(digest).read_bytes() for digest in blobs.digests()}
    for digest, data in good.items():
        blobs.path(digest).write_bytes(b"x" + data[1:])
    for _ in FILES:
        upload = zoo.declare(FILES).json()
        zoo.send_parts(upload, FILES)
        refused = zoo.post(f"/uploads/{upload['id']}/complete")
        assert_problem(refused, 500, "LocalError")

    second = "alice/digits@2"
    healed = zoo.publish(second, zoo.upload(FILES), signed(second, FILES))

    assert healed.status_code == 201
    assert {it: blobs.path(it).read_bytes() for it in blobs.digests()} == good


def test_of_two_uploads_of_one_version_at_once_exactly_one_wins(zoo: Zoo) -> None:
    rivals = [{"model.safetensors": weights(fill=fill)} for fill in range(6)]
    uploads = [zoo.upload(files) for files in rivals]

    with ThreadPoolExecutor(len(rivals)) as pool:
        answers = list(
            pool.map(
                lambda pair: zoo.publish(NAME, pair[0], signed(NAME, pair[1])),
                zip(uploads, rivals, strict=True),
            )
        )

    codes = sorted(answer.status_code for answer in answers)
    assert codes == [201, 409, 409, 409, 409, 409]
    winner = next(answer for answer in answers if answer.status_code == 201)
    assert zoo.get(release_path(NAME)).json() == winner.json()
