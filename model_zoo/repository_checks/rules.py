"""The rules of a TUF repository that anyone can check from outside, keys and times.

Every rule is a function of one observed state and a time; ``CHECKS`` lists them. The
rules on paths are in ``model_zoo.repository_checks.path_rules``.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import pairwise

from securesystemslib.signer import Key
from tuf.api.metadata import Metadata, Role, Root, Snapshot, Targets, Timestamp

from model_zoo.errors import MalformedDocumentError
from model_zoo.keys.ed25519 import PublicKey
from model_zoo.repository_checks.observe import Finding, Repository, failure, warning
from model_zoo.tuf.roles import (
    LIFETIMES,
    OPERATOR,
    PUBLISHER_LIFETIME,
    ROOT,
    SNAPSHOT,
    TARGETS,
    TIMESTAMP,
    TOP_LEVEL,
    YANKED,
    is_development,
    is_yanked_bin,
    our_key,
)

Check = Callable[[Repository, datetime], Iterator[Finding]]

ONLINE = frozenset({SNAPSHOT, TIMESTAMP, YANKED})
"""Roles whose keys lie on the server, where a thief may find them; so do the bins'."""
MIN_ROOT_THRESHOLD = 2
HEADROOM = 0.25
"""Of the usual lifetime: with less left, whoever should have renewed it has not."""
MAX_LIFETIMES = 2
"""Signed for longer than this many usual lifetimes, expiry no longer ends a freeze."""

AnyMetadata = (
    Metadata[Root] | Metadata[Timestamp] | Metadata[Snapshot] | Metadata[Targets]
)


def root_chain(repository: Repository, _: datetime) -> Iterator[Finding]:
    """Each root is signed by enough of its own keys and of those before it."""
    for root in repository.roots[:1]:
        yield from _signed_enough(root.signed, ROOT, root.metadata)
    for before, root in pairwise(repository.roots):
        for delegator in (before, root):
            yield from _signed_enough(delegator.signed, ROOT, root.metadata)


def thresholds(repository: Repository, _: datetime) -> Iterator[Finding]:
    """Every role is signed by enough distinct keys of each that delegates to it."""
    for root in repository.roots[-1:]:
        if repository.timestamp is not None:
            signed = repository.timestamp.metadata
            yield from _signed_enough(root.signed, TIMESTAMP, signed)
        if repository.snapshot is not None:
            snapshot = repository.snapshot.metadata
            yield from _signed_enough(root.signed, SNAPSHOT, snapshot)
    for delegator, name in _delegations(repository):
        if name in repository.roles:
            role = repository.roles[name].metadata
            yield from _signed_enough(delegator, name, role)


def named_in_snapshot(repository: Repository, _: datetime) -> Iterator[Finding]:
    """The snapshot names the roles that are delegated, and no others."""
    if repository.snapshot is None:
        return
    named = {name.removesuffix(".json") for name in repository.snapshot.signed.meta}
    delegated = {name for _, name in _delegations(repository)}
    for name in sorted(delegated - named):
        # a publisher that is bound and has released nothing yet is in no snapshot
        why = "delegated, and not in the snapshot: asking for its paths is an error"
        tell = failure if name == TARGETS or "~" in name else warning
        yield tell("not-in-snapshot", name, why)
    for name in sorted(named - delegated):
        yield warning("orphan", name, "in the snapshot, and nobody delegates to it")


def never_dropped(repository: Repository, _: datetime) -> Iterator[Finding]:
    """No snapshot drops a role that an older one names, or takes one back."""
    if repository.snapshot is None:
        return
    for after, before in pairwise((repository.snapshot, *repository.older)):
        yield from went_back(before.signed, after.signed)


def went_back(before: Snapshot, after: Snapshot) -> Iterator[Finding]:
    """Tell of roles that ``after`` drops or names in an older version."""
    between = f"from snapshot {before.version} to {after.version}"
    for file_name, meta in before.meta.items():
        name = file_name.removesuffix(".json")
        now = after.meta.get(file_name)
        if now is None:
            yield failure("dropped", name, f"dropped {between}: clients refuse that")
        elif now.version < meta.version:
            back = f"from version {meta.version} back to {now.version}, {between}"
            yield failure("went-back", name, back)


def expiries(repository: Repository, now: datetime) -> Iterator[Finding]:
    """Nothing has expired, is about to, or lives so long that a freeze would last."""
    for name, expires in _expiries(repository):
        usual = LIFETIMES.get(name, PUBLISHER_LIFETIME)
        left = expires - now
        when = f"expires {expires:%Y-%m-%dT%H:%M:%SZ}"
        if left <= timedelta():
            yield failure("expired", name, f"{when}: clients refuse it")
        elif left < usual * HEADROOM:
            yield warning("expires-soon", name, f"{when}: renew it now")
        elif left > usual * MAX_LIFETIMES:
            yield warning("lives-too-long", name, f"{when}: usual is {usual.days} days")


