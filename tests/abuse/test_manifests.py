"""Manifests and folders that try to reach beyond the folder they are pulled into."""

import os
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from model_zoo.canonical import JsonObject, canonical_json
from model_zoo.client.zoo import ZooClient
from model_zoo.digests import sha256_bytes
from model_zoo.errors import (
    DigestMismatchError,
    InvalidSpecError,
    LengthMismatchError,
    MalformedDocumentError,
    UnsafeFormatError,
)
from model_zoo.statements.dsse import Envelope
from model_zoo.statements.folder import BUNDLE_NAME, manifest_of
from model_zoo.statements.intoto import PAYLOAD_TYPE, RELEASE_TYPE, STATEMENT_TYPE
from model_zoo.statements.manifest import FileEntry, Manifest
from model_zoo.statements.verification import verify_directory, verify_files
from tests.model_zoo.releases import (
    ALICE,
    NAME,
    POLICY,
    weights,
    write_files,
    write_release,
)
from tests.model_zoo.servers import answering, respond

Damage = Callable[[Path], None]

EVIL_NAMES = [
    pytest.param("../x", id="parent folder"),
    pytest.param("/etc/passwd", id="absolute path"),
    pytest.param("..", id="dots"),
    pytest.param(".", id="dot"),
    pytest.param("", id="empty"),
    pytest.param("a/b", id="two segments"),
    pytest.param("a\\b", id="backslash"),
    pytest.param("a\x00b", id="NUL"),
    pytest.param("mode\u0301l.json", id="non-NFC Unicode"),
    pytest.param("mod\u00e9l.json", id="NFC Unicode"),
    pytest.param("model.json\n", id="line end"),
    pytest.param("Model.json", id="upper case"),
    pytest.param(".hidden", id="hidden"),
    pytest.param("C:model", id="drive"),
    pytest.param("\u202egnp.json", id="right to left"),
    pytest.param("a" * 65, id="too long"),
]


def entry(name: str, data: bytes = b"{}") -> JsonObject:
    return {"name": name, "size_bytes": len(data), "sha256": sha256_bytes(data)}


def signed(files: list[JsonObject]) -> Envelope:
    """Return a statement that alice really signed, about any files at all."""
    statement = {
        "_type": STATEMENT_TYPE,
        "subject": [
            {"name": file["name"], "digest": {"sha256": file["sha256"]}}
            for file in files
        ],
        "predicateType": RELEASE_TYPE,
        "predicate": {"release": str(NAME), "files": files},
    }
    payload = canonical_json(statement)
    return Envelope.sign(payload, payload_type=PAYLOAD_TYPE, keys=[ALICE])


def pull_served(envelope: Envelope, to: Path, *, body: bytes = b"{}") -> None:
    """Pull from a server that serves ``envelope``, and ``body`` for every file."""
    release = canonical_json({"name": str(NAME), "envelope": envelope.to_object()})

    def answer(request: BaseHTTPRequestHandler) -> None:
        respond(request, body if "/files/" in request.path else release)

    with answering(answer) as url, ZooClient(url) as zoo:
        zoo.pull(NAME, policy=POLICY, to=to)


@pytest.mark.parametrize("name", EVIL_NAMES)
def test_a_manifest_never_names_it(name: str) -> None:
    with pytest.raises(ValueError, match="file name"):
        FileEntry.from_object(entry(name))


@pytest.mark.parametrize("name", EVIL_NAMES)
def test_even_signed_by_the_right_key_it_is_refused_and_nothing_is_written(
    name: str, tmp_path: Path
) -> None:
    with pytest.raises(MalformedDocumentError, match="release statement"):
        pull_served(signed([entry("a.json"), entry(name)]), tmp_path / "in" / "to")
    assert not list(tmp_path.iterdir())


def test_a_duplicate_is_refused(tmp_path: Path) -> None:
    files = [entry("a.json"), entry("a.json", b"[]")]
    with pytest.raises(ValueError, match=r"listed twice: a\.json"):
        Manifest.from_object({"files": files})
    with pytest.raises(MalformedDocumentError):
        pull_served(signed(files), tmp_path / "to")
    assert not list(tmp_path.iterdir())


def test_a_release_may_not_hold_the_name_of_its_own_signatures(tmp_path: Path) -> None:
    with pytest.raises(MalformedDocumentError, match=BUNDLE_NAME):
        pull_served(signed([entry(BUNDLE_NAME)]), tmp_path / "to")
    assert not list(tmp_path.iterdir())
    with pytest.raises(InvalidSpecError, match=BUNDLE_NAME):
        manifest_of(write_release(tmp_path / "pulled"))


