"""Folders in which something stands where a file should: nothing of it is followed.

A pipe would be waited for, a device read without end, a link followed elsewhere.
"""

import json
import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from model_zoo.audit.lists import read_model_list
from model_zoo.client.lockfile import LOCK_NAME, Lock, read_lock, write_lock
from model_zoo.digests import is_sha256, sha256_bytes
from model_zoo.errors import LocalError, MalformedDocumentError, VerificationError
from model_zoo.files import open_plain, read_plain, write_beside
from model_zoo.formats.check import check_format
from model_zoo.formats.safetensors import check_header
from model_zoo.http.partials import open_partial
from model_zoo.statements.folder import BUNDLE_NAME, EVIDENCE_NAME
from model_zoo.statements.manifest import FileEntry
from model_zoo.statements.release_json import read_bundle, write_bundle
from model_zoo.statements.verification import read_verified
from model_zoo.transparency.memory import LogMemory
from model_zoo.transparency.tlog import Checkpoint
from model_zoo.transparency.witness import locked_state
from model_zoo.tuf.evidence import Evidence, read_evidence, write_evidence
from tests.model_zoo.client.test_lockfile import ENTRY
from tests.model_zoo.formats.test_onnx import model as onnx_model
from tests.model_zoo.releases import ALICE, weights, write_release

Plant = Callable[[Path], None]
SECRET = b"another file of the user's"
EVIDENCE = Evidence(release="alice/digits@1", files={}, holders={})


def link_to_device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def link_to_file(path: Path) -> None:
    (path.parent / "elsewhere").write_bytes(SECRET)
    path.symlink_to(path.parent / "elsewhere")


def link_to_nothing(path: Path) -> None:
    path.symlink_to(path.parent / "nowhere")


def pipe(path: Path) -> None:
    os.mkfifo(path)


def directory(path: Path) -> None:
    path.mkdir()


def unix_socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # the name of a socket has no room for a long folder
    try:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(path.name)
    finally:
        os.chdir(here)


PLANTS = [
    link_to_device,
    link_to_file,
    link_to_nothing,
    pipe,
    directory,
    unix_socket,
]
LINKS = [link_to_file, link_to_nothing]
CONFIG = b'{"network": "badnets-cnn"}'
FILE = FileEntry(
    name="config.json", size_bytes=len(CONFIG), sha256=sha256_bytes(CONFIG)
)
LOCK = Lock.from_object({"releases": [ENTRY]})
READERS: dict[str, Callable[[Path], object]] = {
    BUNDLE_NAME: read_bundle,
    EVIDENCE_NAME: read_evidence,
    "config.json": lambda folder: read_verified(FILE, folder),
    "model.safetensors": lambda folder: check_header(folder / "model.safetensors"),
    "model.onnx": lambda folder: check_format(folder / "model.onnx", name="model.onnx"),
    LOCK_NAME: lambda folder: read_lock(folder / LOCK_NAME),
    "log.note": lambda folder: LogMemory(folder / "log.note", (ALICE.public,)).last(),
}


@pytest.mark.parametrize("plant", PLANTS)
@pytest.mark.parametrize("name", READERS)
def test_what_is_no_plain_file_is_neither_read_nor_waited_for(
    name: str, plant: Plant, tmp_path: Path
) -> None:
    plant(tmp_path / name)
    with pytest.raises(VerificationError, match="not a plain file"):
        READERS[name](tmp_path)


GOOD: dict[str, Callable[[Path], object]] = {
    BUNDLE_NAME: lambda folder: write_bundle(
        folder, envelope=read_bundle(folder.parent / "made")[0], provenance=None
    ),
    EVIDENCE_NAME: lambda folder: write_evidence(folder, EVIDENCE),
    "config.json": lambda folder: (folder / "config.json").write_bytes(CONFIG),
    "model.safetensors": lambda folder: (folder / "model.safetensors").write_bytes(
        weights()
    ),
    "model.onnx": lambda folder: (folder / "model.onnx").write_bytes(onnx_model()),
    LOCK_NAME: lambda folder: write_lock(LOCK, folder / LOCK_NAME),
    "log.note": lambda folder: (folder / "log.note").write_bytes(
        Checkpoint("zoo.example/log", 1, bytes(32)).signed(ALICE).to_bytes()
    ),
}
"""Name -> writes a file of that name that its reader takes."""


