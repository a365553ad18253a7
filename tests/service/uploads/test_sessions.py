import base64
import hashlib
import io
import pickle  # noqa: TID251  the attacker's tool, to make what must be refused
import struct
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.service.zoo import (
    JSON,
    PART_BYTES,
    Zoo,
    assert_problem,
    entries,
    open_zoo,
    signed,
    weights,
)

FILES = {"model.safetensors": weights(), "card.json": JSON}


def digest_field(data: bytes) -> str:
    return f"sha-256=:{base64.b64encode(hashlib.sha256(data).digest()).decode()}:"


def stored(zoo: Zoo) -> list[Path]:
    """Return every file the service keeps, but for its database, keys and lock."""
    folder = zoo.app.state.context.settings.data_dir
    return [
        path
        for sub in ("blobs", "uploads")
        for path in (folder / sub).rglob("*")
        if path.is_file()
    ]


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"x": 1}))
    return buffer.getvalue()


def ending_in_a_zip() -> bytes:
    """Return valid safetensors whose one tensor is an archive."""
    tail = zipped()
    header = b'{"w":{"dtype":"U8","shape":[%d],"data_offsets":[0,%d]}}'
    header %= (len(tail), len(tail))
    header += b" " * (-len(header) % 8)
    return struct.pack("<Q", len(header)) + header + tail


def test_an_upload_tells_which_parts_are_missing_until_none_is(zoo: Zoo) -> None:
    response = zoo.declare(FILES)
    upload = response.json()

    assert response.status_code == 201
    assert response.headers["location"] == f"/api/v1/uploads/{upload['id']}"
    assert (upload["state"], upload["part_bytes"]) == ("open", PART_BYTES)
    weights_file = upload["files"][1]
    assert (weights_file["parts"], weights_file["missing"]) == (3, [0, 1, 2])
    part = FILES["model.safetensors"][PART_BYTES : 2 * PART_BYTES]
    assert zoo.send_part(upload["id"], "model.safetensors", 1, part).status_code == 204

    shown = zoo.get(f"/uploads/{upload['id']}").json()
    assert shown["files"][1]["missing"] == [0, 2]
    zoo.send_parts(shown, FILES)
    done = zoo.post(f"/uploads/{upload['id']}/complete").json()
    assert done["state"] == "complete"
    assert all(file["missing"] == [] for file in done["files"])
    assert zoo.post(f"/uploads/{upload['id']}/complete").json() == done


def test_an_interrupted_upload_goes_on_where_it_stopped(zoo: Zoo) -> None:
    upload = zoo.declare(FILES).json()
    zoo.send_part(upload["id"], "card.json", 0, JSON)

    response = zoo.post(f"/uploads/{upload['id']}/complete")

    problem = assert_problem(response, 422, "LengthMismatchError")
    assert "model.safetensors" in problem["detail"]
    zoo.send_parts(zoo.get(f"/uploads/{upload['id']}").json(), FILES)
    assert zoo.post(f"/uploads/{upload['id']}/complete").status_code == 200


@pytest.mark.parametrize("wrong", [b"", b"x" * 63, b"x" * 65], ids=len)
def test_a_part_of_the_wrong_length_is_refused(zoo: Zoo, wrong: bytes) -> None:
    upload = zoo.declare(FILES).json()

    response = zoo.send_part(upload["id"], "model.safetensors", 0, wrong)

    if len(wrong) > PART_BYTES:
        assert_problem(response, 413, "InvalidSpecError")
    else:
        assert_problem(response, 422, "LengthMismatchError")
    assert stored(zoo) == []


def test_a_last_part_that_is_too_long_is_refused(zoo: Zoo) -> None:
    upload = zoo.declare(FILES).json()

    response = zoo.send_part(upload["id"], "card.json", 0, JSON + b" ")

    assert_problem(response, 422, "LengthMismatchError")
    assert stored(zoo) == []


