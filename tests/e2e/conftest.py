"""The ceremony of docs/how-to/hold-a-ceremony.md, held by command."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from model_zoo import cli
from tests.e2e.desk import HOLDERS, PASSPHRASE, Desk
from tests.model_zoo.servers import open_zoo

SIGNERS = ("targets", "alice")


@pytest.fixture(scope="session")
def ceremony(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which every key was made and the ceremony held."""
    folder = tmp_path_factory.mktemp("ceremony")
    server = folder / "server"
    made = [["keys", "generate", f"{name}.pem"] for name in (*HOLDERS, *SIGNERS)]
    roots = [part for name in HOLDERS for part in ("--root-key", f"{name}.pub.pem")]
    init = ["trust", "init", "server", *roots, "--targets-key", "targets.pub.pem"]
    signed = [
        ["trust", "sign", f"server/{role}.json", "--key", f"{name}.pem"]
        for role, name in (("root", "ann"), ("root", "ben"), ("targets", "targets"))
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("ZOO_KEY_PASSPHRASE", PASSPHRASE)
        for words in (*made, init, *signed):
            with pytest.raises(SystemExit) as ended:
                cli.main(words)
            assert not ended.value.code
    (folder / "pinned.json").write_bytes((server / "root.json").read_bytes())
    return folder


@pytest.fixture
def desk(
    ceremony: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Desk:
    """A copy of that folder; the signed root is pinned."""
    shutil.copytree(ceremony, tmp_path, dirs_exist_ok=True)
    monkeypatch.setenv("ZOO_KEY_PASSPHRASE", PASSPHRASE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("ZOO_TRUST_ROOT", str(tmp_path / "pinned.json"))
    return Desk(tmp_path, capsys, monkeypatch)


@pytest.fixture
def server(desk: Desk) -> Path:
    return desk.folder / "server"


@pytest.fixture
def zoo(desk: Desk, server: Path) -> Iterator[str]:
    with open_zoo(desk.folder / "data", trust_dir=server) as url:
        desk.at(url)
        yield url