@pytest.mark.parametrize("name", READERS)
def test_a_link_to_what_would_be_taken_is_not_followed(
    name: str, tmp_path: Path
) -> None:
    good, linked = tmp_path / "good", tmp_path / "linked"
    good.mkdir()
    linked.mkdir()
    write_release(tmp_path / "made")
    GOOD[name](good)
    READERS[name](good)

    (linked / name).symlink_to(good / name)
    with pytest.raises(VerificationError, match="not a plain file"):
        READERS[name](linked)


@pytest.mark.parametrize("plant", PLANTS)
def test_a_reader_of_plain_files_reads_nothing_else(
    plant: Plant, tmp_path: Path
) -> None:
    plant(tmp_path / "file")
    with pytest.raises(MalformedDocumentError, match="not a plain file"):
        open_plain(tmp_path / "file")
    with pytest.raises(MalformedDocumentError, match="not a plain file"):
        read_plain(tmp_path / "file", limit_bytes=8)


def test_a_sparse_file_without_an_end_is_read_to_the_bound(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(MalformedDocumentError, match="over 8 bytes"):
        read_plain(tmp_path / "file", limit_bytes=8)


def test_a_file_that_is_not_there_is_a_local_error(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="cannot read"):
        read_plain(tmp_path / "file", limit_bytes=8)


WRITERS: dict[str, Callable[[Path], None]] = {
    EVIDENCE_NAME: lambda folder: write_evidence(folder, EVIDENCE),
    BUNDLE_NAME: lambda folder: write_bundle(
        folder, envelope=read_bundle(folder.parent / "made")[0], provenance=None
    ),
    "any": lambda folder: write_beside(folder / "any", b"{}"),
}


@pytest.mark.parametrize("plant", LINKS)
@pytest.mark.parametrize("name", WRITERS)
def test_a_link_is_replaced_and_what_it_points_to_stays(
    name: str, plant: Plant, tmp_path: Path
) -> None:
    write_release(tmp_path / "made")
    folder = tmp_path / "pulled"
    folder.mkdir()
    plant(folder / name)
    WRITERS[name](folder)

    assert not (folder / name).is_symlink()
    assert json.loads((folder / name).read_bytes()) is not None
    assert not (folder / "nowhere").exists()
    if (folder / "elsewhere").exists():
        assert (folder / "elsewhere").read_bytes() == SECRET


def test_a_hard_link_is_replaced_and_the_other_name_keeps_its_bytes(
    tmp_path: Path,
) -> None:
    (tmp_path / "elsewhere").write_bytes(SECRET)
    (tmp_path / EVIDENCE_NAME).hardlink_to(tmp_path / "elsewhere")
    write_evidence(tmp_path, EVIDENCE)
    assert (tmp_path / "elsewhere").read_bytes() == SECRET


@pytest.mark.parametrize("name", WRITERS)
def test_a_folder_in_a_files_place_is_a_local_error_and_leaves_nothing(
    name: str, tmp_path: Path
) -> None:
    write_release(tmp_path / "made")
    (tmp_path / "pulled" / name).mkdir(parents=True)
    with pytest.raises(LocalError, match="cannot write"):
        WRITERS[name](tmp_path / "pulled")
    assert [it.name for it in (tmp_path / "pulled").iterdir()] == [name]


@pytest.mark.parametrize("plant", [link_to_nothing, pipe, directory])
def test_a_lock_is_taken_of_a_plain_file_only(plant: Plant, tmp_path: Path) -> None:
    plant(tmp_path / "state.lock")
    with pytest.raises(MalformedDocumentError), locked_state(tmp_path / "state"):
        pass
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("plant", PLANTS)
def test_a_partial_is_taken_up_from_a_plain_file_only(
    plant: Plant, tmp_path: Path
) -> None:
    sha256 = "1" * 64
    assert is_sha256(sha256)
    plant(tmp_path / f".{sha256}.0.part")
    with open_partial(tmp_path, sha256=sha256) as partial:
        assert partial.length_bytes == 0
        assert partial.path.name == f".{sha256}.1.part"


@pytest.mark.parametrize("plant", [link_to_device, link_to_file, pipe])
def test_an_audit_reads_plain_readmes_only(plant: Plant, tmp_path: Path) -> None:
    (tmp_path / "list" / "one").mkdir(parents=True)
    (tmp_path / "list" / "two").mkdir()
    plant(tmp_path / "list" / "one" / "readme.md")
    (tmp_path / "list" / "two" / "readme.md").write_text("---\nname: two\n---\n")
    [entry] = read_model_list(tmp_path / "list")
    assert entry.name == "two"