def test_a_part_is_checked_against_its_content_digest(zoo: Zoo) -> None:
    upload = zoo.declare(FILES).json()
    wrong = {"Content-Digest": digest_field(b"other")}
    right = {"Content-Digest": digest_field(JSON)}

    response = zoo.send_part(upload["id"], "card.json", 0, JSON, **wrong)
    assert_problem(response, 422, "DigestMismatchError")
    assert stored(zoo) == []
    response = zoo.send_part(upload["id"], "card.json", 0, JSON, **right)
    assert response.status_code == 204


def test_parts_that_were_not_declared_are_not_found(zoo: Zoo) -> None:
    upload = zoo.declare(FILES).json()["id"]
    for name, number in (("card.json", 1), ("card.json", -1), ("other.json", 0)):
        response = zoo.send_part(upload, name, number, JSON)
        assert_problem(response, 404, "NotFoundError")
    response = zoo.send_part("0" * 32, "card.json", 0, JSON)
    assert_problem(response, 404, "NotFoundError")


def test_files_that_are_not_what_was_declared_are_never_seen(zoo: Zoo) -> None:
    upload = zoo.declare(FILES).json()
    wrong = {"model.safetensors": weights(fill=1), "card.json": JSON}
    zoo.send_parts(upload, wrong)

    response = zoo.post(f"/uploads/{upload['id']}/complete")

    problem = assert_problem(response, 422, "DigestMismatchError")
    assert "model.safetensors" in problem["detail"]
    assert zoo.get(f"/uploads/{upload['id']}").json()["state"] == "open"
    for data in (*FILES.values(), *wrong.values()):
        digest = hashlib.sha256(data).hexdigest()
        assert_problem(zoo.get(f"/blobs/{digest}"), 404, "NotFoundError")
    response = zoo.publish("alice/x@1", upload["id"], signed("alice/x@1", FILES))
    assert_problem(response, 409, "ConflictError")


def test_completing_many_times_at_once_completes_once(zoo: Zoo) -> None:
    upload = zoo.declare(FILES).json()
    zoo.send_parts(upload, FILES)

    with ThreadPoolExecutor(6) as pool:
        path = f"/uploads/{upload['id']}/complete"
        answers = list(pool.map(lambda _: zoo.post(path), range(6)))

    assert [answer.status_code for answer in answers] == [200] * 6
    assert {answer.json()["state"] for answer in answers} == {"complete"}


def test_a_wrong_part_can_be_sent_again(zoo: Zoo) -> None:
    upload = zoo.declare(FILES).json()
    zoo.send_parts(upload, FILES | {"card.json": b" " * len(JSON)})
    assert zoo.post(f"/uploads/{upload['id']}/complete").status_code == 422

    zoo.send_part(upload["id"], "card.json", 0, JSON)

    assert zoo.post(f"/uploads/{upload['id']}/complete").status_code == 200


@pytest.mark.parametrize(
    ("name", "data"),
    [
        pytest.param("m.safetensors", pickle.dumps({"x": 1}), id="pickle"),
        pytest.param("m.safetensors", pickle.dumps([1], protocol=0), id="old pickle"),
        pytest.param("m.safetensors", zipped(), id="zip"),
        pytest.param("m.safetensors", ending_in_a_zip(), id="zip at the end"),
        pytest.param("m.safetensors", b"\x00" * 7, id="too short"),
        pytest.param("m.safetensors", b"\xff" * 7 + b"\x10{}", id="2^60 header"),
        pytest.param("m.json", pickle.dumps({"x": 1}), id="pickle as JSON"),
        pytest.param("m.json", pickle.dumps(1, protocol=0), id="old pickle as JSON"),
        pytest.param("m.json", zipped(), id="zip as JSON"),
        pytest.param("m.json", b'{"a": 1, "a": 2}', id="two readings"),
        pytest.param("m.json", b'{"a": NaN}', id="NaN"),
        pytest.param("m.pt", weights(), id="another name"),
        pytest.param("safetensors", weights(), id="no suffix"),
    ],
)
def test_only_safetensors_and_json_are_admitted(
    zoo: Zoo, name: str, data: bytes
) -> None:
    upload = zoo.declare({name: data}).json()
    zoo.send_parts(upload, {name: data})

    response = zoo.post(f"/uploads/{upload['id']}/complete")

    assert_problem(response, 422, "UnsafeFormatError")
    assert list(zoo.app.state.context.blobs.digests()) == []


