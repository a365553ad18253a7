"""TUF roles as this zoo uses them: names, paths, lifetimes, and our keys in TUF's form.

Source:
    The Update Framework Specification 1.0.34; TAP 15 (succinct hash bin delegations).
"""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, TypeVar

from securesystemslib.signer import Key, Signature, SSlibKey
from tuf.api.metadata import (
    DelegatedRole,
    Metadata,
    Root,
    Signed,
    Snapshot,
    SuccinctRoles,
    Targets,
    Timestamp,
)
from tuf.api.serialization.json import CanonicalJSONSerializer, JSONSerializer

from model_zoo.canonical import parse_object
from model_zoo.errors import InvalidSpecError, MalformedDocumentError
from model_zoo.keys import PublicKey, SigningKey
from model_zoo.names import ReleaseName, check_name

ROOT, TARGETS, SNAPSHOT, TIMESTAMP = "root", "targets", "snapshot", "timestamp"
TOP_LEVEL = (ROOT, TARGETS, SNAPSHOT, TIMESTAMP)
OPERATOR = "zoo"
"""The first segment of target paths that the operator's keys sign."""
RESERVED_PUBLISHERS = frozenset({*TOP_LEVEL, OPERATOR, "api", "hub", "log", "tuf"})
"""Names of TUF's own roles, and the first segments of the service's own paths."""

WITHDRAWN = "zoo~withdrawn"
"""The empty role that stands first and hides what the operator withdrew."""
YANKED = "zoo~yanked"
"""The online role that names withdrawn weights by digest, for those who descend."""
YANKED_PATHS = "zoo/yanked/*"
TRUSTED_KEYS = "zoo/trusted-keys.json"

LIFETIMES = {
    ROOT: timedelta(days=365),
    TARGETS: timedelta(days=90),
    SNAPSHOT: timedelta(days=7),
    TIMESTAMP: timedelta(days=1),
}
PUBLISHER_LIFETIME = timedelta(days=365)
"""A year: a publisher on holiday must not take his models along; yanks are explicit."""

MAX_METADATA_BYTES = 5_000_000
"""What stock clients read of one targets role."""
SPLIT_AFTER = 256
"""Targets in one publisher's role before it splits into bins."""
BIN_BITS = 3
YANKED_BIN_BITS = 8
"""Of withdrawn digests: every client looks some of them up, and none wants them all."""

DEVELOPMENT = "x-verified-model-zoo-development"
SIGNED_AT = "x-verified-model-zoo-signed-at"

T = TypeVar("T", Root, Targets, Snapshot, Timestamp)
_KINDS: Mapping[type[Signed], str] = {
    Root: ROOT,
    Targets: TARGETS,
    Snapshot: SNAPSHOT,
    Timestamp: TIMESTAMP,
}
_COMPACT = JSONSerializer(compact=True)


def publisher_paths(publisher: str) -> list[str]:
    """Return the path patterns that belong to ``publisher`` and to nobody else.

    Raises:
        InvalidSpecError: not a name, or one that TUF or the operator needs.
    """
    check_name(publisher, what="publisher")
    if publisher in RESERVED_PUBLISHERS:
        msg = f"no publisher can be called {publisher}: the name is taken by the zoo"
        raise InvalidSpecError(msg)
    return [f"{publisher}/*/*/*"]


def target_path(release: ReleaseName, file: str) -> str:
    """Return the TUF target path of a release's file."""
    return f"{release.publisher}/{release.model}/{release.version}/{file}"


def bins_of(publisher: str, keyids: Iterable[str], threshold: int) -> SuccinctRoles:
    """Return the bins of a large publisher: the same keys, the same threshold."""
    bits = YANKED_BIN_BITS if publisher == YANKED else BIN_BITS
    return SuccinctRoles(list(keyids), threshold, bits, bin_prefix(publisher))


def bin_prefix(publisher: str) -> str:
    """Return how the names of a publisher's bins begin.

    Short: the snapshot spells eight of them for every large publisher.
    """
    return f"{publisher}~b"


def is_yanked_bin(role: str) -> bool:
    """Whether a role is a bin of the one that names withdrawn files by digest."""
    return role.startswith(f"{bin_prefix(YANKED)}-")


