"""The conformance suite's commands, against a small repository on a socket."""

import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from tuf.api.metadata import TargetFile

from tests.interop import tuf_client
from tests.interop.tuf_client import main
from tests.model_zoo.tuf.repositories import (
    NOW,
    WEIGHTS,
    WEIGHTS_PATH,
    TufRepository,
    good_repository,
    serving,
)


class Suite:
    """Runs our commands as the suite does, one folder of metadata for all of them."""

    def __init__(self, folder: Path, repository: TufRepository, url: str) -> None:
        self.metadata, self.targets = folder / "metadata", folder / "targets"
        self.metadata.mkdir()
        self.targets.mkdir()
        self.repository, self.url = repository, url
        self.root = folder / "initial_root.json"
        self.root.write_bytes(repository.files["/tuf/metadata/1.root.json"])

    def init(self) -> int:
        return main(["--metadata-dir", str(self.metadata), "init", str(self.root)])

    def refresh(self) -> int:
        return main([*self._where(), "refresh"])

    def download(self, *names: str) -> int:
        wanted = [argument for name in names for argument in ("--target-name", name)]
        targets = ["--target-base-url", f"{self.url}/tuf/targets/"]
        to = ["--target-dir", str(self.targets)]
        return main([*self._where(), *wanted, *targets, *to, "download"])

    def _where(self) -> list[str]:
        url = f"{self.url}/tuf/metadata/"
        return ["--metadata-dir", str(self.metadata), "--metadata-url", url]

    @property
    def downloaded(self) -> list[bytes]:
        return [file.read_bytes() for file in self.targets.iterdir()]


@pytest.fixture
def seen() -> list[str]:
    """The paths that were asked for."""
    return []


@pytest.fixture
def suite(tmp_path: Path, seen: list[str]) -> Iterator[Suite]:
    repository = good_repository()
    with serving(repository, seen.append) as url:
        yield Suite(tmp_path, repository, url)


def test_init_keeps_the_root_and_asks_nobody(suite: Suite, seen: list[str]) -> None:
    assert suite.init() == 0
    assert (suite.metadata / "root.json").read_bytes() == suite.root.read_bytes()
    assert seen == []


def test_the_suite_starts_it_by_its_path_from_a_folder_of_its_own(
    suite: Suite, tmp_path: Path
) -> None:
    script = str(Path(tuf_client.__file__))
    init = ["--metadata-dir", str(suite.metadata), "init", str(suite.root)]
    subprocess.run([sys.executable, script, *init], cwd=tmp_path, check=True)
    assert (suite.metadata / "root.json").read_bytes() == suite.root.read_bytes()


def test_init_without_a_root_fails(suite: Suite) -> None:
    suite.root.unlink()
    assert suite.init() == 1


def test_refresh_keeps_metadata_under_names_without_versions(suite: Suite) -> None:
    assert suite.init() == 0
    assert suite.refresh() == 0
    for name in ("root", "timestamp", "snapshot", "targets"):
        kept = (suite.metadata / f"{name}.json").read_bytes()
        assert kept == suite.repository.files[suite.repository.file(name)]


def test_download_brings_each_target_once(suite: Suite, seen: list[str]) -> None:
    assert suite.init() == 0
    assert suite.download(WEIGHTS_PATH, "bob/m/1/f") == 0
    assert sorted(suite.downloaded) == sorted([WEIGHTS, b"in a bin"])
    seen.clear()
    assert suite.download(WEIGHTS_PATH) == 0
    assert not [path for path in seen if path.startswith("/tuf/targets/")]


def test_a_target_without_a_sha256_is_checked_all_the_same(suite: Suite) -> None:
    path, data = "alice/m/1/other", b"by its sha512"
    target = TargetFile.from_data(path, data, ["sha512"])
    [place] = target.get_prefixed_paths()
    suite.repository.roles["alice"].signed.targets[path] = target
    suite.repository.files[f"/tuf/targets/{place}"] = data[::-1]
    suite.repository.publish_next("alice")
    assert suite.init() == 0
    assert suite.download(path) == 1
    assert suite.downloaded == []
    suite.repository.files[f"/tuf/targets/{place}"] = data
    assert suite.download(path) == 0
    assert suite.downloaded == [data]


def test_a_target_that_nobody_vouches_for_ends_the_command(suite: Suite) -> None:
    assert suite.init() == 0
    assert suite.download("alice/m/1/none", WEIGHTS_PATH) == 1
    assert suite.downloaded == []


def test_other_bytes_of_the_right_length_are_refused(suite: Suite) -> None:
    for path, data in suite.repository.files.items():
        if path.startswith("/tuf/targets/"):
            suite.repository.files[path] = data[::-1]
    assert suite.init() == 0
    assert suite.download(WEIGHTS_PATH) == 1
    assert WEIGHTS[::-1] not in suite.downloaded


@pytest.mark.parametrize("role", ["root", "timestamp", "snapshot", "targets"])
def test_an_expired_role_is_refused(suite: Suite, role: str) -> None:
    suite.repository.roles[role].signed.expires = NOW - timedelta(days=1)
    suite.repository.publish_next(*{role} - {"timestamp", "snapshot"})
    assert suite.init() == 0
    assert suite.refresh() == 1


@pytest.mark.parametrize("role", ["timestamp", "snapshot", "targets"])
def test_a_rollback_is_refused(suite: Suite, role: str) -> None:
    before = dict(suite.repository.files)
    suite.repository.publish_next("targets")
    assert suite.init() == 0
    assert suite.refresh() == 0
    kept = (suite.metadata / f"{role}.json").read_bytes()
    suite.repository.files.clear()
    suite.repository.files.update(before)
    assert suite.refresh() == 1
    assert (suite.metadata / f"{role}.json").read_bytes() == kept


def test_a_stranger_in_the_chain_of_roots_is_refused(suite: Suite) -> None:
    suite.repository.signers["root"] = ["thief1", "thief2"]
    suite.repository.publish_next("root")
    assert suite.init() == 0
    assert suite.refresh() == 1
