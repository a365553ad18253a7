"""A service over a folder of its own, asked in process, with a clock to turn."""
# ruff: noqa: ANN401
# What is passed on to httpx, Settings and specs is theirs to type.

import asyncio
import hashlib
import json
import shutil
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
from fastapi import FastAPI

from model_zoo.keys.ed25519 import SigningKey
from model_zoo.names import ReleaseName
from model_zoo.statements.intoto import (
    Provenance,
    ReleaseStatement,
    sign_provenance,
    sign_release,
)
from model_zoo.statements.jobs import parse_spec
from model_zoo.statements.manifest import FileEntry, Manifest
from service.app import create_app
from service.settings import Settings
from tests.service.roles import Files, next_roles, release_targets_of
from tests.service.schema import prepare

API = "/api/v1"
OUTSIDE_API = ("/api/", "/health", "/ready", "/tuf/", "/log/")
PART_BYTES = 64
ALICE = SigningKey.generate()
MALLORY = SigningKey.generate()
BUILDER = SigningKey.generate()
JSON = b'{"accuracy": 0.98}'


class Clock:
    """A clock that stands still until a test turns it."""

    def __init__(self) -> None:
        self.now = datetime(2026, 11, 22, 13, 0, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@dataclass
class Zoo:
    """An app and the questions tests ask it."""

    app: FastAPI
    clock: Clock

    def ask(self, method: str, path: str, **kwargs: Any) -> httpx.Response:
        """Send one request, in process; ``path`` is below /api/v1 unless it is not."""
        transport = httpx.ASGITransport(app=self.app, raise_app_exceptions=False)

        async def send() -> httpx.Response:
            async with httpx.AsyncClient(
                transport=transport,
                base_url="http://127.0.0.1:8000",
                trust_env=False,
            ) as client:
                return await client.request(method, path, **kwargs)

        if not path.startswith(OUTSIDE_API):
            path = API + path
        return asyncio.run(send())

    def get(self, path: str, **kwargs: Any) -> httpx.Response:
        return self.ask("GET", path, **kwargs)

    def post(self, path: str, body: object = None, **kwargs: Any) -> httpx.Response:
        return self.ask("POST", path, json={} if body is None else body, **kwargs)

    def put(self, path: str, body: object, **kwargs: Any) -> httpx.Response:
        return self.ask("PUT", path, json=body, **kwargs)

    def bind(self) -> None:
        """Bind alice and mallory, and the trainer lab."""
        for name, key in (("alice", ALICE), ("mallory", MALLORY)):
            body = {"public_key": key.public.to_pem()}
            assert self.put(f"/publishers/{name}", body).status_code == 201
        body = {"public_key": BUILDER.public.to_pem()}
        assert self.put("/trainers/lab", body).status_code == 201

    def declare(self, files: dict[str, bytes]) -> httpx.Response:
        return self.post("/uploads", {"files": entries(files)})

    def send_parts(self, upload: dict[str, Any], files: dict[str, bytes]) -> None:
        """Send every part that the service says is missing."""
        size = upload["part_bytes"]
        for file in upload["files"]:
            for number in file["missing"]:
                part = files[file["name"]][number * size : (number + 1) * size]
                response = self.send_part(upload["id"], file["name"], number, part)
                assert response.status_code == 204, response.text

    def send_part(
        self, upload: str, name: str, number: int, part: bytes, **headers: str
    ) -> httpx.Response:
        return self.ask(
            "PUT",
            f"/uploads/{upload}/files/{name}/parts/{number}",
            content=part,
            headers={"Content-Type": "application/octet-stream"} | headers,
        )

    def upload(self, files: dict[str, bytes]) -> str:
        """Return the id of a complete upload of ``files``."""
        upload = self.declare(files).json()
        self.send_parts(upload, files)
        response = self.post(f"/uploads/{upload['id']}/complete")
        assert response.status_code == 200, response.text
        return str(upload["id"])

    def publish(
        self,
        release: str,
        upload: str,
        envelope: dict[str, Any],
        provenance: dict[str, Any] | None = None,
        *,
        roles: Files | None = None,
    ) -> httpx.Response:
        """Publish what arrived; without ``roles`` as alice's tools do it."""
        if roles is None:
            roles = self.release_roles(envelope, provenance)
        body = {"upload": upload, "envelope": envelope, "provenance": provenance}
        return self.put(release_path(release), body | {"roles": roles})

    def release_roles(
        self, envelope: dict[str, Any], provenance: dict[str, Any] | None = None
    ) -> Files:
        """Return alice's next roles, with the release in ``envelope``."""
        add = release_targets_of(envelope, provenance)
        return next_roles(self.get, "alice", add, key=ALICE, now=self.clock())

    def published(self, release: str, files: dict[str, bytes]) -> dict[str, Any]:
        """Publish ``files`` under alice's key and return the release."""
        response = self.publish(release, self.upload(files), signed(release, files))
        assert response.status_code == 201, response.text
        return dict(response.json())

    def submit(self, **spec: Any) -> dict[str, Any]:
        """Queue a job that does nothing and return it."""
        response = self.post("/jobs", {"kind": "noop", "trainer": "lab", "spec": spec})
        assert response.status_code == 202, response.text
        return dict(response.json())

    def lease(self, worker: str = "w1", seconds: int = 30) -> httpx.Response:
        body = {"worker": worker, "kinds": ["noop"], "lease_seconds": seconds}
        return self.post("/trainers/lab/leases", body)

    def leased(self, worker: str = "w1") -> dict[str, Any]:
        response = self.lease(worker)
        assert response.status_code == 200, response.text
        return dict(response.json())

    def completion(
        self,
        lease: dict[str, Any],
        files: dict[str, bytes] | None = None,
        *,
        key: SigningKey = BUILDER,
        **changes: Any,
    ) -> dict[str, Any]:
        """Return what a worker posts when the attempt in ``lease`` worked."""
        files = {"result.json": JSON} if files is None else files
        return {
            "upload": self.upload(files),
            "provenance": built(
                files,
                lease["spec"],
                key=key,
                **{"invocation": f"{lease['job']}/{lease['attempt']}"} | changes,
            ),
            "claimed_evaluation": None,
        }

    def complete(
        self, lease: dict[str, Any], body: dict[str, Any] | None = None
    ) -> httpx.Response:
        body = self.completion(lease) if body is None else body
        return self.post(f"/attempts/{lease['attempt']}/complete", body)

    def events(self, job: str, after: int | None = None) -> list[dict[str, Any]]:
        """Return the events of an ended job, as the stream tells them."""
        headers = {} if after is None else {"Last-Event-ID": str(after)}
        response = self.get(f"/jobs/{job}/events", headers=headers)
        assert response.headers["content-type"].startswith("text/event-stream")
        return parse_events(response.text)


@contextmanager
def open_zoo(folder: Path, **settings: Any) -> Iterator[Zoo]:
    """Give a service over ``folder`` whose names are bound."""
    clock = Clock()
    known: dict[str, Any] = {"part_bytes": PART_BYTES, "clock": clock}
    app = create_app(Settings(data_dir=prepare(folder), **(known | settings)))
    try:
        yield Zoo(app, clock)
    finally:
        app.state.context.close()


def after(act: Callable[[Zoo], object], folder: Path, *, to: Path) -> Path:
    """Return ``to``, a copy of a stopped service's folder in which ``act`` was done.

    A test that begins there starts a service and repeats nothing.
    """
    shutil.copytree(folder, to)
    with open_zoo(to) as zoo:
        act(zoo)
    return to


def weights(fill: int = 0, count: int = 64) -> bytes:
    """Return a small valid safetensors file."""
    header = {"w": {"dtype": "U8", "shape": [count], "data_offsets": [0, count]}}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + bytes([fill]) * count


def entries(files: dict[str, bytes]) -> list[dict[str, Any]]:
    return [entry(name, data).to_object() for name, data in files.items()]


def entry(name: str, data: bytes) -> FileEntry:
    sha256 = hashlib.sha256(data).hexdigest()
    return FileEntry(name=name, size_bytes=len(data), sha256=sha256)


def signed(
    release: str, files: dict[str, bytes], key: SigningKey = ALICE
) -> dict[str, Any]:
    """Return the envelope in which ``key`` says that ``files`` are ``release``."""
    manifest = Manifest(files=tuple(entry(*item) for item in files.items()))
    statement = ReleaseStatement(ReleaseName.parse(release), manifest)
    return sign_release(statement, key).to_object()


def built(
    files: dict[str, bytes],
    asked: dict[str, Any],
    *,
    key: SigningKey = BUILDER,
    **changes: Any,
) -> dict[str, Any]:
    """Return the envelope in which ``key`` says that ``files`` came of ``asked``."""
    fields = {
        "subjects": {
            name: hashlib.sha256(data).hexdigest() for name, data in files.items()
        },
        "kind": "noop",
        "spec": parse_spec("noop", asked).to_object(),
        "inputs": {},
        "code": "9" * 64,
        "environment": {"python": "3.11"},
        "builder": key.public.keyid,
        "invocation": "one",
        "started_at": "2026-11-22T13:00:00Z",
        "finished_at": "2026-11-22T13:00:01Z",
    }
    return sign_provenance(Provenance(**(fields | changes)), key).to_object()


def release_path(release: str) -> str:
    name = ReleaseName.parse(release)
    return f"/models/{name.publisher}/{name.model}/releases/{name.version}"


def parse_events(text: str) -> list[dict[str, Any]]:
    """Return the events in a stream that has ended."""
    events = []
    for block in text.replace("\r\n", "\n").split("\n\n"):
        lines = [line for line in block.split("\n") if line and line[0] != ":"]
        if lines:
            fields = dict(line.split(": ", 1) for line in lines)
            events.append(fields | {"data": json.loads(fields["data"])})
    return events


def assert_problem(response: httpx.Response, status: int, code: str) -> dict[str, Any]:
    """Check that an answer is problem details and return them."""
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = dict(response.json())
    assert problem["status"] == status
    assert problem["code"] == code, problem
    assert problem["title"]
    assert problem["detail"]
    assert problem["type"] == f"urn:verified-model-zoo:problem:{code}"
    return problem
