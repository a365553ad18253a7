"""Seccomp: system calls that no training needs are refused by the kernel.

They look into or change other processes, other namespaces, mounts, keys, the clock or
the kernel itself; without a network, making a socket is one of them. What this list
does not know yet, being newer than it, is refused as well.

Source:
    seccomp(2); the numbers are those of Linux's syscall tables (x86_64, and the generic
    table for aarch64).
"""

import ctypes
import errno
import platform
from collections.abc import Iterator

from trainer.kernel import (
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUSER,
    CLONE_NEWUTS,
    PR_SET_SECCOMP,
    prctl,
)

_SECCOMP_MODE_FILTER = 2
_ALLOW, _ERRNO, _KILL_PROCESS = 0x7FFF0000, 0x00050000, 0x80000000
_LOAD, _JUMP_IF_EQUAL, _JUMP_IF_GREATER, _JUMP_IF_SET, _RETURN = (
    0x20,
    0x15,
    0x25,
    0x45,
    0x06,
)
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT = 0, 4, 16
"""Where the fields lie in ``struct seccomp_data``; arguments little-endian."""
_CLONE_NEWCGROUP = 0x02000000
_NEW_NAMESPACES = (
    CLONE_NEWNS
    | _CLONE_NEWCGROUP
    | CLONE_NEWUTS
    | CLONE_NEWIPC
    | CLONE_NEWUSER
    | CLONE_NEWPID
    | CLONE_NEWNET
)
_LAST_KNOWN = 462
"""mseal, of Linux 6.10."""
_CLONE3 = 435
"""Its flags lie in memory, where no filter looks: libc falls back to clone."""

_EVERYWHERE = (
    *(425, 426, 427),  # io_uring: system calls that no filter sees
    *(428, 429, 430, 431, 432, 433, 442),  # open_tree to fspick, mount_setattr
    *(434, 438, 440, 447),  # pidfd_open, pidfd_getfd, process_madvise, memfd_secret
    *(457, 458),  # statmount, listmount
)
_X86_64 = (
    *(101, 310, 311, 312),  # ptrace, process_vm_readv, process_vm_writev, kcmp
    *(
        165,
        166,
        155,
        161,
        272,
        308,
    ),  # mount, umount2, pivot_root, chroot, unshare, setns
    *(248, 249, 250),  # add_key, request_key, keyctl
    *(321, 298, 323, 300),  # bpf, perf_event_open, userfaultfd, fanotify_init
    *(246, 320, 169),  # kexec_load, kexec_file_load, reboot
    *(175, 313, 176, 174, 177, 178),  # init_module to query_module
    *(167, 168, 163, 179),  # swapon, swapoff, acct, quotactl
    *(303, 304),  # name_to_handle_at, open_by_handle_at
    *(164, 227, 305, 159),  # settimeofday, clock_settime, clock_adjtime, adjtimex
    *(170, 171, 103, 153),  # sethostname, setdomainname, syslog, vhangup
    *(154, 172, 173, 134, 180),  # modify_ldt, iopl, ioperm, uselib, nfsservctl
)
_AARCH64 = (
    *(117, 270, 271, 272),
    *(40, 39, 41, 51, 97, 268),
    *(217, 218, 219),
    *(280, 241, 282, 262),
    *(104, 294, 142),
    *(105, 273, 106),
    *(224, 225, 89, 60),
    *(264, 265),
    *(170, 112, 266, 171),
    *(161, 162, 116, 58),
    *(42,),
)

_TABLES = {
    "x86_64": (0xC000003E, 56, 41, _X86_64),
    "aarch64": (0xC00000B7, 220, 198, _AARCH64),
}
"""Machine -> its AUDIT_ARCH, clone, socket, and the numbers that are refused."""

_Instruction = tuple[int, int, int, int]


class _Filter(ctypes.Structure):
    _fields_ = (
        ("code", ctypes.c_uint16),
        ("jt", ctypes.c_uint8),
        ("jf", ctypes.c_uint8),
        ("k", ctypes.c_uint32),
    )


class _Program(ctypes.Structure):
    _fields_ = (("len", ctypes.c_ushort), ("filter", ctypes.POINTER(_Filter)))


def restrict(*, network: bool) -> None:
    """Have the kernel refuse such calls to this process and what it starts, for good.

    The process must have ``no_new_privs`` set.

    Args:
        network: whether sockets may be made.

    Raises:
        OSError: the kernel has no seccomp, or this machine's table is not known.
    """
    machine = platform.machine()
    if machine not in _TABLES:
        msg = f"seccomp: no table of system calls for {machine}"
        raise OSError(msg)
    lines = list(_lines(*_TABLES[machine], network=network))
    filters = (_Filter * len(lines))(*(_Filter(*line) for line in lines))
    program = _Program(len(lines), filters)
    prctl(PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(program))


def _lines(
    architecture: int, clone: int, socket: int, table: tuple[int, ...], *, network: bool
) -> Iterator[_Instruction]:
    yield (_LOAD, 0, 0, _ARCHITECTURE)
    yield (_JUMP_IF_EQUAL, 1, 0, architecture)
    yield (_RETURN, 0, 0, _KILL_PROCESS)
    yield (_LOAD, 0, 0, _NUMBER)
    yield (_JUMP_IF_GREATER, 0, 1, _LAST_KNOWN)
    yield (_RETURN, 0, 0, _ERRNO | errno.ENOSYS)
    yield (_JUMP_IF_EQUAL, 0, 1, _CLONE3)
    yield (_RETURN, 0, 0, _ERRNO | errno.ENOSYS)
    for number in (*_EVERYWHERE, *table, *(() if network else (socket,))):
        yield (_JUMP_IF_EQUAL, 0, 1, number)
        yield (_RETURN, 0, 0, _ERRNO | errno.EPERM)
    yield (_JUMP_IF_EQUAL, 0, 3, clone)
    yield (_LOAD, 0, 0, _FIRST_ARGUMENT)
    yield (_JUMP_IF_SET, 0, 1, _NEW_NAMESPACES)
    yield (_RETURN, 0, 0, _ERRNO | errno.EPERM)
    yield (_RETURN, 0, 0, _ALLOW)
