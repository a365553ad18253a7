"""Run a program as a user without rights: ``python as_user.py DENIED PROGRAM ...``.

Tests run as root where users do not. DENIED lists numbers of system calls that fail
with EPERM from here on, as a container's do. An interpreter below root's home folder is
shown to that user in a mount namespace.
"""

import ctypes
import json
import os
import sys
import tempfile
from pathlib import Path

from trainer.sandbox import kernel, seccomp

USER = 12345
HOME = Path("/root")


def main() -> None:
    denied = json.loads(sys.argv[1])
    kernel.unshare(kernel.CLONE_NEWNS)
    none, quiet = Path("none"), kernel.MS_REC | kernel.MS_PRIVATE
    kernel.mount(none, Path("/"), kind="none", flags=quiet, options="")
    _open_up(Path(sys.base_prefix).resolve())
    os.setgroups([])
    os.setresgid(USER, USER, USER)
    os.setresuid(USER, USER, USER)
    kernel.prctl(kernel.PR_SET_NO_NEW_PRIVS, 1)
    if denied:
        _deny(denied)
    os.execv(sys.argv[2], sys.argv[2:])  # noqa: S606  the test's own program


def _open_up(interpreter: Path) -> None:
    if not interpreter.is_relative_to(HOME):
        return
    aside = Path(tempfile.mkdtemp())
    bind = kernel.MS_BIND | kernel.MS_REC
    kernel.mount(interpreter, aside, kind="none", flags=bind, options="")
    kernel.mount(Path("none"), HOME, kind="tmpfs", flags=0, options="mode=755")
    interpreter.mkdir(parents=True)
    kernel.mount(aside, interpreter, kind="none", flags=bind, options="")


def _deny(numbers: list[int]) -> None:
    lines = [(seccomp._LOAD, 0, 0, seccomp._NUMBER)]
    for number in numbers:
        lines.append((seccomp._JUMP_IF_EQUAL, 0, 1, number))
        lines.append((seccomp._RETURN, 0, 0, seccomp._ERRNO | 1))
    lines.append((seccomp._RETURN, 0, 0, seccomp._ALLOW))
    filters = (seccomp._Filter * len(lines))(*(seccomp._Filter(*it) for it in lines))
    program = seccomp._Program(len(lines), filters)
    kernel.prctl(kernel.PR_SET_SECCOMP, 2, ctypes.addressof(program))


if __name__ == "__main__":
    main()
