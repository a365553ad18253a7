"""What a training process gives up before it does what its order says.

The process that trains runs the most code of other people's making, so it holds no
key and no token, and here it gives up what else it does not need: its supervisor's
user, every file but those it works with, other processes, the network, capabilities,
system calls, and outliving its supervisor. What the system does not grant is missing
and told; the supervisor decides whether what is left keeps its secrets.

Source:
    prctl(2), setrlimit(2), pid_namespaces(7).
"""

import os
import resource
import select
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

from trainer.sandbox import landlock, namespaces, seccomp
from trainer.sandbox.kernel import (
    PR_SET_CHILD_SUBREAPER,
    PR_SET_DUMPABLE,
    PR_SET_NO_NEW_PRIVS,
    PR_SET_PDEATHSIG,
    drop_capabilities,
    enter_user_namespace,
    prctl,
)

MAX_OPEN_FILES = 512
CPU_SECONDS_PER_SECOND = 4
"""Torch's own helper threads may run beside the one that trains."""
MAX_PROCESSES = 1024
"""Threads count, too; a user namespace counts its own only."""
FIRST_TO_GO = "1000"
"""The kernel ends it before anybody else when memory runs out; see proc(5)."""
ROOT = ".root"
"""An empty folder in the scratch folder, on which the root of its own is built."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The most that one attempt may take; sizes in bytes."""

    max_seconds: int
    file_bytes: int = 4 << 30
    data_bytes: int = 16 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is left to one child.

    Attributes:
        user: whose rights it gets, user and group; None for its supervisor's.
        network: whether it keeps the network.
        rules: path and what may be done there, as for ``landlock.restrict``.
    """

    user: int | None
    network: bool
    rules: tuple[tuple[str, int], ...]


@dataclass(slots=True)
class Standing:
    """What is in force, and what is missing and why, in words."""

    held: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    def attempt(self, name: str, act: Callable[[], object]) -> bool:
        """Do ``act``; return whether the system let us."""
        try:
            act()
        except OSError as error:
            self.missing.append(f"{name} ({error})")
            return False
        self.held.append(name)
        return True

    @property
    def is_offline(self) -> bool:
        """Whether nothing can be called: no network, or no socket can be made."""
        return any(name.endswith(" net") or name == "seccomp" for name in self.held)

    def __str__(self) -> str:
        missing = f"; missing: {', '.join(self.missing)}" if self.missing else ""
        return f"{', '.join(self.held)}{missing}"


def enter(limits: Limits, *, supervisor: int) -> None:
    """Bound what this process, and all it starts, may take.

    Args:
        limits: what the attempt may take.
        supervisor: the process id that started this one.

    Raises:
        SystemExit: the supervisor is already dead.
    """
    if os.getppid() != supervisor:
        sys.exit("the supervisor of this attempt is gone")
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_NOFILE, MAX_OPEN_FILES)
    _limit(resource.RLIMIT_FSIZE, limits.file_bytes)
    _limit(resource.RLIMIT_DATA, limits.data_bytes)
    _limit(resource.RLIMIT_CPU, limits.max_seconds * CPU_SECONDS_PER_SECOND)


def confine(plan: Plan, folder: Path) -> Standing:
    """Go on in a child that has no more than ``plan`` leaves it; say what is in force.

    The caller's process stays outside and never returns: it ends the child, and all
    that the child started, when its own stdin is closed, and ends as the child ended.

    Args:
        plan: what is left.
        folder: the scratch folder; becomes the working directory.
    """
    standing = Standing()
    if sys.platform != "linux":
        standing.missing.append(f"every wall but limits ({sys.platform})")
        os.chdir(folder)
        return standing
    spaces = _leave(plan, standing)
    outside, inside = os.pipe()
    prctl(PR_SET_CHILD_SUBREAPER, 1)
    child = os.fork()
    if child:
        os.close(outside)
        _outlast(child, apart=spaces)
    os.close(inside)
    os.setsid()  # kill(0) reaches a whole group, in other process namespaces as well
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    _settle(plan, folder, standing, spaces=spaces)
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)  # a change of user has it forgotten
    os.set_blocking(outside, False)
    with suppress(BlockingIOError):
        os.read(outside, 1)
        sys.exit("the supervisor of this attempt is gone")
    os.close(outside)
    _wall_in(plan, standing, apart=spaces)
    return standing


def die_with_parent() -> None:
    """Have the kernel kill this process when the one that started it ends (Linux)."""
    if sys.platform == "linux":
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def keep_memory_private() -> None:
    """Let no other process of this user read this one's memory, on Linux."""
    if sys.platform == "linux":
        prctl(PR_SET_DUMPABLE, 0)


def show_memory() -> None:
    """Undo ``keep_memory_private``: without, its ``/proc/self`` belongs to root."""
    if sys.platform == "linux":
        prctl(PR_SET_DUMPABLE, 1)


def _leave(plan: Plan, standing: Standing) -> bool:
    try:
        names = namespaces.leave(network=plan.network)
    except OSError as error:
        standing.missing.append(f"namespaces ({error})")
        return False
    standing.held.append(f"namespaces {names}")
    return True


def _settle(plan: Plan, folder: Path, standing: Standing, *, spaces: bool) -> None:
    """Take on the root and the user of the plan, and be the first to go."""
    is_other = plan.user is not None
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(FIRST_TO_GO)
    if spaces:
        base = folder / ROOT
        base.mkdir()
        standing.attempt(
            "a root of its own",
            lambda: namespaces.build_root(base, plan.rules, writable_proc=is_other),
        )
    os.chdir(folder)
    if plan.user is not None:
        os.setgroups([])
        os.setresgid(plan.user, plan.user, plan.user)
        os.setresuid(plan.user, plan.user, plan.user)
        show_memory()  # a change of user hides it
        standing.attempt("user namespace", enter_user_namespace)
    if spaces:  # elsewhere all processes of the user count, on the whole machine
        _limit(resource.RLIMIT_NPROC, MAX_PROCESSES)
    standing.held.insert(0, f"user {os.geteuid()}")


def _wall_in(plan: Plan, standing: Standing, *, apart: bool) -> None:
    prctl(PR_SET_NO_NEW_PRIVS, 1)
    standing.attempt("no capabilities", drop_capabilities)
    rules = (*plan.rules, ("/proc", landlock.READ))
    standing.attempt("landlock", lambda: landlock.restrict(rules))
    alone = not apart and not plan.network
    standing.attempt(
        "seccomp", lambda: seccomp.restrict(network=plan.network, alone=alone)
    )


def _outlast(child: int, *, apart: bool) -> NoReturn:
    """Wait for ``child``, end what it left behind, and end as it ended.

    The first process of a process namespace takes all of it along. Without one, what
    it started is ours when it ends, whatever session it moved to.
    """
    ended = os.pidfd_open(child)
    ready, _, _ = select.select([0, ended], [], [])
    if ended not in ready:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if not apart:
        _kill_children()
    if os.WIFSIGNALED(status):
        os.kill(os.getpid(), os.WTERMSIG(status))
    os._exit(os.waitstatus_to_exitcode(status))


def _kill_children() -> None:
    """Kill every child of this process, and theirs as they become ours."""
    tasks = Path("/proc/self/task")
    while True:
        for task in tasks.iterdir():
            for child in (task / "children").read_text().split():
                with suppress(ProcessLookupError):
                    os.kill(int(child), signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _limit(what: int, value: int) -> None:
    _, hard = resource.getrlimit(what)
    ceiling = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(what, (ceiling, ceiling))
