"""The ceremony of docs/how-to/hold-a-ceremony.md, held by command."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.desk import HOLDERS, PASSPHRASE, Desk
from tests.model_zoo.servers import open_zoo


@pytest.fixture
def desk(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Desk:
    """Every key made, the ceremony held, the signed root pinned."""
    monkeypatch.setenv("ZOO_KEY_PASSPHRASE", PASSPHRASE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("ZOO_TRUST_ROOT", str(tmp_path / "pinned.json"))
    desk = Desk(tmp_path, capsys, monkeypatch)
    for name in (*HOLDERS, "targets", "alice"):
        desk.key(name)
    server = tmp_path / "server"
    roots = [part for name in HOLDERS for part in ("--root-key", desk.public(name))]
    desk.done("trust", "init", server, *roots, "--targets-key", desk.public("targets"))
    desk.sign(server / "root.json", "ann", "ben")
    desk.sign(server / "targets.json", "targets")
    (tmp_path / "pinned.json").write_bytes((server / "root.json").read_bytes())
    return desk


@pytest.fixture
def server(desk: Desk) -> Path:
    return desk.folder / "server"


@pytest.fixture
def zoo(desk: Desk, server: Path) -> Iterator[str]:
    with open_zoo(desk.folder / "data", trust_dir=server) as url:
        desk.at(url)
        yield url
