"""ZooClient: what a person or program asks of one zoo."""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Self

from model_zoo.client import publish, pull, trusted_pull
from model_zoo.client.operate import register_key
from model_zoo.errors import InvalidSpecError, NotFoundError
from model_zoo.http import uploads
from model_zoo.http.responses import (
    BoundKey,
    Job,
    Jobs,
    ModelListing,
    ModelReleases,
    Models,
    PublishedRelease,
    require_job,
)
from model_zoo.http.server import Server
from model_zoo.http.sse import JobEvent, follow
from model_zoo.http.transport import Transport
from model_zoo.keys.ed25519 import PublicKey, SigningKey
from model_zoo.names import ModelName, ReleaseName, check_id, check_name
from model_zoo.statements.dsse import Envelope
from model_zoo.statements.folder import FileProgress
from model_zoo.statements.intoto import ReleaseStatement
from model_zoo.statements.jobs import JobSpec, kind_of
from model_zoo.statements.policy import Policy
from model_zoo.statements.verification import VerifiedRelease
from model_zoo.tuf.updater import Anchor, unpinned

MAX_SHOWN = 20
"""Versions that a message lists."""


class ZooClient:
    """One zoo, asked over HTTP; a context manager, safe to share between threads.

    Every method raises TransportError when the zoo cannot be reached,
    UntrustedServerError when its certificate is not believed, and the error the zoo
    itself refuses with.
    """

    def __init__(
        self,
        url: str,
        *,
        ca: Path | None = None,
        token: str | None = None,
        anchor: Anchor | None = None,
    ) -> None:
        self._transport = Transport(Server(url, ca=ca, token=token))
        self._anchor = anchor

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def anchor(self) -> Anchor:
        """The pinned root.

        Raises:
            InvalidSpecError: none was given.
        """
        if self._anchor is None:
            raise unpinned()
        return self._anchor

    @property
    def root(self) -> bytes | None:
        """The bytes of the pinned root; None where keys alone are pinned."""
        return None if self._anchor is None else self._anchor.root

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def models(self) -> tuple[ModelListing, ...]:
        """Return every model and its versions, as the zoo lists them."""
        return Models.read(self._transport.get("/models")).items

    def model(self, name: ModelName) -> ModelReleases:
        """Return a model's releases; nothing of them is verified but their names.

        Raises:
            WrongReleaseError: the zoo answers with another model, or its releases.
        """
        path = f"/models/{name.publisher}/{name.model}"
        return ModelReleases.read(self._transport.get(path)).require_model(name)

    def resolve(self, text: str) -> ReleaseName:
        """Return the release that ``publisher/model[@version]`` names.

        Without a version there must be only one: which of several is the latest is
        for the publisher to sign, not for the server to choose. Under a pinned root
        they are those that the publisher's role vouches for. Without one the server's
        list is a hint, and what it leads to must bear the name that was asked for.

        Raises:
            InvalidSpecError: not such a name, or several versions to choose from.
            NotFoundError: there is no such model, or no version of it.
            VerificationError: the server's list is not of what was asked for, or the
                role cannot be believed.
        """
        if "@" in text:
            return ReleaseName.parse(text)
        model = ModelName.parse(text)
        names = self._versions(model)
        if not names:
            msg = f"{model}: no version of it is there, or all were withdrawn"
            raise NotFoundError(msg)
        if len(names) > 1:
            shown = [
                *map(str, names[:MAX_SHOWN]),
                *(["..."] * (len(names) > MAX_SHOWN)),
            ]
            msg = f"{model}: say which version: {', '.join(shown)}"
            raise InvalidSpecError(msg)
        return names[0]

    def _versions(self, model: ModelName) -> tuple[ReleaseName, ...]:
        if self._anchor is not None:
            return trusted_pull.versions(self._transport, model, anchor=self._anchor)
        return tuple(
            ReleaseName.parse(release.name)
            for release in self.model(model).releases
            if release.withdrawn is None  # nobody is sent to what will be refused
        )

    def release(self, name: ReleaseName | str) -> PublishedRelease:
        """Return what the zoo says of a release; nothing of it is verified."""
        return pull.fetch_release(self._transport, _release_name(name))

    def pull(
        self,
        name: ReleaseName | str,
        *,
        policy: Policy,
        to: Path,
        progress: FileProgress | None = None,
    ) -> VerifiedRelease:
        """Make ``to`` the verified folder of a release, or leave all as it was.

        Args:
            name: which release.
            policy: pinned keys, and what else to demand; all of it must hold, and the
                traversal from the root as well, where one is pinned.
            to: the folder to make.
            progress: told of every piece that arrived.

        Raises:
            ConflictError: ``to`` holds something else.
            InvalidSpecError: the policy demands what nothing that is pinned can honour.
            VerificationError: what came cannot be believed; nothing was written.
            LocalError: it cannot be written.
        """
        if self._anchor is not None:
            return trusted_pull.pull(
                self._transport,
                _release_name(name),
                anchor=self._anchor,
                policy=policy,
                to=to,
                progress=progress,
            )
        return pull.pull(
            self._transport,
            _release_name(name),
            policy=policy,
            to=to,
            progress=progress,
        )

    def look_up(
        self, name: ReleaseName | str, *, policy: Policy
    ) -> tuple[ReleaseStatement, Envelope]:
        """Return the statement about a release and its envelope, verified; no files.

        Raises:
            InvalidSpecError: the policy demands what nothing that is pinned can honour.
            VerificationError: it cannot be believed.
        """
        wanted = _release_name(name)
        if self._anchor is None:
            return pull.look_up(self._transport, wanted, policy=policy)[:2]
        found, _, _ = trusted_pull.look_up(
            self._transport, wanted, anchor=self._anchor, policy=policy
        )
        return found.statement, found.envelope

    def load_folder(self, folder: Path, *, policy: Policy) -> dict[str, Any]:
        """Return the tensors in a pulled folder, if nothing was withdrawn since.

        Raises:
            YankedError: the release was withdrawn, or was made from one that was.
            VerificationError: the folder cannot be believed.
        """
        return trusted_pull.load_folder(
            self._transport, folder, anchor=self.anchor, policy=policy
        )

    def load_verified(
        self,
        name: ReleaseName | str,
        *,
        policy: Policy,
    ) -> dict[str, Any]:
        """Return the tensors of a release, from the very bytes that were verified.

        Raises:
            VerificationError: what came cannot be believed.
            LocalError: the trainer extra is not installed.
        """
        with TemporaryDirectory(prefix="zoo-load-") as folder:
            release = self.pull(name, policy=policy, to=Path(folder) / "release")
            return pull.load(release)

    def yank(
        self, name: ReleaseName | str, *, reason: str, key: SigningKey
    ) -> publish.Withdrawal:
        """Withdraw a release of one's own, for good.

        Where the publisher's threshold is two or more it waits for a co-signature:
        ``waits_for`` of what is returned says whose.

        Raises:
            NotFoundError: no such release, or it is withdrawn already.
            InvalidSpecError: no reason, or no root is pinned.
            NotPermittedError: the publisher's role is not this key's.
        """
        return publish.yank(
            self._transport,
            _release_name(name),
            signer=publish.Signer(key=key, anchor=self.anchor),
            reason=reason,
        )

    def upload(self, folder: Path, *, progress: FileProgress | None = None) -> str:
        """Upload the files in ``folder``; return the id to publish them by."""
        return uploads.upload_folder(self._transport, folder, progress=progress)

    def publish(
        self,
        name: ReleaseName | str,
        folder: Path,
        *,
        key: SigningKey,
        provenance: Envelope | None = None,
        progress: FileProgress | None = None,
    ) -> PublishedRelease:
        """Sign the files in ``folder`` as ``name`` and publish them.

        Raises:
            ConflictError: the name is taken by other files.
            NotPermittedError: the publisher is bound to another key, or to none.
            VerificationError: the zoo refused a file, and says which and why.
        """
        return publish.publish(
            self._transport,
            _release_name(name),
            folder,
            signer=publish.Signer(key=key, anchor=self.anchor),
            provenance=provenance,
            progress=progress,
        )

    def publish_job(
        self,
        job: str,
        *,
        as_: ReleaseName | str,
        key: SigningKey,
        builder: PublicKey,
        spec: JobSpec,
        progress: FileProgress | None = None,
    ) -> PublishedRelease:
        """Publish what ``job`` made, once it is what was ordered.

        Args:
            job: the id of a job that succeeded.
            as_: what to publish it as.
            key: the publisher's; it never leaves this process.
            builder: the trainer's key, as the user pinned it.
            spec: the spec as the user sent it.
            progress: told of every piece that moved.

        Raises:
            VerificationError: the draft is not what was ordered; nothing was signed.
        """
        return publish.publish_job(
            self._transport,
            check_id(job, what="job"),
            name=_release_name(as_),
            signer=publish.Signer(key=key, anchor=self.anchor),
            order=publish.order(builder, spec),
            progress=progress,
        )

    def fetch_draft(
        self, job: str, *, builder: PublicKey, spec: JobSpec, to: Path
    ) -> Envelope:
        """Make ``to`` the folder of what ``job`` made; return its provenance.

        Raises:
            ConflictError: ``to`` holds something already.
            VerificationError: the draft is not what was ordered; nothing was written.
        """
        with pull.staging_beside(to) as staging:
            return publish.fetch_draft(
                self._transport,
                check_id(job, what="job"),
                order=publish.order(builder, spec),
                to=staging,
            )

    def submit(self, spec: JobSpec, *, trainer: str) -> Job:
        """Ask ``trainer`` to do the job that ``spec`` describes."""
        body = {
            "kind": kind_of(spec),
            "trainer": check_name(trainer, what="trainer"),
            "spec": spec.to_object(),
        }
        return require_job(Job.read(self._transport.send("POST", "/jobs", body)), body)

    def job(self, job: str) -> Job:
        """Return how ``job`` stands."""
        answer = self._transport.get(f"/jobs/{check_id(job, what='job')}")
        return require_job(Job.read(answer), {"id": job})

    def jobs(
        self, *, state: str | None = None, trainer: str | None = None
    ) -> tuple[Job, ...]:
        """Return the jobs, all or those in a state or for a trainer."""
        wanted = {"state": state, "trainer": trainer}
        params = {name: value for name, value in wanted.items() if value is not None}
        jobs = Jobs.read(self._transport.get("/jobs", **params)).items
        return tuple(require_job(job, params) for job in jobs)

    def cancel(self, job: str) -> Job:
        """Ask for ``job`` to be stopped; it may still end otherwise."""
        path = f"/jobs/{check_id(job, what='job')}/cancel"
        answer = self._transport.send("POST", path, {})
        return require_job(Job.read(answer), {"id": job})

    def events(self, job: str, *, after: int = 0) -> Iterator[JobEvent]:
        """Yield what happens to ``job`` from event ``after`` on, until its last."""
        return follow(self._transport, check_id(job, what="job"), after=after)

    def wait(self, job: str) -> Job:
        """Return ``job`` once nothing more will happen to it."""
        for event in self.events(job):
            if event.is_last:
                break
        return self.job(job)

    def bind_publisher(self, name: str, public_key: PublicKey) -> BoundKey:
        """Bind a publisher's name to a key, once and for all: the operator's act.

        Raises:
            ConflictError: the name is bound to another key.
        """
        return register_key(self._transport, "publisher", name, public_key=public_key)

    def bind_trainer(self, name: str, public_key: PublicKey) -> BoundKey:
        """Bind a trainer's name to a builder's key, once and for all.

        Raises:
            ConflictError: the name is bound to another key.
        """
        return register_key(self._transport, "trainer", name, public_key=public_key)


def _release_name(name: ReleaseName | str) -> ReleaseName:
    return ReleaseName.parse(name) if isinstance(name, str) else name
