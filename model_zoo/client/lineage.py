"""What a release was made from and what was made from it, each link verified."""

from model_zoo.client.trusted_pull import containing_releases
from model_zoo.documents import Document
from model_zoo.errors import InvalidSpecError, MalformedDocumentError, NotFoundError
from model_zoo.http.responses import FileReleases
from model_zoo.http.transport import Transport
from model_zoo.names import ReleaseName
from model_zoo.statements.dsse import Envelope
from model_zoo.statements.intoto import Provenance, vouched_provenance
from model_zoo.tuf.releases import ancestry, read_release
from model_zoo.tuf.revocations import YANK_NAME, YankNotice, withdrawal, withdrawn_file
from model_zoo.tuf.roles import target_path
from model_zoo.tuf.updater import Anchor
from model_zoo.tuf.view import TrustedZoo

MAX_DESCENDANTS = 256


class Relative(Document):
    """One relative: its file, its release where one is known, and the way to it."""

    sha256: str
    release: str | None
    chain: tuple[str, ...]
    withdrawn: str | None


class Lineage(Document):
    """A release among its relatives; what is not listed may exist all the same."""

    release: str
    withdrawn: str | None
    ancestors: tuple[Relative, ...]
    descendants: tuple[Relative, ...]


def lineage_of(transport: Transport, name: ReleaseName, *, anchor: Anchor) -> Lineage:
    """Return the verified relatives of a release, as far as the zoo tells of them.

    Raises:
        NotFoundError: no role vouches for such a release.
        VerificationError: metadata cannot be believed.
    """
    with anchor.refreshed(transport.server) as zoo:
        why = withdrawal(zoo, name)
        ancestors: tuple[Relative, ...] = ()
        if why is None:
            ancestors = _ancestors(transport, zoo, name)
        descendants = _descendants(transport, zoo, name)
    return Lineage(
        release=str(name),
        withdrawn=why,
        ancestors=ancestors,
        descendants=descendants,
    )


def format_lineage(lineage: Lineage) -> list[str]:
    """Return the lineage as lines for people."""
    lines = [lineage.release]
    if lineage.withdrawn is not None:
        lines.append(f"  WITHDRAWN: {lineage.withdrawn}")
    for title, relatives in (
        ("made from", lineage.ancestors),
        ("made into", lineage.descendants),
    ):
        lines.append(
            f"{title}: {'nothing that is known' if not relatives else ''}".rstrip()
        )
        for relative in relatives:
            mark = f"  WITHDRAWN: {relative.withdrawn}" if relative.withdrawn else ""
            lines.append(
                f"  {' <- '.join(relative.chain)}  sha256 {relative.sha256[:16]}{mark}"
            )
    return lines


def _ancestors(
    transport: Transport, zoo: TrustedZoo, name: ReleaseName
) -> tuple[Relative, ...]:
    """Return what a release was made from; of a withdrawn one no role tells it."""
    above = ancestry(
        zoo,
        name,
        _provenance(read_release(zoo, name).provenance),
        containing_releases=lambda sha256: containing_releases(transport, sha256),
    )
    return tuple(
        Relative(
            sha256=it.sha256,
            release=None if it.release is None else str(it.release),
            chain=it.chain,
            withdrawn=withdrawn_file(zoo, it.sha256, release=it.release),
        )
        for it in above
    )


def _tensors(zoo: TrustedZoo, name: ReleaseName) -> list[str]:
    """Return the digests that others may have learned from, of a yank's notice too."""
    path = target_path(name, YANK_NAME)
    if withdrawal(zoo, name) is None:
        manifest = read_release(zoo, name).statement.manifest
        return [file.sha256 for file in manifest.tensors()]
    if zoo.target(path) is None:
        return []
    return sorted(YankNotice.read(zoo.read_target(path)).files.values())


def _descendants(
    transport: Transport, zoo: TrustedZoo, name: ReleaseName
) -> tuple[Relative, ...]:
    found: dict[ReleaseName, Relative] = {}
    todo: list[tuple[ReleaseName, tuple[str, ...]]] = [(name, (str(name),))]
    while todo and len(found) < MAX_DESCENDANTS:
        parent, chain = todo.pop(0)
        for sha256 in _tensors(zoo, parent):
            for child in _children(transport, sha256):
                if child in found or not _descends(zoo, child, sha256):
                    continue
                way = (str(child), *chain)
                found[child] = Relative(
                    sha256=sha256,
                    release=str(child),
                    chain=way,
                    withdrawn=withdrawal(zoo, child),
                )
                todo.append((child, way))
    return tuple(found.values())


def _children(transport: Transport, sha256: str) -> list[ReleaseName]:
    said = FileReleases.read(transport.get(f"/holders/{sha256}"))
    try:
        return [ReleaseName.parse(name) for name in said.children]
    except InvalidSpecError as error:
        msg = f"the zoo names a child that is no release: {error}"
        raise MalformedDocumentError(msg) from error


def _descends(zoo: TrustedZoo, child: ReleaseName, sha256: str) -> bool:
    """Whether the child's own publisher vouches that it was made from the file."""
    try:
        provenance = _provenance(read_release(zoo, child).provenance)
    except NotFoundError:
        return False
    return provenance is not None and sha256 in provenance.inputs.values()


def _provenance(envelope: Envelope | None) -> Provenance | None:
    return None if envelope is None else vouched_provenance(envelope)
