"""A release under a pinned root: numbered steps, on line and off line the same."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from model_zoo.errors import (
    InvalidSpecError,
    NotFoundError,
    PolicyNotMetError,
    ProvenanceMismatchError,
    VerificationError,
    WrongReleaseError,
    YankedError,
)
from model_zoo.names import ReleaseName
from model_zoo.statements.dsse import Envelope
from model_zoo.statements.folder import BUNDLE_NAME
from model_zoo.statements.intoto import (
    Provenance,
    ReleaseStatement,
    open_provenance,
    subjects_of,
    vouched_provenance,
    vouched_release,
)
from model_zoo.statements.manifest import Manifest
from model_zoo.statements.policy import Policy
from model_zoo.statements.release_json import parse_bundle
from model_zoo.statements.verification import require_demands, require_no_reserved_name
from model_zoo.tuf.revocations import withdrawal, withdrawn_file
from model_zoo.tuf.roles import target_path
from model_zoo.tuf.view import TrustedZoo

MAX_ANCESTORS = 64

ContainingReleases = Callable[[str], Sequence[ReleaseName]]
"""Asks the zoo which releases hold the file of a digest: a hint, verified by TUF."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustedRelease:
    """What a TUF role vouches for under one release name.

    ``bundle`` is the target ``release.json`` itself; ``overridden`` tells which
    withdrawals the policy said to ignore.
    """

    statement: ReleaseStatement
    envelope: Envelope
    provenance: Envelope | None
    bundle: bytes
    overridden: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Ancestor:
    """A file that a release was made from, and the way to it.

    ``chain`` starts at the release and names what each step was made from.
    """

    sha256: str
    release: ReleaseName | None
    chain: tuple[str, ...]


def trusted_release(
    zoo: TrustedZoo,
    name: ReleaseName,
    *,
    policy: Policy,
    containing_releases: ContainingReleases,
) -> TrustedRelease:
    """Return the release that the zoo's roles vouch for under ``name``.

    Raises:
        VerificationError: a subclass for each way in which it does not hold.
        NotFoundError: no role vouches for such a release.
        TransportError: something did not arrive.
    """
    # (1) What the policy demands can be honoured, and it accepts the publisher.
    policy.require_honoured(rooted=True)
    policy.require_accepted(name)
    # (2) Neither its publisher nor the operator withdrew it.
    withdrawn = withdrawal(zoo, name)
    if withdrawn is not None:
        # What was withdrawn stands in no role any more: no override brings it back.
        raise YankedError(withdrawn)
    # (3) A role that the root leads to names its release.json by length and digest.
    release = read_release(zoo, name)
    # (4) It speaks of the release that was asked for, and leaves room for evidence.
    if release.statement.release != name:
        raise WrongReleaseError.of(
            expected=str(name), found=str(release.statement.release)
        )
    require_no_reserved_name(release.statement.manifest)
    # (5) What is pinned beside the root holds as well: keys, builder, one statement.
    require_demands(
        release.statement,
        release.envelope,
        policy=policy,
        provenance=release.provenance,
    )
    # (6) A trusted builder says how it was made, where the policy asks for one.
    provenance = _provenance(zoo, release, policy=policy)
    # (7) Nothing that it was made from was withdrawn.
    overridden = _require_sound_ancestry(
        zoo, release, provenance, policy=policy, containing_releases=containing_releases
    )
    return replace(release, overridden=overridden)


def release_of(path: str) -> ReleaseName | None:
    """Return the release whose bundle a target path names; None for other paths."""
    try:
        publisher, model, version, file = path.split("/")
        name = ReleaseName(publisher, model, version)
    except (InvalidSpecError, ValueError):
        return None
    return name if file == BUNDLE_NAME else None


def ancestry(
    zoo: TrustedZoo,
    name: ReleaseName,
    provenance: Provenance | None,
    *,
    containing_releases: ContainingReleases,
) -> list[Ancestor]:
    """Return what a release was made from, parents first, as far as it is known.

    A parent is signed in the provenance of its child. Which release holds it is asked
    of the zoo and verified; where the zoo does not say, the way ends there: no known
    parents is no proof of no parents.
    """
    found: dict[str, Ancestor] = {}
    todo: deque[tuple[Provenance | None, tuple[str, ...]]] = deque(
        [(provenance, (str(name),))]
    )
    while todo:
        made, chain = todo.popleft()
        for sha256 in _parents(made):
            if sha256 in found:
                continue
            if len(found) >= MAX_ANCESTORS:
                msg = f"{name}: more than {MAX_ANCESTORS} ancestors"
                raise PolicyNotMetError(msg)
            release, theirs = _held(
                zoo, sha256, containing_releases=containing_releases
            )
            label = str(release) if release else f"file {sha256[:16]}"
            found[sha256] = Ancestor(sha256, release, (*chain, label))
            todo.append((theirs, (*chain, label)))
    return list(found.values())


