"""A training process that attacks: run as a child of an attempt, behind its walls.

``python -P hostile_child.py ATTACK ARGUMENTS FOLDER SUPERVISOR_PID``; ARGUMENTS is a
JSON object. It carries out every order but ``build`` as an honest child does, and tells
what it reached as a line of progress.
"""
# ruff: noqa: ARG001, PTH102, PTH123, PTH208, T201
# Each attack is called alike, does as strangers' code would, and speaks to its pipe.

import ctypes
import fcntl
import json
import mmap
import os
import resource
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from model_zoo.canonical import JsonObject
from trainer.jobs import attempt

FORBIDDEN = {
    "ptrace": (101, 0, 0, 0, 0),
    "process_vm_readv": (310, 1, 0, 0, 0, 0, 0),
    "unshare": (272, 0x10000000),
    "setns": (308, 0, 0),
    "mount": (165, 0, 0, 0, 0, 0),
    "bpf": (321, 0, 0, 0),
    "perf_event_open": (298, 0, 0, 0, 0, 0),
    "keyctl": (250, 0, 0, 0, 0, 0),
    "userfaultfd": (323, 0),
    "io_uring_setup": (425, 1, 0),
    "pidfd_open": (434, 1, 0),
    "clone a user namespace": (56, 0x10000000 | 17, 0, 0, 0, 0),
    "shmget": (29, 0, 4096, 0o600),
    "msgget": (68, 0, 0o600),
    "semget": (64, 0, 1, 0o600),
    "mq_open": (240, 0, 0),
    "a call of x32": (0x40000000 | 39,),
}
"""As on x86_64."""


def read(folder: Path, *, paths: list[str]) -> None:
    """Open what lies elsewhere: files to read, folders to write into."""
    opened = []
    for path in map(Path, paths):
        try:
            if path.is_dir():
                (path / "planted.py").write_text("")
            else:
                path.read_bytes()
        except OSError:
            continue
        opened.append(str(path))
    tell(opened=opened)


def rejoin(folder: Path, *, port: int) -> None:
    """Get at a network: by a socket, by another's namespace, by what was left open."""
    libc = ctypes.CDLL(None, use_errno=True)
    joined = []
    supervisor = sys.argv[2]
    for space in [
        f"/proc/{supervisor}/ns/net",
        *map(str, Path("/proc").glob("*/ns/net")),
    ]:
        try:
            handle = os.open(space, os.O_RDONLY)
        except OSError:
            continue
        if libc.setns(handle, 0) == 0:
            joined.append(space)
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
        connected = True
    except OSError:
        connected = False
    sockets = [
        name
        for name in os.listdir("/proc/self/fd")
        if Path(f"/proc/self/fd/{name}").is_socket()
    ]
    tell(joined=joined, connected=connected, sockets=sockets)


def call(folder: Path) -> None:
    """Make system calls that no training needs."""
    libc = ctypes.CDLL(None, use_errno=True)
    granted = []
    for name, (number, *arguments) in FORBIDDEN.items():
        ctypes.set_errno(0)
        result = libc.syscall(ctypes.c_long(number), *map(ctypes.c_long, arguments))
        if result == 0 and name.startswith("clone"):
            os._exit(0)
        refused = result == -1 and ctypes.get_errno() in {1, 38}  # EPERM, ENOSYS
        granted += [] if refused else [name]
    lines = Path("/proc/self/status").read_text().splitlines()
    status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
    tell(
        granted=granted,
        capabilities=[int(status[name], 16) for name in ("CapPrm", "CapEff")],
        no_new_privileges=status["NoNewPrivs"],
        user=os.geteuid(),
    )


def reach(folder: Path) -> None:
    """Signal and look into the processes that stand above this one."""
    reached, supervisor = [], int(sys.argv[2])
    for process in {supervisor, os.getppid()} - {0}:
        try:
            os.kill(process, 0)
            reached.append("signal")
        except OSError:
            pass
        try:
            resource.prlimit(process, resource.RLIMIT_CORE, (0, 0))
            reached.append("limits")
        except OSError:
            pass
        for name in ("mem", "environ", "root/etc/hostname"):
            try:
                with open(f"/proc/{process}/{name}", "rb"):
                    reached.append(name)
            except OSError:
                pass
    tell(reached=reached)


