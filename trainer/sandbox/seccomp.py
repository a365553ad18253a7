"""Seccomp: system calls that no training needs are refused by the kernel.

They look into or change other processes, other namespaces, mounts, keys, the clock or
the kernel itself, or leave something that outlives the process; without a network,
making a socket is one of them. Where no process namespace ends and hides processes, no
other one can be made or signalled either. What this list does not know yet, being newer
than it, is refused as well.

Source:
    seccomp(2); the numbers are those of Linux's syscall tables (x86_64, and the generic
    table for aarch64).
"""

import ctypes
import errno
import os
import platform
from collections.abc import Iterator
from typing import NamedTuple

from trainer.sandbox.kernel import (
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
_NUMBER, _ARCHITECTURE, _FIRST_ARGUMENT, _SECOND_ARGUMENT = 0, 4, 16, 24
"""Where the fields lie in ``struct seccomp_data``; arguments little-endian."""
_CLONE_THREAD = 0x00010000
_F_SETOWN, _F_SETOWN_EX = 8, 15
"""Of fcntl: who is signalled when a descriptor is ready."""
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
    *(29, 64, 68, 240),  # shmget, semget, msgget, mq_open: what they make stays
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
    *(194, 190, 186, 180),
)


class _Table(NamedTuple):
    """The numbers of one architecture, and its AUDIT_ARCH.

    ``to_others`` are fork, vfork, kill, tkill, rt_sigqueueinfo, rt_tgsigqueueinfo and
    pidfd_send_signal.
    """

    architecture: int
    clone: int
    socket: int
    prlimit: int
    tgkill: int
    fcntl: int
    refused: tuple[int, ...]
    to_others: tuple[int, ...]


_TABLES = {
    "x86_64": _Table(
        *(0xC000003E, 56, 41, 302, 234, 72),
        refused=(*_EVERYWHERE, *_X86_64),
        to_others=(57, 58, 62, 200, 129, 297, 424),
    ),
    "aarch64": _Table(
        *(0xC00000B7, 220, 198, 261, 131, 25),
        refused=(*_EVERYWHERE, *_AARCH64),
        to_others=(129, 130, 138, 240, 424),
    ),
}

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


def restrict(*, network: bool, alone: bool) -> None:
    """Have the kernel refuse such calls to this process and what it starts, for good.

    The process must have ``no_new_privs`` set.

    Args:
        network: whether sockets may be made.
        alone: whether no other process may be made or signalled; threads may.

    Raises:
        OSError: the kernel has no seccomp, or this machine's table is not known.
    """
    machine = platform.machine()
    if machine not in _TABLES:
        msg = f"seccomp: no table of system calls for {machine}"
        raise OSError(msg)
    table = _TABLES[machine]
    lines = [
        *_refusals(table, network=network),
        *(_solitude(table) if alone else ()),
        *_conditions(table),
        (_RETURN, 0, 0, _ALLOW),
    ]
    filters = (_Filter * len(lines))(*(_Filter(*line) for line in lines))
    program = _Program(len(lines), filters)
    prctl(PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.addressof(program))


def _refusals(table: _Table, *, network: bool) -> Iterator[_Instruction]:
    yield (_LOAD, 0, 0, _ARCHITECTURE)
    yield (_JUMP_IF_EQUAL, 1, 0, table.architecture)
    yield (_RETURN, 0, 0, _KILL_PROCESS)
    yield (_LOAD, 0, 0, _NUMBER)
    yield (_JUMP_IF_GREATER, 0, 1, _LAST_KNOWN)
    yield (_RETURN, 0, 0, _ERRNO | errno.ENOSYS)
    yield (_JUMP_IF_EQUAL, 0, 1, _CLONE3)
    yield (_RETURN, 0, 0, _ERRNO | errno.ENOSYS)
    for number in (*table.refused, *(() if network else (table.socket,))):
        yield from _refuse(number)


def _solitude(table: _Table) -> Iterator[_Instruction]:
    """Refuse what makes or signals another process; libc ends its own by tgkill."""
    for number in table.to_others:
        yield from _refuse(number)
    yield from _refuse_if(table.tgkill, (_JUMP_IF_EQUAL, 1, 0, os.getpid()))
    yield from _refuse_if(table.clone, (_JUMP_IF_SET, 1, 0, _CLONE_THREAD))
    for command in (_F_SETOWN, _F_SETOWN_EX):
        rule = (_JUMP_IF_EQUAL, 0, 1, command)
        yield from _refuse_if(table.fcntl, rule, argument=_SECOND_ARGUMENT)


def _conditions(table: _Table) -> Iterator[_Instruction]:
    """Refuse new namespaces, and the limits of another process than this one."""
    yield from _refuse_if(table.clone, (_JUMP_IF_SET, 0, 1, _NEW_NAMESPACES))
    yield from _refuse_if(table.prlimit, (_JUMP_IF_EQUAL, 1, 0, 0))


def _refuse(number: int) -> Iterator[_Instruction]:
    yield (_JUMP_IF_EQUAL, 0, 1, number)
    yield (_RETURN, 0, 0, _ERRNO | errno.EPERM)


def _refuse_if(
    number: int, rule: _Instruction, *, argument: int = _FIRST_ARGUMENT
) -> Iterator[_Instruction]:
    """Refuse a call unless ``rule``, of that argument, jumps over one instruction."""
    yield (_JUMP_IF_EQUAL, 0, 4, number)
    yield (_LOAD, 0, 0, argument)
    yield rule
    yield (_RETURN, 0, 0, _ERRNO | errno.EPERM)
    yield (_LOAD, 0, 0, _NUMBER)
