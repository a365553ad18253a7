"""A verified, resumable pull against what bounds it, and against a stock client."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.measuring import at_least, at_most, ratio, summaries, take_turns
from benchmarks.processes import SideError, ask
from benchmarks.repository.large import Large, large_release, task_of
from model_zoo.canonical import JsonObject

MIN_OF_SLOWER_BOUND = 0.95
MAX_OVER_HUB = 1.0
MEMORY = Path("/dev/shm")  # noqa: S108  a file system in memory, not a known file name


def measure_pull(*, size_bytes: int, rounds: int, seconds: float) -> JsonObject:
    """Return what a pull from a pinned root takes beside its bounds and a peer.

    ``sha256`` hashes the file where it lies; ``loopback`` reads it from the same
    service and drops it; neither writes. The pull walks from the root, asks the log,
    reads, hashes, writes, syncs and renames.
    """
    at = MEMORY if MEMORY.is_dir() else None
    with (
        TemporaryDirectory(prefix="zoo-bench-", dir=at) as folder,
        large_release(Path(folder), size_bytes=size_bytes) as large,
    ):
        sides = {
            "ours": lambda: _pulled(large),
            "sha256": lambda: ask("bytes_only", task_of(large, bound="sha256")),
            "loopback": lambda: ask("bytes_only", task_of(large, bound="loopback")),
            "huggingface_hub": large.hub_downloaded,
        }
        said = take_turns(sides, rounds=rounds, seconds=seconds)
        resumed = _resumed(large, size_bytes=size_bytes)
    return _result(said) | {"size_bytes": size_bytes, "killed half-way": resumed}


def _result(said: Mapping[str, list[JsonObject]]) -> JsonObject:
    slower = [
        max(bounds, key=lambda each: float(each["seconds"]))
        for bounds in zip(said["sha256"], said["loopback"], strict=True)
    ]
    speed = ratio(slower, said["ours"])
    hub = ratio(said["ours"], said["huggingface_hub"])
    return {
        "sides": {name: summaries(rounds) for name, rounds in said.items()},
        "huggingface_hub": said["huggingface_hub"][0]["version"],
        "speed over the slower bound": speed,
        "ours over huggingface_hub": hub,
        "goals": {
            "pull speed over the slower bound": at_least(
                speed["median"], MIN_OF_SLOWER_BOUND
            ),
            "pull over huggingface_hub": at_most(hub["median"], MAX_OVER_HUB),
        },
    }


def _pulled(large: Large) -> JsonObject:
    to, cache = large.folder / "pulled", large.folder / "cache"
    try:
        return ask("trusted_pull", task_of(large, to=str(to), cache=str(cache)))
    finally:
        shutil.rmtree(to, ignore_errors=True)
        shutil.rmtree(cache, ignore_errors=True)


def _resumed(large: Large, *, size_bytes: int) -> JsonObject:
    """Return what a pull finds and takes after one that died half-way."""
    to, cache = large.folder / "resumed", large.folder / "resumed-cache"
    task = task_of(large, to=str(to), cache=str(cache))
    try:
        ask("trusted_pull", {**task, "die_after_bytes": size_bytes // 2})
    except SideError:
        return ask("trusted_pull", task)
    msg = "the first pull was to die half-way, and did not"
    raise SideError(msg)
