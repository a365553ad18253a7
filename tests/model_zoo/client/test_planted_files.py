"""What somebody put into a pulled folder or a trust cache is replaced or refused."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from model_zoo.client.trusted_pull import verify_folder
from model_zoo.client.zoo import ZooClient
from model_zoo.errors import LocalError, VerificationError
from model_zoo.http.server import Server
from model_zoo.statements.folder import EVIDENCE_NAME
from model_zoo.statements.policy import Policy
from model_zoo.tuf.updater import Anchor
from tests.model_zoo.releases import PULLED

POLICY = Policy()


def test_a_second_pull_writes_through_no_link(
    zoo_url: str, anchor: Anchor, pulled: Path, tmp_path: Path
) -> None:
    (tmp_path / "precious").write_text("the user's own")
    (pulled / EVIDENCE_NAME).unlink()
    (pulled / EVIDENCE_NAME).symlink_to(tmp_path / "precious")
    with ZooClient(zoo_url, anchor=anchor) as zoo:
        zoo.pull(PULLED, policy=POLICY, to=pulled)

    assert (tmp_path / "precious").read_text() == "the user's own"
    assert not (pulled / EVIDENCE_NAME).is_symlink()
    verify_folder(pulled, anchor=anchor, policy=POLICY)


def test_the_folder_itself_may_be_a_link(
    anchor: Anchor, pulled: Path, tmp_path: Path
) -> None:
    (tmp_path / "newest").symlink_to(pulled)
    found = verify_folder(tmp_path / "newest", anchor=anchor, policy=POLICY)
    assert found.statement.release == PULLED


@pytest.mark.parametrize("name", ["trust.json", "release.json", "model.safetensors"])
def test_a_verifier_waits_for_no_pipe(name: str, anchor: Anchor, pulled: Path) -> None:
    (pulled / name).unlink()
    os.mkfifo(pulled / name)
    with pytest.raises(VerificationError, match="not a plain file"):
        verify_folder(pulled, anchor=anchor, policy=POLICY)


def link(path: Path) -> None:
    kept = path.with_name(f"{path.name}.kept")
    path.rename(kept)
    path.symlink_to(kept)


def device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("plant", [link, device, pipe])
@pytest.mark.parametrize(
    "name", ["timestamp.json", "snapshot.json", "root_history/1.root.json"]
)
def test_a_trust_cache_that_holds_more_than_files_is_not_used(
    name: str,
    plant: Callable[[Path], None],
    zoo_url: str,
    anchor: Anchor,
    tmp_path: Path,
) -> None:
    own = Anchor(root=anchor.root, cache=tmp_path)
    server = Server(zoo_url)
    with own.refreshed(server) as zoo:
        plant(zoo.memory / name)
    with (
        pytest.raises(LocalError, match=f"{name} is not a plain file"),
        own.refreshed(server),
    ):
        pass
