"""TUF roles as this zoo uses them: names, paths, lifetimes, and our keys in TUF's form.

Source:
    The Update Framework Specification 1.0.34; TAP 15 (succinct hash bin delegations).
"""

import json
from collections.abc import Iterable, Iterator, Mapping
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
from model_zoo.keys.ed25519 import PublicKey, SigningKey
from model_zoo.names import ReleaseName, check_name

ROOT, TARGETS, SNAPSHOT, TIMESTAMP = "root", "targets", "snapshot", "timestamp"
TOP_LEVEL = (ROOT, TARGETS, SNAPSHOT, TIMESTAMP)
OPERATOR = "zoo"
"""The first segment of target paths that the operator's keys sign."""

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
WITHDRAWALS = "x-verified-model-zoo-withdrawals"
"""In the empty role: which releases the operator withdrew, and why."""
MAX_UNKNOWN_BYTES = 16 * 1024
"""Of all that a file of metadata holds beside the fields of TUF and of this zoo."""
MAX_SIGNATURES = 64
MAX_VERSION = 2**53
"""The last that every JSON reader counts exactly."""

T = TypeVar("T", Root, Targets, Snapshot, Timestamp)
_KINDS: Mapping[type[Signed], str] = {
    Root: ROOT,
    Targets: TARGETS,
    Snapshot: SNAPSHOT,
    Timestamp: TIMESTAMP,
}
_HASHES = frozenset({"sha256", "sha512"})
_COMPACT = JSONSerializer(compact=True)


def publisher_paths(publisher: str) -> list[str]:
    """Return the path patterns that belong to ``publisher`` and to nobody else.

    Raises:
        InvalidSpecError: not a name.
    """
    check_name(publisher, what="publisher")
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
        MalformedDocumentError: not metadata of this kind, or as for ``checked``.
    """
    metadata = checked(data)
    if not isinstance(metadata.signed, kind):
        msg = f"expected {_KINDS[kind]} metadata, found {metadata.signed.type}"
        raise MalformedDocumentError(msg)
    return metadata


def checked(data: bytes) -> Metadata[Any]:
    """Return the metadata of any kind in ``data``; no signature is checked here.

    What comes by network and what lies in evidence pass here alike, so that a file is
    refused by both or by neither. Unknown fields are kept, as TUF asks, up to a bound.

    Raises:
        MalformedDocumentError: not metadata, a name stands twice, or over a bound.
    """
    try:
        metadata: Metadata[Any] = Metadata.from_dict(
            parse_object(data, limit_bytes=MAX_METADATA_BYTES)
        )
        _require_bounds(metadata)
    except ValueError as error:
        msg = f"not TUF metadata: {error}"
        raise MalformedDocumentError(msg) from error
    except (KeyError, TypeError, AttributeError, OverflowError) as error:
        msg = "not TUF metadata: a field is missing or has another type than TUF's"
        raise MalformedDocumentError(msg) from error
    return metadata


def _require_bounds(metadata: Metadata[Any]) -> None:
    """Accept metadata without much beside what TUF and this zoo know.

    Raises:
        ValueError: too many signatures or unknown fields, or too high a version.
    """
    if len(metadata.signatures) > MAX_SIGNATURES:
        msg = f"more than {MAX_SIGNATURES} signatures"
        raise ValueError(msg)
    versions = [metadata.signed.version]
    versions += [it.version for it in _listed(metadata.signed, "meta")]
    if max(versions) > MAX_VERSION or bool in map(type, versions):
        msg = f"a version above {MAX_VERSION}, or none"
        raise ValueError(msg)
    unknown = sum(len(json.dumps(it)) for it in _unknown(metadata) if it)
    if unknown > MAX_UNKNOWN_BYTES:
        msg = f"{unknown} bytes of unknown fields, at most {MAX_UNKNOWN_BYTES} are kept"
        raise ValueError(msg)


def _unknown(metadata: Metadata[Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the unknown fields of the file and of everything in it."""
    signed = metadata.signed
    yield metadata.unrecognized_fields
    known = {DEVELOPMENT, SIGNED_AT, WITHDRAWALS}
    yield {k: it for k, it in signed.unrecognized_fields.items() if k not in known}
    delegations = getattr(signed, "delegations", None)
    for it in (
        *metadata.signatures.values(),
        *_listed(signed, "keys", "roles", "meta", "targets"),
        *([] if delegations is None else [delegations]),
        *([] if delegations is None else _listed(delegations, "keys", "roles")),
        *_listed(delegations, "succinct_roles"),
    ):
        yield it.unrecognized_fields
        hashes = getattr(it, "hashes", None) or {}
        yield {k: value for k, value in hashes.items() if k not in _HASHES}


def _listed(holder: object, *names: str) -> Iterator[Any]:
    """Yield what a role lists under ``names``, mappings and single things alike."""
    for name in names:
        found = getattr(holder, name, None)
        if isinstance(found, Mapping):
            yield from found.values()
        elif found is not None:
            yield found


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
