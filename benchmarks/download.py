"""Claim: a verified pull costs no more than a download that somebody hashes.

``zoo serve`` serves a release of 1 GB over loopback to the real client, which hashes,
writes, syncs to disk and renames. Peers fetch the same bytes from the same handler:
``curl``, then a pass of hashlib; ``curl`` alone; ``huggingface_hub``, which verifies
nothing.
"""

import hashlib
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from benchmarks.measuring import (
    Options,
    Side,
    at_most,
    ratio,
    summaries,
    take_turns,
)
from benchmarks.processes import ask
from benchmarks.repository.large import (
    GIGABYTE,
    QUICK_BYTES,
    Large,
    large_release,
    task_of,
)
from model_zoo.canonical import JsonObject

ROUNDS = 7
MAX_OVER_HASHED_CURL = 1.25
MAX_OVER_HUB = 1.0
MAX_PEAK_BYTES = 200 * 10**6


def measure(options: Options) -> JsonObject:
    """Return what each side took, the ratios, and what they mean for the goals."""
    size_bytes = QUICK_BYTES if options.quick else GIGABYTE
    rounds = options.rounds or (1 if options.quick else ROUNDS)
    with (
        tempfile.TemporaryDirectory(prefix="zoo-bench-") as folder,
        large_release(Path(folder), size_bytes=size_bytes) as large,
    ):
        sides = {
            "ours": lambda: _pull(large),
            "curl, then hashlib": lambda: _curl(large),
            "huggingface_hub": large.hub_downloaded,
        }
        said = take_turns(
            {name: _after_sync(side) for name, side in sides.items()}, rounds=rounds
        )
    return _result(said) | {
        "size_bytes": size_bytes,
        "publish_seconds": large.publish_seconds,
    }


def _after_sync(side: Side) -> Side:
    """Return ``side`` on a disk at rest: nobody pays for what the one before wrote."""

    def rested() -> JsonObject:
        os.sync()
        return side()

    return rested


def _result(said: dict[str, list[JsonObject]]) -> JsonObject:
    hashed = ratio(said["ours"], said["curl, then hashlib"])
    hub = ratio(said["ours"], said["huggingface_hub"])
    curls = [{"seconds": each["curl_seconds"]} for each in said["curl, then hashlib"]]
    peak_bytes = max(each["peak_bytes"] for each in said["ours"])
    return {
        "sides": {name: summaries(rounds) for name, rounds in said.items()},
        "huggingface_hub": said["huggingface_hub"][0]["version"],
        "ours_over_curl_then_hashlib": hashed,
        "ours_over_huggingface_hub": hub,
        "ours_over_curl_alone": ratio(said["ours"], curls),
        "goals": {
            "over curl, then hashlib": at_most(hashed["median"], MAX_OVER_HASHED_CURL),
            "over huggingface_hub": at_most(hub["median"], MAX_OVER_HUB),
            "peak bytes": at_most(peak_bytes, MAX_PEAK_BYTES),
        },
    }


def _pull(large: Large) -> JsonObject:
    to = large.folder / "pulled"
    try:
        return ask("pull", task_of(large, to=str(to)))
    finally:
        shutil.rmtree(to, ignore_errors=True)


def _curl(large: Large) -> JsonObject:
    to = large.folder / "curled"
    command = ["curl", "--silent", "--show-error", "--fail", "--output", str(to)]
    started = time.perf_counter()
    subprocess.run([*command, large.file_url], check=True)  # noqa: S603  our own words
    arrived = time.perf_counter()
    with to.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    ended = time.perf_counter()
    to.unlink()
    if found != large.sha256:
        msg = "curl fetched other bytes"
        raise RuntimeError(msg)
    return {
        "seconds": ended - started,
        "curl_seconds": arrived - started,
        "hash_seconds": ended - arrived,
    }
