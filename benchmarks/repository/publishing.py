"""What one more release costs the service, and its publisher, at each size."""

import json
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing

from benchmarks.measuring import Side, at_most, ratio, summaries, take_turns
from benchmarks.repository.seeding import (
    WEIGHTS,
    Seeded,
    add_uploads,
)
from model_zoo.canonical import JsonObject
from model_zoo.errors import LocalError
from model_zoo.keys.ed25519 import SigningKey
from model_zoo.names import ReleaseName
from model_zoo.statements.dsse import Envelope
from model_zoo.statements.intoto import ReleaseStatement, sign_release
from model_zoo.statements.manifest import FileEntry, Manifest
from model_zoo.statements.release_json import bundle_bytes
from model_zoo.tuf.publisher_roles import edited, release_targets, sign_roles
from service.context import Context, open_context
from service.releases.publish import Submission, publish
from service.repository import state
from service.settings import Settings

MAX_OVER_A_THOUSAND = 1.5
GOAL_SIZE, GOAL_OVER = 100_000, 1_000
SYNCHRONOUS = {"fsync": 2, "no fsync": 0}
"""SQLite's FULL, which the service uses, and OFF."""


def measure_publish(
    repositories: Sequence[Seeded], *, rounds: int, seconds: float
) -> JsonObject:
    """Return what publishing one more release takes, sizes taking turns.

    ``service`` is ``service.releases.publish``: envelope and blob are checked, the
    roles accepted, and one transaction writes release, roles, snapshot, timestamp and
    log. ``publisher`` is what his machine does between his walk and his request.
    """
    with ExitStack() as opened:
        sides = {}
        for repository in repositories:
            context = open_context(Settings(data_dir=repository.data_dir))
            opened.enter_context(closing(context))
            bench = _Bench(context, repository)
            for name in SYNCHRONOUS:
                side = bench.side(name)
                side()  # the first finds no statement compiled and no page cached
                sides[f"{repository.releases}, {name}"] = side
        said = take_turns(sides, rounds=rounds, seconds=seconds)
    return _result(said)


def _result(said: Mapping[str, list[JsonObject]]) -> JsonObject:
    found: JsonObject = {
        "sides": {name: summaries(rounds) for name, rounds in said.items()}
    }
    small = said.get(f"{GOAL_OVER}, fsync")
    large = said.get(f"{GOAL_SIZE}, fsync")
    if small is not None and large is not None:
        over = ratio(large, small)
        found["100000 over 1000, fsync"] = over
        goal = at_most(over["median"], MAX_OVER_A_THOUSAND)
        found["goals"] = {"publish at 100000 over 1000, fsync": goal}
    return found


class _Bench:
    """One opened repository that gets one more release at a time."""

    def __init__(self, context: Context, repository: Seeded) -> None:
        self._context = context
        self._repository = repository
        self._published = 0
        with context.blobs.staged([b"weights"]) as blob:
            context.blobs.keep(blob)
            self._weights = FileEntry(
                name=WEIGHTS, size_bytes=blob.size_bytes, sha256=blob.sha256
            )

    def side(self, synchronous: str) -> Side:
        """Return a side that publishes once, with that setting of SQLite."""
        return lambda: self._publish_one(SYNCHRONOUS[synchronous])

    def _publish_one(self, synchronous: int) -> JsonObject:
        self._set_synchronous(synchronous)
        publisher = self._repository.publisher(self._published)
        name = ReleaseName(publisher, "one-more", str(self._published))
        self._published += 1
        manifest = Manifest(files=(self._weights,))
        with self._context.database.writing() as session:
            now = self._context.now()
            (upload,) = add_uploads(session, [manifest], now=now)
        key = self._repository.keys[publisher]
        envelope = sign_release(ReleaseStatement(name, manifest), key)
        began = time.perf_counter()
        body = self._signed_roles(name, manifest, envelope, key=key)
        sent = time.perf_counter()
        submission = Submission.read(
            {
                "upload": upload,
                "envelope": envelope.to_object(),
                "provenance": None,
                "roles": json.loads(body),
            }
        )
        publish(self._context, name, submission)
        ended = time.perf_counter()
        return {
            "seconds": ended - sent,
            "publisher_seconds": sent - began,
            "request_bytes": len(body),
        }

    def _signed_roles(
        self,
        name: ReleaseName,
        manifest: Manifest,
        envelope: Envelope,
        *,
        key: SigningKey,
    ) -> bytes:
        """Return what the publisher sends: his roles' next versions, as JSON."""
        bundle = bundle_bytes(envelope=envelope, provenance=None)
        add = release_targets(name, manifest, bundle=bundle)
        with self._context.database.reading() as session:
            current = state.publisher_roles(session, name.publisher)
            following = edited(current, add=add, now=self._context.now())
        files = sign_roles(following, key)
        roles = {role: json.loads(data) for role, data in files.items()}
        return json.dumps(roles).encode()

    def _set_synchronous(self, level: int) -> None:
        """Set how SQLite treats the disk, on the one connection that is in use."""
        connection = self._context.database.engine.raw_connection()
        try:
            cursor = connection.cursor()
            cursor.execute(f"PRAGMA synchronous={level}")
            (found,) = cursor.execute("PRAGMA synchronous").fetchone()
            cursor.close()
        finally:
            connection.close()
        if found != level:
            msg = f"SQLite keeps synchronous={found}"
            raise LocalError(msg)
