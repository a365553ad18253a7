"""What a client pays to learn what a zoo vouches for: cold, and after one publish."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.measuring import Side, at_most, summaries, take_turns
from benchmarks.processes import zoo_served
from benchmarks.repository.relay import Relay, relayed
from benchmarks.repository.seeding import WEIGHTS, Seeded
from benchmarks.repository.weights import write_weights
from model_zoo.canonical import JsonObject
from model_zoo.client.zoo import ZooClient
from model_zoo.clock import system_clock
from model_zoo.http.server import Server
from model_zoo.names import ReleaseName
from model_zoo.statements.folder import BUNDLE_NAME
from model_zoo.statements.policy import Policy
from model_zoo.tuf.releases import trusted_release
from model_zoo.tuf.roles import target_path
from model_zoo.tuf.updater import (
    Anchor,
    refreshed,
)
from model_zoo.tuf.view import (
    TrustedZoo,
)

MAX_COLD_BYTES, MAX_COLD_REQUESTS, MAX_WARM_BYTES = 150_000, 6, 75_000
GOAL_SIZE = 100_000
WEIGHTS_BYTES = 4096
STRIDE = 7919
"""A prime: rounds look at releases of other publishers and other bins each."""

Look = Callable[[TrustedZoo, ReleaseName], object]


def measure_clients(repository: Seeded, *, rounds: int, seconds: float) -> JsonObject:
    """Return cold and warm walks at one size, over a socket to the real service.

    ``pull`` is what ``zoo pull`` asks before it asks for weights: ``release.json``,
    and whether anything in it was withdrawn. ``stock`` looks up both targets of a
    release and nothing else, as a stock TUF client does. Milliseconds are taken
    without the relay that counts, and end before the transparency log is asked.
    """
    folder = repository.data_dir.parent
    with zoo_served(folder) as url, relayed(url) as relay:
        bench = _Bench(repository, url=url, relay=relay, folder=folder)
        sides = {
            f"{when}, {what}": side
            for what, look in LOOKS.items()
            for when, side in bench.sides(look).items()
        }
        said = take_turns(sides, rounds=rounds, seconds=seconds)
    return {
        "sides": {name: summaries(each) for name, each in said.items()},
        "files of a cold pull": said["cold, pull"][-1]["paths"],
        "goals": _goals(said) if repository.releases == GOAL_SIZE else {},
    }


def _goals(said: Mapping[str, list[JsonObject]]) -> JsonObject:
    def most(side: str, what: str) -> float:
        return float(max(each[what] for each in said[side]))

    return {
        "cold bytes": at_most(most("cold, pull", "metadata_bytes"), MAX_COLD_BYTES),
        "cold requests": at_most(
            most("cold, pull", "metadata_requests"), MAX_COLD_REQUESTS
        ),
        "warm bytes": at_most(
            most("warm, another publisher's, pull", "metadata_bytes"), MAX_WARM_BYTES
        ),
        "warm bytes, the release that is new": at_most(
            most("warm, the new release, pull", "metadata_bytes"), MAX_WARM_BYTES
        ),
    }


def _pull(zoo: TrustedZoo, name: ReleaseName) -> None:
    trusted_release(zoo, name, policy=Policy(), containing_releases=lambda _: [])


def _stock(zoo: TrustedZoo, name: ReleaseName) -> None:
    for file in (BUNDLE_NAME, WEIGHTS):
        if zoo.target(target_path(name, file)) is None:
            msg = f"{name}: {file} is not there"
            raise RuntimeError(msg)


LOOKS: Mapping[str, Look] = {"pull": _pull, "stock": _stock}


class _Bench:
    """A served repository, and who looks at it and publishes in it."""

    def __init__(
        self, repository: Seeded, *, url: str, relay: Relay, folder: Path
    ) -> None:
        self._repository = repository
        self._url = url
        self._relay = relay
        self._folder = folder
        self._turn = 0
        self._files = folder / "one-more"
        self._files.mkdir()
        write_weights(self._files / WEIGHTS, size_bytes=WEIGHTS_BYTES)

    def sides(self, look: Look) -> dict[str, Side]:
        """Return when -> a side that walks, once timed and once counted."""
        return {
            "cold": lambda: self._cold(look),
            "warm, another publisher's": lambda: self._warm(look),
            "warm, the new release": lambda: self._newest(look),
        }

    def _cold(self, look: Look) -> JsonObject:
        self._turn += 1
        name = self._repository.release(self._turn * STRIDE)
        with self._caches() as caches:
            return self._walked(caches, look, name)

    def _warm(self, look: Look) -> JsonObject:
        """Look again at a release after somebody else published."""
        self._turn += 1
        number = self._turn * STRIDE
        name = self._repository.release(number)
        with self._caches() as caches:
            self._walked(caches, look, name)
            publishing = self._publish(self._repository.publisher(number + 1))[1]
            return self._walked(caches, look, name) | {"publish_seconds": publishing}

    def _newest(self, look: Look) -> JsonObject:
        """Look at a release right after its publisher, known before, published it."""
        self._turn += 1
        name = self._repository.release(self._turn * STRIDE)
        with self._caches() as caches:
            self._walked(caches, look, name)
            name, publishing = self._publish(name.publisher)
            return self._walked(caches, look, name) | {"publish_seconds": publishing}

    @contextmanager
    def _caches(self) -> Iterator[tuple[Path, Path]]:
        """Yield the caches of two clients: one is timed, one counted."""
        with TemporaryDirectory(dir=self._folder) as folder:
            yield Path(folder) / "timed", Path(folder) / "counted"

    def _walked(
        self, caches: tuple[Path, Path], look: Look, name: ReleaseName
    ) -> JsonObject:
        timed, counted = caches
        seconds = self._walk(self._url, timed, look, name)
        self._relay.taken()
        self._walk(self._relay.url, counted, look, name)
        return {"seconds": seconds, **self._relay.taken()}

    def _walk(self, url: str, cache: Path, look: Look, name: ReleaseName) -> float:
        began = time.perf_counter()
        root, now = self._repository.root, system_clock()
        with refreshed(Server(url), root, cache=cache, now=now) as zoo:
            look(zoo, name)
        return time.perf_counter() - began

    def _publish(self, publisher: str) -> tuple[ReleaseName, float]:
        """Publish one more over HTTP; return its name, and the seconds it took."""
        self._turn += 1
        name = ReleaseName(publisher, "one-more", f"turn-{self._turn}")
        cache = self._folder / "publishers" / publisher
        anchor = Anchor(root=self._repository.root, cache=cache)
        key = self._repository.keys[publisher]
        with ZooClient(self._url, anchor=anchor) as zoo:
            began = time.perf_counter()
            zoo.publish(name, self._files, key=key)
            return name, time.perf_counter() - began
