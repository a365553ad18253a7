"""Ordering: models made by a trainer of a zoo, as jobs, in place of here (ADR 25).

What comes back is believed as any outsourced model is: the pinned builder must have
signed that it made these bytes of this very spec.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from model_zoo.canonical import parse_object
from model_zoo.cli.options import Connection
from model_zoo.client.zoo import ZooClient
from model_zoo.digests import sha256_bytes
from model_zoo.errors import InvalidSpecError, LocalError, NotFoundError
from model_zoo.keys.ed25519 import PublicKey
from model_zoo.statements.jobs import kind_of
from trainer.builds.build import WEIGHTS_NAME
from trainer.experiments.engine.cells import RecipeSpec
from trainer.files import read_bytes, write_whole

MAX_NOTE_BYTES = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderClient:
    """Has models made; it is a ``trainer.experiments.engine.models.Maker``.

    Beside each model are kept the spec as it was sent and the job's id, which is all
    that ``zoo publish`` needs. An order that stands is waited for and not given twice.

    Attributes:
        connection: to the zoo.
        trainer: the bound name of who shall make them.
        builder: file of that trainer's public key, pinned.
    """

    connection: Connection
    trainer: str
    builder: Path

    def who(self) -> str:
        """Return who makes the models: the zoo, and the builder's key.

        Raises:
            LocalError: the key cannot be read.
        """
        return f"{self.connection.url}\n{PublicKey.load(self.builder).keyid}"

    def folder_in(self, models: Path) -> Path:
        """Return where its models are kept: apart from those of others.

        Raises:
            LocalError: the builder's key cannot be read.
        """
        return models / "ordered" / sha256_bytes(self.who().encode())[:16]

    @contextmanager
    def connected(self) -> Iterator[tuple[ZooClient, PublicKey]]:
        """Yield a client of the zoo, and the builder's key.

        Raises:
            InvalidSpecError: a URL or token that cannot be used.
            LocalError: a file cannot be read.
        """
        with self.connection.client() as zoo:
            yield zoo, PublicKey.load(self.builder)

    def __call__(
        self,
        spec: RecipeSpec,
        *,
        parent: Path | None,  # noqa: ARG002  see below
        place: Path,
        device: str,  # noqa: ARG002  the trainer's decides
    ) -> bytes:
        """Return the weights of ``spec``, made by the trainer.

        Args:
            spec: the order, its parent's digest filled in.
            parent: not sent: the zoo has it, since it was ordered there or published.
            place: where the weights will be kept.
            device: not sent either.

        Raises:
            LocalError: the job ended without a model; it says why.
            VerificationError: what came is not what was ordered.
            TransportError: the zoo cannot be reached.
        """
        note = place.with_suffix(".job.json")
        with self.connected() as (zoo, builder):
            job = _standing(zoo, note, spec) or self._submit(zoo, note, spec)
            ended = zoo.wait(job)
            if ended.state != "succeeded":
                note.unlink()
                msg = f"job {job} {ended.state}: {ended.error or 'no reason was given'}"
                raise LocalError(msg)
            with TemporaryDirectory(prefix="draft-", dir=place.parent) as scratch:
                draft = Path(scratch) / "draft"
                zoo.fetch_draft(job, builder=builder, spec=spec, to=draft)
                return read_bytes(draft / WEIGHTS_NAME)

    def _submit(self, zoo: ZooClient, note: Path, spec: RecipeSpec) -> str:
        job = zoo.submit(spec, trainer=self.trainer).id
        sent = {"kind": kind_of(spec), **spec.to_object()}
        place = note.with_name(note.name.replace(".job.", ".spec."))
        write_whole(place, json.dumps(sent, indent=1, sort_keys=True).encode())
        write_whole(note, json.dumps({"job": job}).encode())
        return job


def _standing(zoo: ZooClient, note: Path, spec: RecipeSpec) -> str | None:
    """Return the job ordered for this before, if the zoo still knows it."""
    if not note.exists():
        return None
    try:
        job = parse_object(read_bytes(note), limit_bytes=MAX_NOTE_BYTES)["job"]
        known = zoo.job(job)
    except (KeyError, ValueError, InvalidSpecError, NotFoundError):
        return None
    return known.id if known.spec == spec.to_object() else None
