"""Linux system calls that Python does not wrap, each raising OSError when refused.

Source:
    prctl(2), unshare(2), mount(2), mount_setattr(2), pivot_root(2), capabilities(7).
"""

import ctypes
import functools
import os
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_DUMPABLE = 4
PR_SET_SECCOMP = 22
PR_CAPBSET_DROP = 24
PR_SET_CHILD_SUBREAPER = 36
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 47, 4

CLONE_NEWNS = 0x00020000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_BIND, MS_REC, MS_PRIVATE = 1 << 12, 1 << 14, 1 << 18
MNT_DETACH = 2
MOUNT_ATTR_RDONLY, MOUNT_ATTR_NOSUID, MOUNT_ATTR_NODEV = 1, 2, 4

SYS_MOUNT_SETATTR = 442
AT_FDCWD, AT_RECURSIVE = -100, 0x8000
_CAPABILITY_VERSION_3 = 0x20080522
_LAST_CAPABILITY = 63


class _MountAttributes(ctypes.Structure):
    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def checked(result: int, what: str) -> int:
    """Return ``result``, unless it says that the kernel refused.

    Raises:
        OSError: it is negative; the message names ``what`` and the reason.
    """
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result


def syscall(what: str, number: int, *arguments: object) -> int:
    """Make the system call of that number, the same on every architecture from 424 on.

    Raises:
        OSError: the kernel refused.
    """
    return checked(_libc().syscall(ctypes.c_long(number), *arguments), what)


def prctl(option: int, *arguments: int) -> None:
    """Change an attribute of this process.

    Raises:
        OSError: the kernel refused.
    """
    given = [ctypes.c_ulong(value) for value in (*arguments, 0, 0, 0, 0)[:4]]
    checked(_libc().prctl(option, *given), f"prctl {option}")


def unshare(flags: int) -> None:
    """Move this process into new namespaces.

    Raises:
        OSError: the kernel refused.
    """
    checked(_libc().unshare(flags), "unshare")


def enter_user_namespace(flags: int = 0) -> None:
    """Move into a new user namespace that knows this user and this group only.

    Args:
        flags: further namespaces, which the new one owns.

    Raises:
        OSError: the kernel refused.
    """
    user, group = os.geteuid(), os.getegid()
    unshare(CLONE_NEWUSER | flags)
    process = Path("/proc/self")
    (process / "setgroups").write_text("deny")
    (process / "uid_map").write_text(f"{user} {user} 1")
    (process / "gid_map").write_text(f"{group} {group} 1")


def mount(source: Path, target: Path, *, kind: str, flags: int, options: str) -> None:
    """Mount ``source`` at ``target``.

    Raises:
        OSError: the kernel refused.
    """
    given = (os.fsencode(source), os.fsencode(target), kind.encode())
    result = _libc().mount(*given, ctypes.c_ulong(flags), options.encode())
    checked(result, f"mount {target}")


def restrict_mount(target: Path, attributes: int, *, below: bool) -> None:
    """Add attributes to a mount, and to all ``below`` it.

    Raises:
        OSError: the kernel refused, or is older than 5.12.
    """
    wanted = _MountAttributes(attr_set=attributes)
    flags = AT_RECURSIVE if below else 0
    path = os.fsencode(target)
    size = ctypes.c_size_t(ctypes.sizeof(wanted))
    syscall(
        f"mount_setattr {target}",
        SYS_MOUNT_SETATTR,
        AT_FDCWD,
        path,
        flags,
        ctypes.byref(wanted),
        size,
    )


def enter_root(folder: Path) -> None:
    """Make the mount at ``folder`` the root of all paths, and let go of the old one.

    Raises:
        OSError: the kernel refused.
    """
    os.chdir(folder)
    checked(_libc().pivot_root(b".", b"."), "pivot_root")
    checked(_libc().umount2(b".", MNT_DETACH), "umount2")
    os.chdir("/")


def drop_capabilities() -> None:
    """Give up every capability, and the means to get one back.

    Raises:
        OSError: the kernel refused.
    """
    for capability in range(_LAST_CAPABILITY + 1):
        try:
            prctl(PR_CAPBSET_DROP, capability)
        except OSError:  # beyond the last one, or not ours to drop: there is none
            continue
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    nothing = (ctypes.c_uint32 * 6)()
    checked(_libc().capset(ctypes.byref(header), ctypes.byref(nothing)), "capset")