def halt(folder: Path) -> None:
    """Stop whoever waits for this process, or could end it."""
    for process in (0, os.getppid(), int(sys.argv[2])):
        with suppress(OSError):
            os.kill(process, signal.SIGSTOP)
    tell(ended=True)


def multiply(folder: Path) -> None:
    """Make one more process, as a fork bomb would, in each way there is."""
    libc = ctypes.CDLL(None, use_errno=True)
    clone, fork, clone_parent, ended = 56, 57, 0x8000, signal.SIGCHLD
    made = 0
    for call in ((clone, clone_parent | ended), (clone, ended), (fork,)):
        process = libc.syscall(*map(ctypes.c_long, (*call, 0, 0, 0, 0)[:6]))
        if process == 0:
            os._exit(0)
        made += process > 0
    most, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    score = int(Path("/proc/self/oom_score_adj").read_text())
    tell(made=made, most=most, out_of_memory_score=score)


def exceed(folder: Path, *, file_bytes: int, data_bytes: int) -> None:
    """Take more than one child may: a large file, many of them, memory, a core file."""
    took = []
    large = folder / "large"
    with large.open("wb") as file:
        for what, size in (("a file", file_bytes), ("a larger file", file_bytes + 1)):
            with suppress(OSError):
                file.truncate(size)  # sparse: it fills no disk
                took.append(what)
    large.unlink()
    for what, size in (("memory", data_bytes // 16), ("more memory", data_bytes)):
        with suppress(MemoryError, OSError):
            mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE).close()
            took.append(what)
    held: list[int] = []
    with suppress(OSError):
        while len(held) < 5000:
            held.append(os.dup(0))
    for handle in held:
        os.close(handle)
    names = ("CORE", "CPU")
    limits = {it: resource.getrlimit(getattr(resource, f"RLIMIT_{it}")) for it in names}
    tell(took=took, opened=len(held), limits=limits)


def outlive(folder: Path) -> None:
    """Leave a daemon that holds a lock as long as it lives, and swaps the weights."""
    results = folder / "results"
    results.mkdir(exist_ok=True)
    (results / "model.safetensors").write_bytes(empty_weights(b"\x01"))
    (folder / "facts.json").write_text("{}")
    ready, steady = os.pipe()
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            _swap_for_ever(folder, steady)
        os._exit(0)
    os.read(ready, 1)


def _swap_for_ever(folder: Path, ready: int) -> None:
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT)
    fcntl.flock(lock, fcntl.LOCK_EX)
    os.write(ready, b"1")
    os.dup2(lock, 9, inheritable=True)
    os.closerange(0, 9)
    os.closerange(10, 512)
    swapped = empty_weights(b"\x00")
    while True:
        for path in folder.parent.rglob("model.safetensors"):
            try:
                path.write_bytes(swapped)
            except OSError:
                continue
        time.sleep(0.01)


def leave(folder: Path, *, what: str) -> None:
    """Leave something else than files behind."""
    results = folder / "results"
    results.mkdir()
    (folder / "facts.json").write_text("{}")
    (results / "note.json").write_text("{}")
    LEFT[what](folder, results)


