"""OpenSSF's model_signing against the bundles of a zoo on a socket."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from model_zoo.keys.p256 import P256Key
from model_zoo.statements.policy import Policy
from tests.interop import peers
from tests.interop.serving import FILES, Served

pytestmark = pytest.mark.interop
SIGNATURE = "/api/v1/models/alice/digits/releases/1/model.sig"


@pytest.fixture
def release(served: Served, tmp_path: Path) -> Path:
    """A folder with the release's files; bundle and public key stand beside it."""
    folder = tmp_path / "digits"
    folder.mkdir()
    for name, data in FILES.items():
        (folder / name).write_bytes(data)
    (tmp_path / "model.sig").write_bytes(served.get(SIGNATURE).content)
    (tmp_path / "oms.pub.pem").write_text(served.oms_key.public_pem())
    return folder


def verify(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    beside = folder.parent
    return peers.run(
        str(peers.model_signing()),
        *("verify", "key", str(folder)),
        *("--signature", str(beside / "model.sig")),
        *("--public_key", str(beside / "oms.pub.pem")),
        *options,
    )


def test_it_accepts_our_bundle(release: Path) -> None:
    done = verify(release)
    assert done.returncode == 0, done.stderr
    assert "succeeded" in done.stdout


def test_it_accepts_a_pulled_folder_with_our_evidence_in_it(
    release: Path, served: Served
) -> None:
    pulled = release.parent / "pulled"
    served.client.pull("alice/digits@1", policy=Policy(), to=pulled)
    assert {"release.json", "trust.json"} <= {file.name for file in pulled.iterdir()}
    assert verify(pulled).returncode == 0


@pytest.mark.parametrize(
    ("change", "told"),
    [
        pytest.param("change", "Hash mismatch for 'model.safetensors'", id="changed"),
        pytest.param("add", "Extra files", id="added"),
        pytest.param("remove", "Missing files", id="missing"),
    ],
)
def test_it_rejects_other_files(change: str, told: str, release: Path) -> None:
    match change:
        case "change":
            with (release / "model.safetensors").open("r+b") as file:
                file.seek(-1, 2)
                file.write(b"\xff")
        case "add":
            (release / "modeling.py").write_text("")
        case _:
            (release / "config.json").unlink()
    done = verify(release)
    assert done.returncode != 0
    assert told in done.stdout + done.stderr


def test_it_rejects_our_bundle_under_another_key(release: Path) -> None:
    public = release.parent / "oms.pub.pem"
    public.write_text(P256Key.generate().public_pem())
    done = verify(release)
    assert done.returncode != 0
    assert "Key mismatch" in done.stdout + done.stderr


def test_it_rejects_a_bundle_whose_payload_was_exchanged(release: Path) -> None:
    bundle = release.parent / "model.sig"
    document = json.loads(bundle.read_bytes())
    envelope = document["dsseEnvelope"]
    middle = len(envelope["payload"]) // 2
    other = "A" if envelope["payload"][middle] != "A" else "B"
    envelope["payload"] = (
        envelope["payload"][:middle] + other + envelope["payload"][middle + 1 :]
    )
    bundle.write_text(json.dumps(document))
    assert verify(release).returncode != 0


def test_it_takes_the_same_files_under_any_name(release: Path) -> None:
    """What our documents say of it; the day it fails, they are out of date."""
    renamed = release.parent / "letters-2"
    shutil.move(release, renamed)
    assert verify(renamed).returncode == 0


def test_a_withdrawn_release_has_no_bundle(served: Served) -> None:
    answer = served.get("/api/v1/models/alice/gone/releases/1/model.sig")
    assert answer.status_code == 410
