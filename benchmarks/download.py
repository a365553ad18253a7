"""Claim: a verified pull costs no more than a download that somebody hashes.

``zoo serve`` serves a release of 1 GB over loopback to the real client, which hashes,
writes, syncs to disk and renames. Peers fetch the same bytes from the same handler:
``curl``, then a pass of hashlib; ``curl`` alone; ``huggingface_hub``, which verifies
nothing.
"""

import hashlib
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks import peers
from benchmarks.measuring import Options, Side, ratio, summaries, take_turns
from benchmarks.processes import ask, zoo_served
from model_zoo.canonical import JsonObject
from model_zoo.client import ZooClient
from model_zoo.keys import SigningKey
from trainer.lab.processes import running, wait_for_ready

GIGABYTE = 10**9
QUICK_BYTES = 4 * 10**6
RELEASE = "alice/big@1"
NAME = "model.safetensors"
CHUNK_BYTES = 1 << 20
ROUNDS = 7
MAX_OVER_HASHED_CURL = 1.25
MAX_OVER_HUB = 1.0
MAX_PEAK_BYTES = 200 * 10**6
NEEDS = ("huggingface_hub==2.4.0",)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where the bytes come from and go to."""

    folder: Path
    url: str
    hub_url: str
    key: str
    sha256: str

    @property
    def file_url(self) -> str:
        """Where the zoo serves the file."""
        return f"{self.url}/api/v1/models/alice/big/releases/1/files/{NAME}"


def measure(options: Options) -> JsonObject:
    """Return what each side took, the ratios, and what they mean for the goals."""
    size_bytes = QUICK_BYTES if options.quick else GIGABYTE
    rounds = options.rounds or (1 if options.quick else ROUNDS)
    with (
        tempfile.TemporaryDirectory(prefix="zoo-bench-") as folder,
        _published(Path(folder), size_bytes=size_bytes) as (place, publishing),
    ):
        sides = {
            "ours": lambda: _pull(place),
            "curl, then hashlib": lambda: _curl(place),
            "huggingface_hub": lambda: _hub(place),
        }
        said = take_turns(
            {name: _after_sync(side) for name, side in sides.items()}, rounds=rounds
        )
    return _result(said) | {"size_bytes": size_bytes, "publish_seconds": publishing}


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
            "over curl, then hashlib": _at_most(hashed["median"], MAX_OVER_HASHED_CURL),
            "over huggingface_hub": _at_most(hub["median"], MAX_OVER_HUB),
            "peak bytes": _at_most(peak_bytes, MAX_PEAK_BYTES),
        },
    }


def _at_most(found: float, limit: float) -> JsonObject:
    return {"at_most": limit, "found": found, "met": found <= limit}


@contextmanager
def _published(folder: Path, *, size_bytes: int) -> Iterator[tuple[_Place, float]]:
    """Serve a release of one file; yield where it is and how long publishing took."""
    source = folder / "source"
    source.mkdir()
    sha256 = _write_safetensors(source / NAME, size_bytes=size_bytes)
    key = SigningKey.generate()
    with zoo_served(folder) as url, ZooClient(url) as zoo:
        zoo.bind_publisher("alice", key.public)
        started = time.perf_counter()
        zoo.publish(RELEASE, source, key=key)
        publishing = time.perf_counter() - started
        shutil.rmtree(source)
        task = {
            "data_dir": str(folder / "data"),
            "sha256": sha256,
            "size_bytes": size_bytes,
            "ready": str(folder / "hub.json"),
        }
        log = folder / "hub.log"
        arguments = ["benchmarks.sides.hub", json.dumps(task)]
        with running(arguments, log=log) as process:
            hub = wait_for_ready(folder / "hub.json", process=process, log=log)
            place = _Place(
                folder=folder,
                url=url,
                hub_url=hub["url"],
                key=key.public.to_pem(),
                sha256=sha256,
            )
            yield place, publishing


def _write_safetensors(path: Path, *, size_bytes: int) -> str:
    """Write random bytes as one tensor, ``size_bytes`` in all; return the SHA-256."""
    header_bytes = 128
    data_bytes = size_bytes - 8 - header_bytes
    entry = {"dtype": "U8", "shape": [data_bytes], "data_offsets": [0, data_bytes]}
    header = json.dumps({"weights": entry}).encode().ljust(header_bytes)
    digest = hashlib.sha256()
    with path.open("wb") as file:
        for piece in (
            header_bytes.to_bytes(8, "little"),
            header,
            *_random_pieces(data_bytes),
        ):
            file.write(piece)
            digest.update(piece)
    return digest.hexdigest()


def _random_pieces(size_bytes: int) -> Iterator[bytes]:
    for start in range(0, size_bytes, CHUNK_BYTES):
        yield os.urandom(min(CHUNK_BYTES, size_bytes - start))


def _pull(place: _Place) -> JsonObject:
    to = place.folder / "pulled"
    task = {"url": place.url, "release": RELEASE, "key": place.key, "to": str(to)}
    try:
        return ask("pull", task)
    finally:
        shutil.rmtree(to, ignore_errors=True)


def _curl(place: _Place) -> JsonObject:
    to = place.folder / "curled"
    command = ["curl", "--silent", "--show-error", "--fail", "--output", str(to)]
    started = time.perf_counter()
    subprocess.run([*command, place.file_url], check=True)  # noqa: S603  our own words
    arrived = time.perf_counter()
    with to.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    ended = time.perf_counter()
    to.unlink()
    if found != place.sha256:
        msg = "curl fetched other bytes"
        raise RuntimeError(msg)
    return {
        "seconds": ended - started,
        "curl_seconds": arrived - started,
        "hash_seconds": ended - arrived,
    }


def _hub(place: _Place) -> JsonObject:
    home = place.folder / "hub-home"
    task = {"url": place.hub_url, "name": NAME, "home": str(home)}
    python = peers.environment("huggingface_hub", NEEDS)
    try:
        return ask("hub_download", task, python=python)
    finally:
        shutil.rmtree(home, ignore_errors=True)
