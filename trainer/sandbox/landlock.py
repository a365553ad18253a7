"""Landlock: a process keeps from itself every file but those it names.

It needs no privilege and no namespace, and holds for whatever the process starts. A
process inside can neither trace nor, since ABI 6, signal one outside.

Source:
    landlock(7); Documentation/userspace-api/landlock.rst of Linux.
"""

import ctypes
import os
import stat
from collections.abc import Iterable
from contextlib import suppress

from trainer.sandbox.kernel import syscall

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION, _PATH_BENEATH = 1, 1
LEAST_ABI = 2
"""Before it nothing could be renamed from one folder to another."""

EXECUTE, WRITE_FILE, READ_FILE, READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
MAKE_CHAR, MAKE_BLOCK, TRUNCATE, IOCTL_DEV = 1 << 6, 1 << 11, 1 << 14, 1 << 15
_HANDLED = {2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
"""ABI -> the accesses that it and the later ones know."""
_ON_A_FILE = EXECUTE | WRITE_FILE | READ_FILE | TRUNCATE | IOCTL_DEV
_SCOPED, _SCOPED_SINCE = 0b11, 6
"""No abstract socket and no signal leaves the domain."""

LIST = READ_DIR
READ = EXECUTE | READ_FILE | READ_DIR
USE = READ | WRITE_FILE | IOCTL_DEV
WRITE = ((1 << 15) - 1) & ~MAKE_CHAR & ~MAKE_BLOCK


class _Ruleset(ctypes.Structure):
    _fields_ = (
        ("handled_access_fs", ctypes.c_uint64),
        ("handled_access_net", ctypes.c_uint64),
        ("scoped", ctypes.c_uint64),
    )


class _Rule(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def restrict(rules: Iterable[tuple[str, int]]) -> None:
    """Keep every path from this process but those beneath the ones given.

    The process must have ``no_new_privs`` set.

    Args:
        rules: path and what may be done there: LIST, READ, USE or WRITE. A path that
            is not there is left out.

    Raises:
        OSError: the kernel has no Landlock, or an older one than LEAST_ABI.
    """
    none = ctypes.c_void_p(None)
    abi = syscall("landlock", _CREATE_RULESET, none, ctypes.c_size_t(0), _VERSION)
    if abi < LEAST_ABI:
        msg = f"landlock: ABI {abi}, needed is {LEAST_ABI}"
        raise OSError(msg)
    handled = _HANDLED[max(known for known in _HANDLED if known <= abi)]
    wanted = _Ruleset(handled, 0, _SCOPED if abi >= _SCOPED_SINCE else 0)
    size = ctypes.c_size_t(24 if abi >= _SCOPED_SINCE else 8)
    ruleset = syscall("landlock", _CREATE_RULESET, ctypes.byref(wanted), size, 0)
    try:
        for path, access in rules:
            with suppress(FileNotFoundError, PermissionError):
                _allow(ruleset, path, access & handled)
        syscall("landlock", _RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: str, access: int) -> None:
    place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        if not stat.S_ISDIR(os.fstat(place).st_mode):
            access &= _ON_A_FILE
        rule = _Rule(access, place)
        syscall("landlock", _ADD_RULE, ruleset, _PATH_BENEATH, ctypes.byref(rule), 0)
    finally:
        os.close(place)