def test_json_that_is_longer_than_anyone_reads_is_refused(tmp_path: Path) -> None:
    data = b'{"a": "%s"}' % (b"x" * 1024 * 1024)
    with open_zoo(tmp_path, part_bytes=2 * len(data)) as zoo:
        upload = zoo.declare({"card.json": data}).json()
        zoo.send_parts(upload, {"card.json": data})

        response = zoo.post(f"/uploads/{upload['id']}/complete")

    assert_problem(response, 422, "UnsafeFormatError")


def test_a_known_blob_is_judged_again_under_its_new_name(zoo: Zoo) -> None:
    zoo.published("alice/x@1", {"card.json": JSON})

    upload = zoo.declare({"m.safetensors": JSON}).json()

    assert upload["files"][0]["missing"] == []
    response = zoo.post(f"/uploads/{upload['id']}/complete")
    assert_problem(response, 422, "UnsafeFormatError")


def test_a_blob_that_nobody_published_is_not_given_away_by_its_digest(
    zoo: Zoo,
) -> None:
    zoo.upload({"card.json": JSON})

    upload = zoo.declare({"card.json": JSON}).json()

    assert upload["files"][0]["missing"] == [0]


@pytest.mark.parametrize(
    "name",
    ["../x.json", "/etc/x.json", "a/b.json", "x\x00.json", ".json", "X.json", "é.json"],
)
def test_a_file_name_that_is_no_path_segment_is_refused(zoo: Zoo, name: str) -> None:
    entry = entries({"x.json": JSON})[0] | {"name": name}

    response = zoo.post("/uploads", {"files": [entry]})

    assert_problem(response, 400, "InvalidSpecError")
    assert list(zoo.app.state.context.uploads_folder.iterdir()) == []


@pytest.mark.parametrize(
    "files",
    [
        pytest.param([], id="none"),
        pytest.param(entries({"x.json": JSON}) * 2, id="a name twice"),
        pytest.param([{"name": "x.json"}], id="no digest"),
        pytest.param(
            [{"name": "x.json", "size_bytes": -1, "sha256": "0" * 64}], id="negative"
        ),
        pytest.param(
            [{"name": "x.json", "size_bytes": 2**41, "sha256": "0" * 64}], id="huge"
        ),
        pytest.param(
            [{"name": "x.json", "size_bytes": 1, "sha256": "0" * 63}], id="no sha256"
        ),
    ],
)
def test_files_that_make_no_sense_are_refused(zoo: Zoo, files: object) -> None:
    response = zoo.post("/uploads", {"files": files})
    assert_problem(response, 400, "InvalidSpecError")


def test_more_bytes_than_the_service_takes_are_refused(zoo: Zoo) -> None:
    digest = "0" * 64
    files = [
        {"name": f"x{n}.json", "size_bytes": 2**40, "sha256": digest} for n in range(2)
    ]
    response = zoo.post("/uploads", {"files": files})
    assert_problem(response, 400, "InvalidSpecError")


def test_a_complete_upload_takes_no_more_parts(zoo: Zoo) -> None:
    upload = zoo.upload(FILES)

    response = zoo.send_part(upload, "card.json", 0, JSON)

    assert_problem(response, 409, "ConflictError")


def test_an_upload_is_deleted_with_everything_that_arrived(zoo: Zoo) -> None:
    upload = zoo.declare(FILES).json()["id"]
    zoo.send_part(upload, "card.json", 0, JSON)

    assert zoo.ask("DELETE", f"/uploads/{upload}").status_code == 204

    assert stored(zoo) == []
    assert_problem(zoo.get(f"/uploads/{upload}"), 404, "NotFoundError")
    again = zoo.ask("DELETE", f"/uploads/{upload}")
    assert_problem(again, 404, "NotFoundError")


def test_an_upload_that_a_release_consists_of_is_not_deleted(zoo: Zoo) -> None:
    upload = zoo.upload(FILES)
    zoo.publish("alice/x@1", upload, signed("alice/x@1", FILES))

    response = zoo.ask("DELETE", f"/uploads/{upload}")

    assert_problem(response, 409, "ConflictError")
