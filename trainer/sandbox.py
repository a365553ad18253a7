"""What a training process gives up before it reads its order.

The process that trains runs the most code of other people's making, so it holds no
key and no token, and here it gives up what else it does not need: outliving its
supervisor, big files, core dumps, the network. Tying and dropping are Linux's; the
limits hold elsewhere too.

Source:
    prctl(2), unshare(2), setrlimit(2).
"""

import ctypes
import os
import resource
import signal
import sys
from dataclasses import dataclass

PR_SET_PDEATHSIG = 1
CLONE_NEWUSER = 0x10000000
CLONE_NEWNET = 0x40000000

MAX_OPEN_FILES = 512
CPU_SECONDS_PER_SECOND = 4
"""Torch's own helper threads may run beside the one that trains."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The most that one attempt may take; sizes in bytes."""

    max_seconds: int
    file_bytes: int = 4 << 30
    data_bytes: int = 16 << 30


def enter(limits: Limits, *, supervisor: int) -> None:
    """Tie this process to its supervisor and bound what it may take.

    Args:
        limits: what the attempt may take.
        supervisor: the process id that started this one.

    Raises:
        SystemExit: the supervisor is already dead.
    """
    _die_with(supervisor)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_NOFILE, MAX_OPEN_FILES)
    _limit(resource.RLIMIT_FSIZE, limits.file_bytes)
    _limit(resource.RLIMIT_DATA, limits.data_bytes)
    _limit(resource.RLIMIT_CPU, limits.max_seconds * CPU_SECONDS_PER_SECOND)


def die_with_parent() -> None:
    """Have the kernel kill this process when the one that started it ends (Linux)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def drop_network() -> bool:
    """Move into an empty network namespace; return whether the system let us.

    Root may do so at once, others through a user namespace where those are allowed.
    """
    if sys.platform != "linux":
        return False
    libc = ctypes.CDLL(None, use_errno=True)
    return any(
        libc.unshare(flags) == 0
        for flags in (CLONE_NEWNET, CLONE_NEWUSER | CLONE_NEWNET)
    )


def _die_with(supervisor: int) -> None:
    die_with_parent()
    # The supervisor may have died before the line above took effect.
    if os.getppid() != supervisor:
        sys.exit("the supervisor of this attempt is gone")


def _limit(what: int, value: int) -> None:
    _, hard = resource.getrlimit(what)
    ceiling = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(what, (ceiling, ceiling))
