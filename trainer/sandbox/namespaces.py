"""A root of its own for a process: the few paths it may use, and nothing else is there.

Source:
    mount_namespaces(7), pid_namespaces(7), user_namespaces(7), pivot_root(2).
"""

from collections.abc import Iterable
from pathlib import Path

from trainer.sandbox.kernel import (
    CLONE_NEWIPC,
    CLONE_NEWNET,
    CLONE_NEWNS,
    CLONE_NEWPID,
    CLONE_NEWUTS,
    MOUNT_ATTR_NODEV,
    MOUNT_ATTR_NOSUID,
    MOUNT_ATTR_RDONLY,
    MS_BIND,
    MS_NODEV,
    MS_NOEXEC,
    MS_NOSUID,
    MS_PRIVATE,
    MS_REC,
    enter_root,
    enter_user_namespace,
    mount,
    restrict_mount,
    unshare,
)
from trainer.sandbox.landlock import LIST, READ, USE, WRITE

_APART = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS
_ATTRIBUTES = {
    READ: MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV,
    USE: MOUNT_ATTR_NOSUID,
    WRITE: MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV,
}


def leave(*, network: bool) -> str:
    """Move into new namespaces and return their names.

    Root may do so at once, others through a user namespace where those are allowed. The
    process namespace is that of the next child.

    Args:
        network: whether to keep the network.

    Raises:
        OSError: the system does not let us.
    """
    flags = _APART if network else _APART | CLONE_NEWNET
    names = "mount pid ipc uts" if network else "mount pid ipc uts net"
    try:
        unshare(flags)
    except PermissionError:
        enter_user_namespace(flags)
        names = f"user {names}"
    return names


def build_root(
    base: Path, rules: Iterable[tuple[str, int]], *, writable_proc: bool
) -> None:
    """Make a root of the given paths and enter it; all that was mounted here goes.

    The process must be the first of a process namespace, in a mount namespace.

    Args:
        base: an empty folder on which the root is built.
        rules: path and what may be done there, as for ``landlock.restrict``.
        writable_proc: whether files below ``/proc`` may be written, as their owner.

    Raises:
        OSError: the system does not let us; the old root is still the root.
    """
    none = Path("none")
    mount(none, Path("/"), kind="none", flags=MS_REC | MS_PRIVATE, options="")
    options = "mode=755,size=1m"
    mount(none, base, kind="tmpfs", flags=MS_NOSUID | MS_NODEV, options=options)
    shown: list[tuple[Path, int]] = []
    for path, access in sorted((Path(path), access) for path, access in rules):
        if access == LIST:
            continue  # the names of what is shown are there
        inside = any(path.is_relative_to(it) and access == how for it, how in shown)
        if path.exists() and not inside:
            _show(base, path, access)
            shown.append((path, access))
    proc = base / "proc"
    proc.mkdir()
    mount(none, proc, kind="proc", flags=MS_NOSUID | MS_NODEV | MS_NOEXEC, options="")
    if not writable_proc:
        restrict_mount(proc, MOUNT_ATTR_RDONLY, below=False)
    restrict_mount(base, MOUNT_ATTR_RDONLY, below=False)
    enter_root(base)


def _show(base: Path, path: Path, access: int) -> None:
    target = base.joinpath(*path.parts[1:])
    if path.is_dir():
        target.mkdir(parents=True, exist_ok=True)
    else:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.touch(exist_ok=True)
    # what is mounted inside a folder to be written is this root itself
    flags = MS_BIND if access == WRITE else MS_BIND | MS_REC
    mount(path, target, kind="none", flags=flags, options="")
    restrict_mount(target, _ATTRIBUTES[access], below=access != WRITE)
