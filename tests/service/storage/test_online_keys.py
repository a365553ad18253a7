"""The keys on the server: made once, whole or not at all, and no more than it needs."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tuf.api.metadata import Metadata, Root

from model_zoo.errors import (
    LocalError,
    NotPermittedError,
    ThresholdNotMetError,
    ZooError,
)
from model_zoo.keys.ed25519 import SigningKey
from model_zoo.tuf.roles import is_development, parse, to_bytes
from service.settings import Settings
from service.storage.online_keys import open_keys
from tests.service.roles import TARGETS_KEY, make_real_root
from tests.service.zoo import Clock, open_zoo

NOW = Clock().now
TOKEN = "t" * 40
EVERYWHERE = "0.0.0.0"  # noqa: S104  told to settings, bound by no test
FIRST_START = """
import os, signal, sys
from datetime import UTC, datetime
from pathlib import Path

folder, left = Path(sys.argv[1]), int(sys.argv[2])
NAMES = ("open", "os.rename")

def kill(event, arguments):
    global left
    touched = event in NAMES and str(folder) in str(arguments[0])
    if touched and (event != "open" or "r" != arguments[1]):
        left -= 1
        if left < 0:
            os.kill(os.getpid(), signal.SIGKILL)

from service.storage.online_keys import open_keys
sys.addaudithook(kill)
open_keys(folder, now=datetime(2026, 11, 22, 13, 0, tzinfo=UTC))
"""


def start(folder: Path, *, writes: int) -> int:
    """Start with a new folder and die before the write of that number."""
    code = [sys.executable, "-c", FIRST_START, str(folder), str(writes)]
    return subprocess.run(code, check=False, capture_output=True).returncode


def test_a_first_start_makes_a_marked_root_and_the_next_ones_keep_it(
    tmp_path: Path,
) -> None:
    first = open_keys(tmp_path / "trust", now=NOW)
    second = open_keys(tmp_path / "trust", now=NOW)

    assert is_development(parse(first.root, Root).signed)
    assert first.is_development
    assert (first.root, first.targets) == (second.root, second.targets)
    assert first.snapshot_key.public == second.snapshot_key.public


def test_only_their_owner_can_read_the_keys(tmp_path: Path) -> None:
    open_keys(tmp_path / "trust", now=NOW)

    assert (tmp_path / "trust").stat().st_mode & 0o777 == 0o700
    secrets = [*(tmp_path / "trust").glob("*.pem"), tmp_path / "trust" / "passphrase"]
    assert len(secrets) == 9
    assert {path.stat().st_mode & 0o777 for path in secrets} == {0o600}
    assert all(b"ENCRYPTED" in path.read_bytes() for path in secrets[:-1])


def test_a_first_start_that_was_killed_anywhere_is_made_good_by_the_next(
    tmp_path: Path,
) -> None:
    codes = []
    for writes in (0, 1, 3, 6, 9, 11, 12, 13, 99):
        folder = tmp_path / str(writes)
        codes.append(start(folder, writes=writes))
        keys = open_keys(folder, now=NOW)
        assert keys.is_development
        assert (folder / "root.json").read_bytes() == keys.root
    assert codes[0] == -signal.SIGKILL
    assert codes[-1] == 0


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    precious = tmp_path / "thesis.txt"
    precious.write_text("years of work")

    with pytest.raises(LocalError, match=r"thesis\.txt"):
        open_keys(tmp_path, now=NOW)

    assert precious.read_text() == "years of work"


@pytest.fixture
def real(tmp_path: Path) -> Path:
    """What a ceremony hands to the server."""
    return make_real_root(tmp_path / "trust", now=NOW)


def test_a_real_root_comes_without_the_keys_that_stay_off_line(real: Path) -> None:
    keys = open_keys(real, now=NOW)

    assert keys.targets_key is None
    assert not keys.is_development


def test_a_targets_key_on_the_server_of_a_real_root_is_refused(real: Path) -> None:
    TARGETS_KEY.save(real / "targets.pem", passphrase=b"correct horse battery")

    with pytest.raises(LocalError, match="must not lie on the server"):
        open_keys(real, now=NOW)


def test_a_wrong_passphrase_is_told(real: Path) -> None:
    (real / "passphrase").write_bytes(b"another")

    with pytest.raises(NotPermittedError, match="wrong passphrase"):
        open_keys(real, now=NOW)


@pytest.mark.parametrize(
    "name",
    ["passphrase", "snapshot.pem", "timestamp.pem", "log.pem", "oms.pem",
     "targets.json", "trusted-keys.json"],
)  # fmt: skip
@pytest.mark.parametrize("content", [None, b"", b"garbage"])
def test_a_folder_that_is_not_whole_is_refused(
    real: Path, name: str, content: bytes | None
) -> None:
    if content is None:
        (real / name).unlink()
    else:
        (real / name).write_bytes(content)

    with pytest.raises(ZooError):
        open_keys(real, now=NOW)


def test_a_root_that_its_holders_did_not_sign_is_refused(real: Path) -> None:
    root = Metadata[Root].from_bytes((real / "root.json").read_bytes())
    del root.signatures[next(iter(root.signatures))]
    (real / "root.json").write_bytes(to_bytes(root))

    with pytest.raises(ThresholdNotMetError, match="root"):
        open_keys(real, now=NOW)


@pytest.mark.parametrize("name", ["snapshot", "timestamp"])
def test_an_online_key_that_the_root_does_not_list_is_refused(
    real: Path, name: str
) -> None:
    path = real / f"{name}.pem"
    path.unlink()
    passphrase = (real / "passphrase").read_bytes().strip()
    SigningKey.generate().save(path, passphrase=passphrase)

    with (
        pytest.raises(LocalError, match=name),
        open_zoo(real.parent / "zoo", trust_dir=real),
    ):
        pytest.fail("it started with a key that no client believes")


def test_a_development_root_is_not_shown_beyond_loopback(tmp_path: Path) -> None:
    with (
        pytest.raises(NotPermittedError, match="zoo trust init"),
        open_zoo(tmp_path / "zoo", host=EVERYWHERE, token=TOKEN),
    ):
        pytest.fail("it started")
    with open_zoo(tmp_path / "zoo"):
        """The lock was let go, and on loopback it starts."""


def test_a_real_root_is_shown_beyond_loopback(real: Path) -> None:
    folder = real.parent / "zoo"
    with open_zoo(folder, host=EVERYWHERE, token=TOKEN, trust_dir=real) as zoo:
        assert zoo.get("/healthz").status_code == 200


def test_keys_are_in_no_text_that_is_shown(tmp_path: Path) -> None:
    keys = open_keys(tmp_path / "trust", now=NOW)

    for text in (repr(keys), str(keys), repr(Settings(data_dir=tmp_path))):
        assert "PRIVATE" not in text
        assert "_key=" not in text
