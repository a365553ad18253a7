"""What this machine refuses is told as ours, and one process holds a lock at a time."""

from pathlib import Path

import pytest

from model_zoo.errors import ConflictError, LocalError, MalformedDocumentError
from model_zoo.files import locked, translate_os_errors


def test_a_refusal_of_this_machine_says_what_was_not_done_and_why(
    tmp_path: Path,
) -> None:
    absent = tmp_path / "absent"
    with (
        pytest.raises(LocalError, match=r"^cannot read it: No such file or directory$"),
        translate_os_errors("cannot read it"),
    ):
        absent.read_bytes()


def test_our_own_errors_pass_the_translator_as_they_are() -> None:
    with pytest.raises(ConflictError, match="ours"), translate_os_errors("no"):
        raise ConflictError("ours")


def test_a_lock_is_held_once_and_let_go_of_after_the_block(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    with (
        locked(lock),
        pytest.raises(BlockingIOError),
        locked(lock, waits=False),
    ):
        pass
    with locked(lock, waits=False):
        pass


def test_no_lock_is_taken_through_a_link(tmp_path: Path) -> None:
    lock = tmp_path / "lock"
    lock.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(MalformedDocumentError, match="not a plain file"), locked(lock):
        pass
    assert not (tmp_path / "elsewhere").exists()
