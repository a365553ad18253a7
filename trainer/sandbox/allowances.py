"""The paths that a child of an attempt works with; to it there are no others.

They are the interpreter and what is installed beside it, this project's packages, the
system's libraries and those that ``LD_LIBRARY_PATH`` leads to, the data sets, the
processors' devices and its own scratch folder.
Home folders, ``/etc`` and ``/var`` hold other people's keys, so that of these only
single files are named.
"""

import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

import model_zoo
import trainer
from trainer.cache import cache_root
from trainer.sandbox.landlock import LIST, READ, USE, WRITE

_SYSTEM = (
    *("/usr", "/lib", "/lib32", "/lib64", "/bin", "/sbin", "/sys", "/nix/store"),
    *("/opt/rocm", "/etc/OpenCL", "/etc/alternatives", "/etc/localtime"),
    *("/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d"),
    *("/etc/group", "/etc/nsswitch.conf", "/etc/passwd"),
)
_DEVICES = ("null", "zero", "full", "random", "urandom", "dri", "kfd", "nvidia*")
"""Below ``/dev``; the last three are graphics processors."""
_TO_CALL_OUT = (
    *("/etc/ssl", "/etc/pki", "/etc/ca-certificates", "/etc/crypto-policies"),
    *("/etc/resolv.conf", "/etc/hosts", "/etc/host.conf", "/etc/gai.conf"),
    *("/etc/services", "/etc/pip.conf", "/etc/xdg/pip", "/run/systemd/resolve"),
)
_PIP_SETTINGS = (".config/pip", ".pip")
"""Below the home folder; data sets come in wheels, too."""
_PACKAGE_FOLDERS = frozenset({"site-packages", "dist-packages"})


def to_work(folder: Path, *, readable: Iterable[Path]) -> tuple[tuple[str, int], ...]:
    """Return path and access of everything that a child which trains may use.

    Args:
        folder: its scratch folder.
        readable: what else it may read.
    """
    return _rules(folder, readable=[*_data(), *readable], written=[])


def to_fetch(folder: Path) -> tuple[tuple[str, int], ...]:
    """Return path and access of everything that a child which downloads may use."""
    settings = [Path.home() / name for name in _PIP_SETTINGS]
    readable = [*_data(), *map(Path, _TO_CALL_OUT), *settings]
    return _rules(folder, readable=readable, written=[cache_root()])


def _rules(
    folder: Path, *, readable: Iterable[Path], written: Iterable[Path]
) -> tuple[tuple[str, int], ...]:
    devices = [it for name in _DEVICES for it in Path("/dev").glob(name)]
    wanted = [
        *((it, READ) for it in (*_libraries(), *_interpreter(), *readable)),
        *((it.parent, LIST) for it in _packages()),
        *((it, USE) for it in devices),
        *((it, WRITE) for it in (folder, *written)),
    ]
    # a path that leads through a link is needed as it is spelled, too
    return tuple(
        sorted(
            {
                (str(spelled), access)
                for path, access in wanted
                for spelled in (path.absolute(), path.resolve())
                if spelled.exists()
            }
        )
    )


def _libraries() -> Iterator[Path]:
    yield from map(Path, _SYSTEM)
    named = os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep)
    # the empty one is the folder in which a worker happens to start, and / is all
    yield from (it for it in map(Path, named) if it.is_absolute() and it.name)


def _interpreter() -> Iterator[Path]:
    yield from map(Path, (sys.prefix, sys.exec_prefix, sys.base_prefix))
    yield Path(sys.executable).resolve().parent
    yield from _packages()
    yield from (Path(it) for it in sys.path if Path(it).name in _PACKAGE_FOLDERS)


def _packages() -> Iterator[Path]:
    yield from (Path(str(it.__file__)).parent for it in (model_zoo, trainer))


def _data() -> Iterator[Path]:
    given = os.environ.get("ZOO_DATA_DIR")
    yield cache_root()
    if given:
        yield Path(given)
