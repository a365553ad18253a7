"""Claim: what the zoo proves costs little, however many releases it holds.

Parts, each by itself with ``--parts``: ``publish`` and ``client`` measure at each of
``--releases`` what one more release and one more walk cost; ``pull`` measures a
verified, resumable pull against its bounds and a stock client; ``concurrent`` lets 32
publish at once while a reader checks; ``scale`` builds the metadata of a zoo past one
machine. What comes of them is drawn by ``python -m benchmarks.repository.picture``.
"""

from collections.abc import Callable, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.measuring import Options
from benchmarks.repository.crowd import measure_crowd
from benchmarks.repository.large import GIGABYTE, QUICK_BYTES
from benchmarks.repository.millions import measure_scale
from benchmarks.repository.publishing import measure_publish
from benchmarks.repository.pulling import measure_pull
from benchmarks.repository.seeding import Seeded, seed_repository
from benchmarks.repository.walks import measure_clients
from model_zoo.canonical import JsonObject

RELEASES = (10, 1_000, 10_000, 100_000)
QUICK_RELEASES = (10,)
ROUNDS = {"publish": 40, "client": 12, "pull": 7}
CROWD, EACH = 32, 8
QUICK_CROWD, QUICK_EACH = 2, 1


def measure(options: Options) -> JsonObject:
    """Return what each part found, and the goals of all of them."""
    parts = options.parts or tuple(PARTS)
    found: JsonObject = {}
    if {"publish", "client"} & set(parts):
        found |= _growth(options, parts)
    for name in parts:
        if name in ALONE:
            found[name] = ALONE[name](options)
    goals = {
        what: goal
        for part in found.values()
        for what, goal in part.pop("goals", {}).items()
    }
    return {"parts": found, "goals": goals}


def _growth(options: Options, parts: tuple[str, ...]) -> JsonObject:
    """Seed a repository of each size and measure publishing and walks on them."""
    sizes = options.releases or (QUICK_RELEASES if options.quick else RELEASES)
    found: JsonObject = {}
    with TemporaryDirectory(prefix="zoo-bench-") as folder:
        repositories = [
            seed_repository(Path(folder) / str(size) / "data", releases=size)
            for size in sizes
        ]
        if "publish" in parts:
            rounds = _rounds(options, "publish")
            found["publish"] = measure_publish(
                repositories, rounds=rounds, seconds=options.seconds
            )
        if "client" in parts:
            found["client"] = _clients(repositories, options)
    return found


def _clients(repositories: list[Seeded], options: Options) -> JsonObject:
    rounds = _rounds(options, "client")
    seconds = options.seconds / len(repositories)
    found: JsonObject = {"goals": {}}
    for repository in repositories:
        result = measure_clients(repository, rounds=rounds, seconds=seconds)
        found["goals"] |= result.pop("goals")
        found[str(repository.releases)] = result
    return found


def _pull(options: Options) -> JsonObject:
    return measure_pull(
        size_bytes=QUICK_BYTES if options.quick else GIGABYTE,
        rounds=_rounds(options, "pull"),
        seconds=options.seconds,
    )


def _concurrent(options: Options) -> JsonObject:
    if options.quick:
        return measure_crowd(QUICK_CROWD, each=QUICK_EACH)
    return measure_crowd(CROWD, each=EACH)


def _scale(options: Options) -> JsonObject:
    return measure_scale(quick=options.quick)


ALONE: Mapping[str, Callable[[Options], JsonObject]] = {
    "pull": _pull,
    "concurrent": _concurrent,
    "scale": _scale,
}
PARTS = ("publish", "client", *ALONE)


def _rounds(options: Options, part: str) -> int:
    return options.rounds or (1 if options.quick else ROUNDS[part])
