"""Folders, formats, bundles and uploads: what each refuses and names."""

from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from model_zoo.canonical import canonical_json
from model_zoo.cli.options import read_spec
from model_zoo.client.pull import staging_beside
from model_zoo.errors import (
    ConflictError,
    InvalidSpecError,
    LocalError,
    MalformedDocumentError,
    TransportError,
    UnsafeFormatError,
)
from model_zoo.formats.check import check_format
from model_zoo.http.server import Server
from model_zoo.http.transport import Transport
from model_zoo.http.uploads import MAX_SENDS, upload_folder
from model_zoo.statements.dsse import Envelope
from model_zoo.statements.folder import manifest_of
from model_zoo.statements.jobs import TrainSpec
from model_zoo.statements.release_json import read_bundle, write_bundle
from tests.model_zoo.releases import write_files
from tests.model_zoo.servers import answering, respond

UPLOAD = "0" * 32


def test_an_empty_folder_makes_no_release(tmp_path: Path) -> None:
    with pytest.raises(InvalidSpecError, match="1 to 256 files"):
        manifest_of(tmp_path)


def test_a_staged_folder_appears_at_once_or_not_at_all(tmp_path: Path) -> None:
    with staging_beside(tmp_path / "deep" / "to") as staging:
        (staging / "file").touch()
        assert not (tmp_path / "deep" / "to").exists()
    assert (tmp_path / "deep" / "to" / "file").exists()
    with pytest.raises(KeyboardInterrupt), staging_beside(tmp_path / "no"):
        raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["deep"]


def test_a_folder_that_somebody_else_filled_meanwhile_is_theirs(tmp_path: Path) -> None:
    to = tmp_path / "to"
    with pytest.raises(ConflictError, match="meanwhile"), staging_beside(to):
        write_files(to)
    assert [path.name for path in tmp_path.iterdir()] == ["to"]
    assert (to / "config.json").exists()


def test_a_folder_that_cannot_be_made_is_a_local_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        pytest.raises(LocalError, match="cannot make folder"),
        staging_beside(tmp_path / "file" / "to"),
    ):
        pass


def test_a_bundle_that_cannot_be_written_is_a_local_error(tmp_path: Path) -> None:
    envelope = Envelope("text/plain", b"", ())
    with pytest.raises(LocalError, match="cannot write"):
        write_bundle(tmp_path / "none", envelope=envelope, provenance=None)
    write_bundle(tmp_path, envelope=envelope, provenance=envelope)
    assert read_bundle(tmp_path) == (envelope, envelope)


def test_a_file_that_is_gone_is_a_local_error_and_not_a_format(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="cannot read"):
        check_format(tmp_path / "config.json", name="config.json")


@pytest.mark.parametrize("text", ["[]", '{"a":1,"a":2}', '{"a":NaN}', "{", ""])
def test_what_is_not_one_strict_object_is_no_json(text: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(UnsafeFormatError, match=r"config\.json: expected one JSON"):
        check_format(path, name=path.name)


def upload_answer(*missing: int, name: str = "config.json") -> bytes:
    return canonical_json(
        {
            "id": UPLOAD,
            "state": "open",
            "part_bytes": 10,
            "files": [{"name": name, "parts": 3, "missing": list(missing)}],
        }
    )


def test_parts_that_are_lost_are_sent_again_and_the_others_are_not(
    tmp_path: Path,
) -> None:
    """The server loses part 1 once."""
    put = []

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.rfile.read(int(request.headers.get("Content-Length", 0)))
        if request.command == "PUT":
            put.append(request.path.rsplit("/", 1)[1])
            respond(request, b"", status=204)
        elif request.command == "POST":
            respond(request, upload_answer(0, 1, 2))
        else:
            respond(request, upload_answer(*([1] if len(put) < 4 else [])))

    folder = write_files(tmp_path / "files")
    with answering(answer) as url, Transport(Server(url)) as transport:
        assert upload_folder(transport, folder) == UPLOAD
    assert put == ["0", "1", "2", "1"]


def test_a_server_that_names_a_few_missing_parts_at_a_time_gets_all(
    tmp_path: Path,
) -> None:
    put: list[str] = []

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.rfile.read(int(request.headers.get("Content-Length", 0)))
        if request.command == "PUT":
            put.append(request.path.rsplit("/", 1)[1])
            respond(request, b"", status=204)
        else:
            left = range(len(put), 9)
            respond(request, upload_answer(*left[:2]))

    folder = write_files(tmp_path / "files")
    with answering(answer) as url, Transport(Server(url)) as transport:
        assert upload_folder(transport, folder) == UPLOAD
    assert put == [str(number) for number in range(9)]


def test_parts_that_never_arrive_are_given_up(tmp_path: Path) -> None:
    put = []

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.rfile.read(int(request.headers.get("Content-Length", 0)))
        if request.command == "PUT":
            put.append(request.path)
        respond(request, upload_answer(2))

    folder = write_files(tmp_path / "files")
    with (
        answering(answer) as url,
        Transport(Server(url)) as transport,
        pytest.raises(TransportError, match="part 2 does not arrive"),
    ):
        upload_folder(transport, folder)
    assert len(put) == MAX_SENDS


@pytest.mark.parametrize("name", ["../../etc/passwd", "secrets.json"])
def test_a_server_cannot_ask_for_a_file_that_was_not_declared(
    name: str, tmp_path: Path
) -> None:
    asked = []

    def answer(request: BaseHTTPRequestHandler) -> None:
        asked.append(request.command)
        request.rfile.read(int(request.headers.get("Content-Length", 0)))
        respond(request, upload_answer(0, name=name))

    folder = write_files(tmp_path / "files")
    with (
        answering(answer) as url,
        Transport(Server(url)) as transport,
        pytest.raises(MalformedDocumentError, match="not declared"),
    ):
        upload_folder(transport, folder)
    assert asked == ["POST"]


def test_a_spec_file_names_its_kind(tmp_path: Path) -> None:
    path = tmp_path / "spec.json"
    path.write_text('{"kind": "train", "seed": 7}')
    assert read_spec(path) == TrainSpec(seed=7)
    for text in ("{}", "[]", '{"kind": 1}', '{"kind": "train", "sed": 7}', ""):
        path.write_text(text)
        with pytest.raises(InvalidSpecError):
            read_spec(path)
