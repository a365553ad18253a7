"""What a user has seen of a zoo, shared by his processes and locked for no network.

Each traversal works on a copy of its own. It is taken over when it is done, and only if
nobody has taken over another meanwhile: else the traversal starts again from that, so
that python-tuf judges the one against the other and nothing newer is ever forgotten.

ADR 30.
"""

import contextlib
import fcntl
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

from model_zoo.errors import LocalError
from model_zoo.files import locked, translate_os_errors

OWN_PREFIX = ".own-"
ROOT_HISTORY = "root_history"
_STATE = ("root.json", "timestamp.json", "snapshot.json")
"""What says which state was seen; the other roles follow from it."""


@dataclass(slots=True)
class OwnCache:
    """One traversal's copy of a shared cache.

    Attributes:
        shared: the cache.
        folder: the copy; nobody else writes there.
    """

    shared: Path
    folder: Path
    _seen: tuple[bytes | None, ...] = ()
    _inodes: dict[Path, int] = field(default_factory=dict)

    def commit(self) -> bool:
        """Take what was seen here over into the shared cache.

        Returns:
            False, with nothing done, where the cache has come to hold another state
            than the copy was made of, unless that is the very one seen here.

        Raises:
            LocalError: the cache cannot be written.
        """
        state = _state(self.folder)
        with _locked(self.shared):
            if _state(self.shared) not in {self._seen, state}:
                return False
            for path in _files(self.folder):
                if self._inodes.get(path) != path.lstat().st_ino:
                    self._take_over(path)
            _point_to_root(self.folder, self.shared)
        self._seen = state
        return True

    def fill(self) -> None:
        """Copy the shared cache, by links: python-tuf never writes into a file."""
        (self.folder / ROOT_HISTORY).mkdir()
        for path in _files(self.shared):
            copy = self.folder / path.relative_to(self.shared)
            _link(path, copy)
            self._inodes[copy] = copy.lstat().st_ino
        _point_to_root(self.shared, self.folder)
        self._seen = _state(self.shared)

    def _take_over(self, path: Path) -> None:
        to = self.shared / path.relative_to(self.folder)
        to.parent.mkdir(exist_ok=True)
        link = to.with_name(f".{to.name}.new")
        link.unlink(missing_ok=True)
        _link(path, link)
        link.replace(to)
        self._inodes[path] = path.lstat().st_ino


@contextlib.contextmanager
def own_cache(shared: Path) -> Iterator[OwnCache]:
    """Yield a copy of the cache in ``shared``, which is deleted after the block.

    Raises:
        LocalError: the cache cannot be used.
    """
    with _translate_errors(shared):
        shared.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        with _locked(shared):
            _sweep(shared)
            folder = Path(tempfile.mkdtemp(prefix=OWN_PREFIX, dir=shared))
            stack.callback(shutil.rmtree, folder, ignore_errors=True)
            in_use = os.open(folder, os.O_RDONLY)
            stack.callback(os.close, in_use)
            fcntl.flock(in_use, fcntl.LOCK_EX)
            own = OwnCache(shared, folder)
            own.fill()
        yield own


def _files(folder: Path) -> Iterator[Path]:
    """Yield the files of a cache: all must be plain, since what was seen counts.

    Raises:
        LocalError: a link, pipe or device is among them.
    """
    history = folder / ROOT_HISTORY
    if os.path.lexists(history) and (history.is_symlink() or not history.is_dir()):
        raise _not_plain(history)
    for inside in (folder, history):
        if not inside.is_dir():
            continue
        for path in sorted(inside.glob("*.json")):
            if path == folder / "root.json":
                continue  # a link to the newest in the history, made anew each time
            if not stat.S_ISREG(path.lstat().st_mode):
                raise _not_plain(path)
            yield path


def _not_plain(path: Path) -> LocalError:
    return LocalError(f"trust cache: {path} is not a plain file: remove it")


def _state(folder: Path) -> tuple[bytes | None, ...]:
    return tuple(_content(folder / name) for name in _STATE)


def _content(path: Path) -> bytes | None:
    return path.read_bytes() if path.is_file() else None


def _point_to_root(source: Path, to: Path) -> None:
    """Make ``root.json`` in ``to`` name the same root as in ``source``."""
    link, old = to / "root.json", source / "root.json"
    if not old.is_symlink():
        return
    new = to / ".root.json.new"
    new.unlink(missing_ok=True)
    new.symlink_to(Path(ROOT_HISTORY) / old.readlink().name)
    new.replace(link)


def _link(path: Path, to: Path) -> None:
    try:
        to.hardlink_to(path)
    except OSError:  # a file system without links
        shutil.copyfile(path, to)


def _sweep(shared: Path) -> None:
    """Delete the copies of processes that were killed."""
    for folder in shared.glob(f"{OWN_PREFIX}*"):
        with contextlib.suppress(OSError):
            held = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(held)


@contextlib.contextmanager
def _locked(shared: Path) -> Iterator[None]:
    """Hold a cache for as long as it takes to read or to replace its files."""
    with _translate_errors(shared), locked(shared / ".lock"):
        yield


def _translate_errors(shared: Path) -> AbstractContextManager[None]:
    return translate_os_errors(f"cannot use trust cache {shared}")
