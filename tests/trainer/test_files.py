"""Files appear whole or not at all."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

from model_zoo.errors import LocalError
from trainer.files import read_bytes, write_whole


def test_a_file_is_written_with_its_folder_and_replaced(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"

    write_whole(path, b"old")
    write_whole(path, b"new")

    assert read_bytes(path) == b"new"
    assert [item.name for item in path.parent.iterdir()] == ["file"]


def test_a_full_disk_leaves_the_old_file_and_nothing_half_written(
    tmp_path: Path,
) -> None:
    """A limit on file size in a child process: the kernel refuses mid-write."""
    path = tmp_path / "file"
    write_whole(path, b"old")
    code = (
        "import pathlib, resource, signal, sys\n"
        "from trainer.files import write_whole\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        f"resource.setrlimit({resource.RLIMIT_FSIZE}, (1000, 1000))\n"
        "write_whole(pathlib.Path(sys.argv[1]), bytes(5000))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert "LocalError" in done.stderr
    assert path.read_bytes() == b"old"
    assert [item.name for item in tmp_path.iterdir()] == ["file"]


def test_a_file_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(LocalError, match="No such file"):
        read_bytes(tmp_path / "absent")


def test_a_folder_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(LocalError, match="cannot write"):
        write_whole(tmp_path / "file" / "below", b"")