def key_listed_twice(repository: Repository, _: datetime) -> Iterator[Finding]:
    """No key stands twice in a role: it would meet a threshold of two alone."""
    for name, keys in _keys(repository):
        publics = [_public(key) for key in keys]
        for public in sorted({it for it in publics if publics.count(it) > 1}):
            why = f"key {public[:16]} is listed under two keyids"
            yield failure("key-listed-twice", name, why)


def keys_are_ours(repository: Repository, _: datetime) -> Iterator[Finding]:
    """Every key is Ed25519 and listed under its own keyid, as our clients demand."""
    for name, keys in _keys(repository):
        for key in keys:
            try:
                our_key(key)
            except MalformedDocumentError as error:
                yield failure("foreign-key", name, str(error))


def keys_apart(repository: Repository, _: datetime) -> Iterator[Finding]:
    """No key signs both online and offline, or for two publishers.

    A scanner's key is meant to cosign for every publisher: the zoo says which it is.
    """
    cosigners = {
        PublicKey.from_pem(pem).raw.hex() for pem in repository.trusted.scanners
    }
    roles_of: dict[str, set[str]] = defaultdict(set)
    for name, keys in _keys(repository):
        for key in keys:
            roles_of[_public(key)].add(name)
    for public, names in sorted(roles_of.items()):
        why = f"key {public[:16]} signs for {', '.join(sorted(names)[:8])}"
        offline = {name for name in names - ONLINE if not is_yanked_bin(name)}
        if len(offline) < len(names):
            for name in sorted(offline):
                yield failure("online-key", name, f"{why}: a server holds it")
        publishers = {name.partition("~")[0] for name in names}
        publishers -= {*TOP_LEVEL, OPERATOR}
        if len(publishers) > 1 and public not in cosigners:
            yield failure("shared-key", min(publishers), why)


def root_is_strong(repository: Repository, _: datetime) -> Iterator[Finding]:
    """One stolen key is not the whole zoo, and old files stay where they were."""
    for root in repository.roots[-1:]:
        if not root.signed.consistent_snapshot:
            why = "no consistent snapshots: a publish breaks clients under way"
            yield failure("not-consistent", ROOT, why)
        threshold = root.signed.roles[ROOT].threshold
        if threshold < MIN_ROOT_THRESHOLD and not is_development(root.signed):
            why = f"a threshold of {threshold}: one stolen key is the whole zoo"
            yield warning("weak-root", ROOT, why)


CHECKS: tuple[Check, ...] = (
    root_chain,
    thresholds,
    named_in_snapshot,
    never_dropped,
    expiries,
    key_listed_twice,
    keys_are_ours,
    keys_apart,
    root_is_strong,
)


def _signed_enough(
    delegator: Root | Targets, name: str, role: AnyMetadata
) -> Iterator[Finding]:
    """Tell where fewer distinct keys signed than must; python-tuf counts keyids."""
    result = delegator.get_verification_result(name, role.signed_bytes, role.signatures)
    signers = {_public(key) for key in result.signed.values()}
    if len(signers) < result.threshold:
        why = (
            f"version {role.signed.version} is signed by {len(signers)} of "
            f"{result.threshold} keys that {delegator.type} "
            f"{delegator.version} demands"
        )
        yield failure("threshold", name, why)


def _delegations(repository: Repository) -> Iterator[tuple[Root | Targets, str]]:
    """Yield every delegation of a targets role: who delegates, and to which name."""
    for root in repository.roots[-1:]:
        yield root.signed, TARGETS
    for file in repository.roles.values():
        for name in delegated_names(file.signed):
            yield file.signed, name


def delegated_names(targets: Targets) -> Iterator[str]:
    """Yield the names of the roles that ``targets`` delegates to, bins included."""
    if targets.delegations is None:
        return
    yield from targets.delegations.roles or ()
    if targets.delegations.succinct_roles is not None:
        yield from targets.delegations.succinct_roles.get_roles()


def _keys(repository: Repository) -> Iterator[tuple[str, list[Key]]]:
    """Yield every role of the newest root and of each delegator, and its keys."""
    for root in repository.roots[-1:]:
        for name, role in root.signed.roles.items():
            yield name, _listed(role, root.signed.keys)
    for file in repository.roles.values():
        if file.signed.delegations is not None:
            keys = file.signed.delegations.keys
            for name in delegated_names(file.signed):
                yield name, _listed(file.signed.get_delegated_role(name), keys)


def _listed(role: Role, keys: dict[str, Key]) -> list[Key]:
    return [keys[keyid] for keyid in role.keyids if keyid in keys]


def _expiries(repository: Repository) -> Iterator[tuple[str, datetime]]:
    for file in (*repository.roots[-1:], repository.timestamp, repository.snapshot):
        if file is not None:
            yield file.name, file.signed.expires
    for name, role in repository.roles.items():
        yield name, role.signed.expires


def _public(key: Key) -> str:
    return str(key.keyval.get("public", key.keyid)).lower()
