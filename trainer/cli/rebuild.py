"""``zoo rebuild``: train again as the provenance says, all of it or drawn parts."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from model_zoo.cli.options import Connection, TrustRoot, read_spec, refuse_options
from model_zoo.cli.options import pinned as pinned_root
from model_zoo.cli.output import emit, say
from model_zoo.client.trusted_pull import verify_folder
from model_zoo.client.zoo import ZooClient
from model_zoo.errors import (
    InvalidSpecError,
    MalformedDocumentError,
    ProvenanceMismatchError,
)
from model_zoo.keys.ed25519 import PublicKey
from model_zoo.statements.dsse import Envelope, Role
from model_zoo.statements.folder import BUNDLE_NAME
from model_zoo.statements.intoto import Provenance, open_provenance, vouched_provenance
from model_zoo.statements.jobs import JobSpec
from model_zoo.statements.policy import Policy
from model_zoo.statements.release_json import read_bundle
from model_zoo.tuf.updater import Anchor, unpinned

if TYPE_CHECKING:
    from trainer.jobs.rebuild import Rebuilt

ReleaseOrDraft = Annotated[
    str, typer.Argument(help="A folder, publisher/model@version or a job's id.")
]
SpotCheck = Annotated[
    int | None, typer.Option(min=1, help="Replay only N segments, drawn at random.")
]
BuilderKey = Annotated[
    Path | None, typer.Option(help="The trainer's public key (PEM), pinned.")
]
SpecFile = Annotated[Path | None, typer.Option(help="The spec as you sent it (JSON).")]
Parent = Annotated[
    Path | None, typer.Option(help="For fine-tuning: the parent's weights.")
]
Device = Annotated[
    str | None,
    typer.Option(help="auto, cuda, mps or cpu; without it the builder's."),
]


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""
    app.command("rebuild")(rebuild)


def rebuild(
    context: typer.Context,
    release: ReleaseOrDraft,
    *,
    spot_check: SpotCheck = None,
    builder: BuilderKey = None,
    spec: SpecFile = None,
    parent: Parent = None,
    device: Device = None,
    trust: TrustRoot = None,
    connection: Connection,
) -> None:
    """Train RELEASE again as its provenance says; exit 1 unless every bit is equal."""
    _refuse_of_others(context, release)
    import torch

    from trainer.jobs import rebuild as rebuilding

    torch.set_num_threads(1)  # as workers do; part of the result
    pinned = _Pinned(
        builder=None if builder is None else PublicKey.load(builder),
        spec=None if spec is None else read_spec(spec),
        anchor=pinned_root(trust),
    )
    zoo = partial(connection.client, pinned.anchor)
    with TemporaryDirectory(prefix="zoo-rebuild-") as scratch:
        folder, provenance = _obtain(release, zoo, pinned, to=Path(scratch) / "release")
        pinned.require_order(provenance)
        if spot_check is None:
            found = rebuilding.rebuild(folder, provenance, parent=parent, device=device)
        else:
            found = rebuilding.spot_check(
                folder,
                provenance,
                segments=rebuilding.draw(provenance, spot_check),
                parent=parent,
                device=device,
            )
    _tell(found)


def _refuse_of_others(context: typer.Context, release: str) -> None:
    """Refuse options of the other ways to name what is rebuilt."""
    if Path(release).exists():
        refuse_options(context, "url", "ca", "token_file", why="a folder is at hand")
    elif "/" not in release:
        refuse_options(context, "trust", why="the builder alone vouches for a draft")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pinned:
    """What the user knows already, and measures a provenance by."""

    builder: PublicKey | None
    spec: JobSpec | None
    anchor: Anchor | None

    @property
    def policy(self) -> Policy:
        """What a release must show beside the delegations from the root."""
        return Policy(builder=None if self.builder is None else _role(self.builder))

    def provenance_in(self, folder: Path) -> Provenance:
        """Return the provenance beside a release's files, once it can be believed.

        Raises:
            InvalidSpecError: neither a builder's key nor a root is pinned.
            VerificationError: there is none, or it cannot be believed.
        """
        if self.anchor is not None:
            # the publisher passes it on: what it claims is about to be tried
            release = verify_folder(folder, anchor=self.anchor, policy=self.policy)
            return vouched_provenance(_envelope(release.path))
        if self.builder is None:
            raise unpinned()
        return open_provenance(_envelope(folder), _role(self.builder))

    def order(self, job: str) -> tuple[PublicKey, JobSpec]:
        """Return the builder and the spec that a draft is held to.

        Raises:
            InvalidSpecError: one of them is not pinned.
        """
        if self.builder is None or self.spec is None:
            msg = f"{job}: no such folder; for a job, give --builder and --spec too"
            raise InvalidSpecError(msg)
        return self.builder, self.spec

    def require_order(self, provenance: Provenance) -> None:
        """Accept a provenance that claims to have followed the user's own spec.

        Raises:
            ProvenanceMismatchError: it claims another.
        """
        if self.spec is not None and not provenance.is_of(self.spec):
            msg = "the provenance is signed, but for another spec than yours"
            raise ProvenanceMismatchError(msg)


def _obtain(
    release: str, zoo: Callable[[], ZooClient], pinned: _Pinned, *, to: Path
) -> tuple[Path, Provenance]:
    """Return the folder that ``release`` names, fetched if need be, and its claim."""
    if Path(release).exists():
        _require_release(Path(release))
        return Path(release), pinned.provenance_in(Path(release))
    with zoo() as client:
        if "/" in release:
            if pinned.anchor is None:
                msg = (
                    f"{release}: no such folder; to pull it from the zoo, {unpinned()}"
                )
                raise InvalidSpecError(msg)
            client.pull(client.resolve(release), policy=pinned.policy, to=to)
            return to, pinned.provenance_in(to)
        key, spec = pinned.order(release)
        envelope = client.fetch_draft(release, builder=key, spec=spec, to=to)
    return to, open_provenance(envelope, _role(key))


def _require_release(folder: Path) -> None:
    """Accept a folder that a release was pulled to: a model's name may be one's, too.

    Raises:
        InvalidSpecError: it is another one, or a file.
    """
    if not (folder / BUNDLE_NAME).exists():
        msg = (
            f"{folder}: there is such a folder here, and no {BUNDLE_NAME} in it: give "
            "the folder of a pulled release, or a release's name with its version"
        )
        raise InvalidSpecError(msg)


def _role(builder: PublicKey) -> Role:
    return Role("builder", (builder,))


def _envelope(folder: Path) -> Envelope:
    _, provenance = read_bundle(folder)
    if provenance is None:
        msg = f"{folder}: no provenance: nobody says how these files were made"
        raise MalformedDocumentError(msg)
    return provenance


def _tell(found: "Rebuilt") -> None:
    for difference in found.environment:
        say(f"another machine than the builder's: {difference}")
    found.require_identical()
    say(
        f"identical: {len(found.segments)} of {found.total} segments; one forged "
        f"segment would be missed with probability {found.miss_probability:.2f}"
    )
    emit(
        {
            "identical": True,
            "segments": list(found.segments),
            "total": found.total,
            "miss_probability": found.miss_probability,
            "environment": list(found.environment),
        }
    )