def tuf_key(key: PublicKey) -> Key:
    """Return ``key`` as TUF metadata lists it; the keyid is the same."""
    return SSlibKey(key.keyid, "ed25519", "ed25519", {"public": key.raw.hex()})


def our_key(key: Key) -> PublicKey:
    """Return the Ed25519 key that TUF metadata lists.

    Raises:
        MalformedDocumentError: another kind of key, or listed under a wrong keyid.
    """
    try:
        ours = PublicKey(bytes.fromhex(key.keyval["public"]))
    except (KeyError, TypeError, ValueError, InvalidSpecError) as error:
        msg = f"key {key.keyid[:16]}: expected Ed25519, found {key.keytype[:20]}"
        raise MalformedDocumentError(msg) from error
    if (key.keytype, key.scheme, key.keyid) != ("ed25519", "ed25519", ours.keyid):
        msg = f"key {key.keyid[:16]} is not listed under its own keyid"
        raise MalformedDocumentError(msg)
    return ours


def sign(metadata: Metadata[Any], *keys: SigningKey) -> None:
    """Add the signature of each of ``keys``; those that are there stay."""
    payload = signed_bytes(metadata.signed)
    for key in keys:
        keyid = key.public.keyid
        metadata.signatures[keyid] = Signature(keyid, key.sign(payload).hex())


def signed_bytes(signed: Signed) -> bytes:
    """Return the bytes that are signed: canonical JSON, as python-tuf spells it.

    Where no string needs an escape and no number has a fraction, the standard
    library's encoder gives the same bytes, many times faster.

    Raises:
        RepositoryError: there is no canonical JSON of it.
    """
    text = json.dumps(signed.to_dict(), sort_keys=True, separators=(",", ":"))
    fractions: list[str] = []
    json.loads(text, parse_float=fractions.append, parse_constant=fractions.append)
    if "\\" in text or fractions:
        return CanonicalJSONSerializer().serialize(signed)
    return text.encode("ascii")


def to_bytes(metadata: Metadata[Any]) -> bytes:
    """Return the file of ``metadata``, as short as stock clients read it."""
    return metadata.to_bytes(_COMPACT)


def parse(data: bytes, kind: type[T]) -> Metadata[T]:
    """Return the metadata in ``data``; no signature is checked here.

    Raises:
        MalformedDocumentError: not metadata of this kind, or a name stands twice.
    """
    try:
        metadata: Metadata[Any] = Metadata.from_dict(
            parse_object(data, limit_bytes=MAX_METADATA_BYTES)
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        msg = f"not TUF metadata: {error}"
        raise MalformedDocumentError(msg) from error
    if not isinstance(metadata.signed, kind):
        msg = f"expected {_KINDS[kind]} metadata, found {metadata.signed.type}"
        raise MalformedDocumentError(msg)
    return metadata


def version_of(role: str, data: bytes) -> int:
    """Return the version of a root or targets role's file, whoever signed it.

    Raises:
        MalformedDocumentError: not such metadata.
    """
    if role == ROOT:
        return parse(data, Root).signed.version
    return parse(data, Targets).signed.version


def is_development(root: Root) -> bool:
    """Whether this root was made by a service for itself, all keys on one disk."""
    return root.unrecognized_fields.get(DEVELOPMENT, False) is not False


def expiry(role: str, now: datetime) -> datetime:
    """Return when metadata of ``role`` that is signed ``now`` expires."""
    return now.replace(microsecond=0) + LIFETIMES.get(role, PUBLISHER_LIFETIME)


def delegation_of(targets: Targets, name: str) -> DelegatedRole | None:
    """Return the delegation called ``name`` in top-level targets, or None."""
    delegations = targets.delegations
    if delegations is None or delegations.roles is None:
        return None
    return delegations.roles.get(name)


def keys_of(targets: Targets, role: DelegatedRole) -> tuple[PublicKey, ...]:
    """Return the keys that ``targets`` delegates ``role`` to, in the order listed.

    Raises:
        MalformedDocumentError: a key is missing, or not ours to use.
    """
    delegations = targets.delegations
    known = {} if delegations is None else delegations.keys
    try:
        return tuple(our_key(known[keyid]) for keyid in role.keyids)
    except KeyError as error:
        msg = f"role {role.name}: its key {error} is not listed"
        raise MalformedDocumentError(msg) from error