def read_release(zoo: TrustedZoo, name: ReleaseName) -> TrustedRelease:
    """Return what the publisher's role vouches for under ``name``, policy apart.

    Raises:
        NotFoundError: nothing.
    """
    try:
        data = zoo.read_target(target_path(name, BUNDLE_NAME))
    except NotFoundError as error:
        msg = f"no role vouches for a release {name}"
        raise NotFoundError(msg) from error
    envelope, provenance = parse_bundle(data)
    return TrustedRelease(
        statement=vouched_release(envelope),
        envelope=envelope,
        provenance=provenance,
        bundle=data,
    )


def _provenance(
    zoo: TrustedZoo, release: TrustedRelease, *, policy: Policy
) -> Provenance | None:
    """Return the provenance; its files are the release's."""
    name = release.statement.release
    if release.provenance is None:
        if policy.provenance:
            msg = f"{name}: the policy demands provenance and there is none"
            raise PolicyNotMetError(msg)
        return None
    provenance = vouched_provenance(release.provenance)
    if policy.provenance:
        builders = zoo.trusted_keys().builder_role()
        if builders is None:
            msg = f"{name}: the policy demands provenance; this zoo trusts no builder"
            raise PolicyNotMetError(msg)
        provenance = open_provenance(release.provenance, builders)
    _require_same_files(provenance, release.statement.manifest)
    return provenance


def _require_same_files(provenance: Provenance, manifest: Manifest) -> None:
    if provenance.subjects != subjects_of(manifest):
        msg = "the provenance is of other files than these"
        raise ProvenanceMismatchError(msg)


def _require_sound_ancestry(
    zoo: TrustedZoo,
    release: TrustedRelease,
    provenance: Provenance | None,
    *,
    policy: Policy,
    containing_releases: ContainingReleases,
) -> tuple[str, ...]:
    """Return the withdrawals that the policy overrides; refuse the others."""
    name = release.statement.release
    relatives = [
        Ancestor(file.sha256, name, (str(name),))
        for file in release.statement.manifest.files
    ]
    relatives += ancestry(
        zoo, name, provenance, containing_releases=containing_releases
    )
    overridden = []
    for relative in relatives:
        reason = withdrawn_file(zoo, relative.sha256, release=relative.release)
        if reason is None:
            continue
        found = f"{' <- '.join(relative.chain)}: {reason}"
        if str(name) not in policy.allow_withdrawn:
            msg = f"{found}; what was made from it is refused too"
            raise YankedError(msg)
        overridden.append(found)
    return tuple(overridden)


def _parents(provenance: Provenance | None) -> list[str]:
    """Return the digests of what was learned from: parents and data sets alike."""
    return [] if provenance is None else sorted(provenance.inputs.values())


def _held(
    zoo: TrustedZoo, sha256: str, *, containing_releases: ContainingReleases
) -> tuple[ReleaseName | None, Provenance | None]:
    """Return a release that verifiably holds the file, and its provenance.

    One that may be used comes before one that was withdrawn: who withdraws a copy, or
    lets his own role expire, takes the file from nobody else.

    Raises:
        VerificationError: nothing is known of it but by a role that cannot be believed.
    """
    withdrawn: TrustedRelease | None = None
    unbelieved: VerificationError | None = None
    for name in containing_releases(sha256):
        try:
            release = _holding(zoo, name, sha256)
            if release is None:
                continue
            if withdrawn_file(zoo, sha256, release=name) is None:
                return name, _claimed(release)
        except VerificationError as error:
            unbelieved = unbelieved or error
            continue
        withdrawn = withdrawn or release
    if withdrawn is not None:
        return withdrawn.statement.release, _claimed(withdrawn)
    if unbelieved is not None:
        raise unbelieved
    return None, None


def _holding(zoo: TrustedZoo, name: ReleaseName, sha256: str) -> TrustedRelease | None:
    """Return the release if a role vouches for it and the file is one of its own."""
    try:
        release = read_release(zoo, name)
    except NotFoundError:
        return None
    held = {file.sha256 for file in release.statement.manifest.files}
    is_held = release.statement.release == name and sha256 in held
    return release if is_held else None


def _claimed(release: TrustedRelease) -> Provenance | None:
    made = release.provenance
    return None if made is None else vouched_provenance(made)
