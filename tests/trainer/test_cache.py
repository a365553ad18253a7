"""The folder where data are kept: readable for the children that build."""

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from trainer.cache import DOWNLOADED, cache_root, let_everybody_read

READ_ONLY = """
import sys
from pathlib import Path
from trainer.cache import let_everybody_read
from trainer.sandbox import kernel, namespaces

cache, none = Path(sys.argv[1]), Path("none")
namespaces.leave(network=True)
flags = kernel.MS_REC | kernel.MS_PRIVATE
kernel.mount(none, Path("/"), kind="none", flags=flags, options="")
kernel.mount(cache, cache, kind="none", flags=kernel.MS_BIND, options="")
kernel.restrict_mount(cache, kernel.MOUNT_ATTR_RDONLY, below=False)
let_everybody_read()
"""


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data set that only its owner may read."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = cache_root() / DOWNLOADED
    folder.mkdir(parents=True)
    (folder / "images").write_bytes(b"public")
    (folder / "images").chmod(0o600)
    return folder / "images"


def test_what_is_kept_can_be_read_by_every_user(kept: Path) -> None:
    let_everybody_read()
    assert stat.S_IMODE(kept.stat().st_mode) == 0o644


def test_a_cache_that_is_read_only_stays_as_it_is(kept: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-c", READ_ONLY, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
