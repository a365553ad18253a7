"""What a worker asks of the zoo: a job, time to do it, and to be told when to stop.

The zoo fences: once a lease has run out, every call about that attempt raises
ConflictError, and the worker kills its child and forgets it.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Self

from model_zoo.canonical import JsonObject
from model_zoo.client.operate import register_key
from model_zoo.digests import is_sha256
from model_zoo.errors import InvalidSpecError
from model_zoo.http.downloads import Downloader
from model_zoo.http.responses import BoundKey, Heartbeat, Job, Lease
from model_zoo.http.server import Server
from model_zoo.http.transport import API, Transport
from model_zoo.http.uploads import upload_folder
from model_zoo.keys.ed25519 import PublicKey
from model_zoo.names import check_id, check_name
from model_zoo.statements.dsse import Envelope
from model_zoo.statements.evaluation import EvaluationReport


class WorkClient:
    """A worker's view of one zoo; a context manager, safe to share between threads."""

    def __init__(
        self, url: str, *, token: str | None = None, ca: Path | None = None
    ) -> None:
        self._transport = Transport(Server(url, ca=ca, token=token))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def bind_trainer(self, name: str, public_key: PublicKey) -> BoundKey:
        """Bind ``name`` to a builder's key, once and for all.

        Raises:
            ConflictError: the name is bound to another key.
        """
        return register_key(self._transport, "trainer", name, public_key=public_key)

    def lease(
        self,
        trainer: str,
        *,
        worker: str,
        kinds: Iterable[str],
        names: Iterable[str] = (),
        lease_seconds: int,
    ) -> Lease | None:
        """Return the next job for ``trainer``, or None when there is nothing to do.

        Args:
            trainer: the bound name under which the work is done.
            worker: this process, for people who read the list of attempts.
            kinds: the job kinds this worker can do.
            names: what it offers of other packages, as ``recipes.OFFERED`` spells it.
            lease_seconds: 5 to 300; a heartbeat renews it.
        """
        body: JsonObject = {
            "worker": worker,
            "kinds": sorted(kinds),
            "lease_seconds": lease_seconds,
        }
        if offered := sorted(names):  # services before 0.3 know no such field
            body["names"] = offered
        path = f"/trainers/{check_name(trainer, what='trainer')}/leases"
        answer = self._transport.send("POST", path, body)
        return None if answer is None else Lease.read(answer)

    def heartbeat(self, attempt: str) -> bool:
        """Renew the lease; return whether the job's owner wants it cancelled.

        Raises:
            ConflictError: the lease ran out and the job is somebody else's.
        """
        answer = self._transport.send("POST", f"{_attempt(attempt)}/heartbeat", {})
        return Heartbeat.read(answer).cancel

    def report(self, attempt: str, events: Iterable[JsonObject]) -> None:
        """Add ``{"type": "progress" | "log", "data": {...}}`` to the job's events.

        Raises:
            ConflictError: the lease ran out.
        """
        body = {"events": list(events)}
        self._transport.send("POST", f"{_attempt(attempt)}/events", body)

    def upload(self, folder: Path) -> str:
        """Upload what the job made; return the upload's id for ``complete``."""
        return upload_folder(self._transport, folder)

    def complete(
        self,
        attempt: str,
        *,
        upload: str,
        provenance: Envelope,
        claimed: EvaluationReport | None,
    ) -> Job:
        """Turn an upload into the job's draft and end the job, in one transaction.

        What was measured is in the provenance, signed; ``claimed`` is the model's own
        evaluation, which nobody vouches for.

        Raises:
            ConflictError: the lease ran out; nothing was made of the upload.
            VerificationError: provenance, upload and job do not fit together.
        """
        body = {
            "upload": upload,
            "provenance": provenance.to_object(),
            "claimed_evaluation": claimed and claimed.to_object(),
        }
        path = f"{_attempt(attempt)}/complete"
        return Job.read(self._transport.send("POST", path, body))

    def fail(self, attempt: str, *, error: str, retry: bool) -> Job:
        """End the attempt with ``error``; with ``retry`` the job is queued again.

        Raises:
            ConflictError: the lease ran out.
        """
        body = {"error": error, "retry": retry}
        return Job.read(self._transport.send("POST", f"{_attempt(attempt)}/fail", body))

    def cancelled(self, attempt: str) -> Job:
        """End the attempt because the job's owner asked for it.

        Raises:
            ConflictError: the lease ran out.
        """
        path = f"{_attempt(attempt)}/cancelled"
        return Job.read(self._transport.send("POST", path, {}))

    def fetch_blob(self, sha256: str, to: Path) -> None:
        """Write the blob that ``sha256`` names to ``to``, if it is exactly that.

        Raises:
            NotFoundError: no published release and no draft holds it.
            DigestMismatchError: the server sent other bytes; ``to`` is untouched.
        """
        if not is_sha256(sha256):
            msg = "a blob is named by 64 lowercase hexadecimal digits"
            raise InvalidSpecError(msg)
        path = f"/blobs/{sha256}"
        size_bytes = self._transport.length_bytes(path)
        Downloader(self._transport.http).fetch(
            API + path, to, size_bytes=size_bytes, sha256=sha256
        )


def _attempt(attempt: str) -> str:
    return f"/attempts/{check_id(attempt, what='attempt')}"