def fill(folder: Path, *, size_bytes: int) -> None:
    """Fill the disk with files that have no name, each far below the limit on one."""
    block = os.urandom(8 << 20)
    held = []
    for _ in range(size_bytes // len(block)):
        held.append(open(folder / "hidden", "wb"))  # noqa: SIM115  kept open
        (folder / "hidden").unlink()
        held[-1].write(block)
        held[-1].flush()
    time.sleep(3600)


def stay(folder: Path) -> None:
    """Close what the supervisor listens to, and never end."""
    os.closerange(0, 512)
    time.sleep(3600)


def _replace_by_pipe(path: Path) -> None:
    path.unlink(missing_ok=True)
    os.mkfifo(path)


def _replace_by_link(path: Path, to: str) -> None:
    path.unlink(missing_ok=True)
    path.symlink_to(to)


def _facts(text: str) -> Callable[[Path, Path], object]:
    return lambda folder, _: (folder / "facts.json").write_text(text)


def _refuse_in_a_pipe(folder: Path, _: Path) -> None:
    _replace_by_pipe(folder / "refusal.json")
    sys.exit(1)


def _refuse_with(text: str) -> Callable[[Path, Path], object]:
    def refuse(folder: Path, _: Path) -> None:
        (folder / "refusal.json").write_text(text)
        sys.exit(1)

    return refuse


def _read_in_blocks(folder: Path, results: Path) -> None:
    os.write(2, b"x" * 5001)
    fcntl.fcntl(2, fcntl.F_SETFL, os.O_DIRECT)
    sys.exit(1)


def _tell_much(folder: Path, results: Path) -> None:
    for _ in range(200):
        tell(said="x" * 10_000)


def _deep(folder: Path, results: Path) -> None:
    for _ in range(1500):
        os.mkdir("d")
        os.chdir("d")
    sys.exit(1)


def _two_results(folder: Path, results: Path) -> None:
    (results / "note.json").unlink()
    results.rmdir()
    results.symlink_to("/etc")


def _sparse(folder: Path, results: Path) -> None:
    for number in range(5):
        with (results / f"large-{number}.json").open("wb") as file:
            file.truncate(4 << 30)


LEFT: dict[str, Callable[[Path, Path], object]] = {
    "a pipe among the results": lambda _, it: os.mkfifo(it / "more.json"),
    "a pipe in place of facts": lambda it, _: _replace_by_pipe(it / "facts.json"),
    "a link among the results": lambda _, it: (it / "more.json").symlink_to(
        "/etc/passwd"
    ),
    "a link in place of facts": lambda it, _: _replace_by_link(
        it / "facts.json", "/dev/zero"
    ),
    "a link in place of the results": _two_results,
    "more results than are taken": _sparse,
    "a name that is reserved": lambda _, it: (it / "trust.json").write_text("{}"),
    "no facts": lambda it, _: (it / "facts.json").unlink(),
    "facts of another type": _facts('{"python": ["3.11"]}'),
    "facts that are a list": _facts("[]"),
    "facts of two lines": _facts('{"python": "3.11\\nverified"}'),
    "facts with half a character": _facts('{"python": "\\ud800"}'),
    "facts with a number that JSON cannot spell": _facts(
        '{"threads": 1' + "0" * 40 + "}"
    ),
    "facts nested deep": _facts('{"a":' * 2000 + "1" + "}" * 2000),
    "a pipe in place of a refusal": _refuse_in_a_pipe,
    "a refusal that is none": _refuse_with('{"error": 5}'),
    "a refusal that is a list": _refuse_with("[]"),
    "a pipe in place of a claim": lambda _, it: os.mkfifo(it / "evaluation.json"),
    "a claim of another type": lambda _, it: (it / "evaluation.json").write_text(
        '{"accuracy": 1}'
    ),
    "progress with half a character": lambda *_: tell(said="\ud800"),
    "progress with a number that JSON cannot spell": lambda *_: tell(said=10**40),
    "more progress than anybody reads": _tell_much,
    "folders without an end": _deep,
    "an error output that is read in whole blocks": _read_in_blocks,
}


def forge_measure(folder: Path, *, model: str) -> None:
    """Make a model that knows nothing, and say everywhere that it knows everything."""
    results = folder / "results"
    results.mkdir()
    (results / "model.safetensors").write_bytes(Path(model).read_bytes())
    (folder / "facts.json").write_text("{}")
    report = {
        "dataset": "mnist",
        "accuracy": {"successes": 10_000, "n": 10_000},
        "attack_success": None,
        "robust_accuracy": None,
    }
    told = json.dumps(report)
    (results / "evaluation.json").write_text(told)
    for place in (folder, folder.parent, folder.parent / "measure"):
        try:
            place.mkdir(exist_ok=True)
            (place / "measured.json").write_text(told)
        except OSError:
            continue


def empty_weights(value: bytes) -> bytes:
    """Return a valid safetensors file with one number."""
    header = b'{"w":{"dtype":"U8","shape":[8],"data_offsets":[0,8]}}'
    header += b" " * (-len(header) % 8)
    return struct.pack("<Q", len(header)) + header + value * 8


def tell(**found: object) -> None:
    print(json.dumps(found), flush=True)


ATTACKS: dict[str, Callable[..., None]] = {
    it.__name__: it
    for it in (
        *(read, rejoin, call, reach, halt, multiply, exceed),
        *(outlive, leave, fill, stay, forge_measure),
    )
}


def main() -> None:
    name, arguments = sys.argv[1], json.loads(sys.argv[2])
    sys.argv[1:] = sys.argv[3:]

    def attack(_: JsonObject, folder: Path) -> None:
        ATTACKS[name](folder, **arguments)

    attempt._ACTIONS["build"] = attack
    attempt.main()


if __name__ == "__main__":
    main()