@pytest.mark.parametrize(
    ("name", "data"),
    [
        pytest.param("model.safetensors", b"\x80\x04K\x01.", id="pickle as weights"),
        pytest.param("model.safetensors", b"PK\x03\x04" + bytes(99), id="zip"),
        pytest.param("config.json", b"\x80\x04K\x01.", id="pickle as JSON"),
        pytest.param("model.pt", weights(), id="another name"),
    ],
)
def test_what_can_run_code_is_refused_though_signed_and_leaves_nothing(
    name: str, data: bytes, tmp_path: Path
) -> None:
    with pytest.raises(UnsafeFormatError):
        pull_served(signed([entry(name, data)]), tmp_path / "to", body=data)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("served", "refusal"),
    [
        pytest.param(b'{"a":1}', DigestMismatchError, id="other bytes"),
        pytest.param(b'{"a": 1}', LengthMismatchError, id="longer"),
    ],
)
def test_a_pull_that_fails_at_its_last_file_leaves_no_folder(
    served: bytes, refusal: type[Exception], tmp_path: Path
) -> None:
    files = [entry("a.json", served), entry("b.json", b'{"b":1}')]
    with pytest.raises(refusal, match=r"b\.json"):
        pull_served(signed(files), tmp_path / "to", body=served)
    assert not list(tmp_path.iterdir())


def _add(folder: Path) -> None:
    (folder / "extra.json").write_text("{}")


def _add_folder(folder: Path) -> None:
    (folder / "extra").mkdir()


def _remove(folder: Path) -> None:
    (folder / "config.json").unlink()


def _link(folder: Path) -> None:
    """Put a link to the very same bytes in the file's place."""
    outside = folder.parent / "outside.json"
    (folder / "config.json").rename(outside)
    (folder / "config.json").symlink_to(outside)


def _pipe(folder: Path) -> None:
    (folder / "config.json").unlink()
    os.mkfifo(folder / "config.json")


def _lengthen(folder: Path) -> None:
    with (folder / "model.safetensors").open("ab") as file:
        file.write(b"\0")


def _flip(folder: Path) -> None:
    data = bytearray((folder / "model.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "model.safetensors").write_bytes(data)


@pytest.mark.parametrize(
    ("damage", "refusal", "told"),
    [
        (_add, MalformedDocumentError, r"extra\.json' is not part"),
        (_add_folder, MalformedDocumentError, "extra' is not part"),
        (_remove, MalformedDocumentError, r"config\.json' is missing"),
        (_link, MalformedDocumentError, r"config\.json is not a plain file"),
        (_pipe, MalformedDocumentError, r"config\.json is not a plain file"),
        (_lengthen, LengthMismatchError, r"model\.safetensors"),
        (_flip, DigestMismatchError, r"model\.safetensors"),
    ],
)
def test_a_damaged_folder_is_refused_by_name(
    damage: Damage, refusal: type[Exception], told: str, tmp_path: Path
) -> None:
    folder = write_release(tmp_path / "digits")
    verify_directory(folder, name=NAME, policy=POLICY)
    damage(folder)
    with pytest.raises(refusal, match=told):
        verify_directory(folder, name=NAME, policy=POLICY)


def test_signatures_behind_a_link_are_not_read(tmp_path: Path) -> None:
    folder = write_release(tmp_path / "digits")
    (folder / BUNDLE_NAME).rename(tmp_path / "elsewhere.json")
    (folder / BUNDLE_NAME).symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(MalformedDocumentError, match=BUNDLE_NAME):
        verify_directory(folder, name=NAME, policy=POLICY)


@pytest.mark.parametrize("damage", [_link, _pipe, _add_folder])
def test_what_is_no_plain_file_is_never_hashed_into_a_manifest(
    damage: Damage, tmp_path: Path
) -> None:
    folder = write_files(tmp_path / "digits")
    damage(folder)
    with pytest.raises(InvalidSpecError, match="not a plain file"):
        manifest_of(folder)


def test_a_folder_of_too_many_files_is_not_read_to_its_end(tmp_path: Path) -> None:
    for number in range(300):
        (tmp_path / f"{number}.json").touch()
    with pytest.raises(InvalidSpecError, match="more than 256 files"):
        manifest_of(tmp_path)
    with pytest.raises(InvalidSpecError, match="more than 256 files"):
        verify_files(Manifest(files=(FileEntry(**entry("a.json")),)), tmp_path)
