"""``zoo/trusted-keys.json``: the keys that one pinned root brings along."""

from typing import Annotated

from pydantic import Field
from tuf.api.metadata import Targets

from model_zoo.digests import sha256_bytes
from model_zoo.documents import Document
from model_zoo.errors import InvalidSpecError, MalformedDocumentError
from model_zoo.keys.ed25519 import PublicKey
from model_zoo.keys.p256 import public_pem
from model_zoo.statements.dsse import Role
from model_zoo.transparency.memory import require_apart
from model_zoo.tuf.publisher_roles import target_file
from model_zoo.tuf.roles import TRUSTED_KEYS

KEYS_FILE = "trusted-keys.json"
MAX_TRUSTED_KEYS_BYTES = 256 * 1024
_Pems = Annotated[tuple[str, ...], Field(max_length=64)]


class TrustedKeys(Document):
    """Whose word counts for what; PEM, Ed25519 but for ``oms``, which is P-256.

    ``log`` and ``log_origin`` name the transparency log, ``witnesses`` who may cosign
    its checkpoints, ``builders`` whose provenance and ``scanners`` whose reports to
    believe. Signed by the top-level targets key.

    ``log_retired`` are keys that signed this log once and sign no more: they count for
    a checkpoint that somebody remembers himself, never for one that is brought to him.
    """

    format: Annotated[int, Field(ge=1, le=1)] = 1
    log_origin: str = ""
    log: _Pems = ()
    log_retired: _Pems = ()
    witnesses: _Pems = ()
    builders: _Pems = ()
    scanners: _Pems = ()
    oms: _Pems = ()

    @classmethod
    def read(cls, data: bytes) -> "TrustedKeys":
        """Return the document in ``data``, which the caller has verified.

        Raises:
            MalformedDocumentError: it is no such document, a key in it is none, a
                builder stands twice, or a log's key is current and retired at once.
        """
        try:
            trusted = cls.from_bytes(data, limit_bytes=MAX_TRUSTED_KEYS_BYTES)
            require_apart(trusted.log_keys(), trusted.retired_log_keys())
            trusted.witness_keys()
            trusted.builder_role()
            for pem in trusted.scanners:
                PublicKey.from_pem(pem)
        except (ValueError, InvalidSpecError) as error:
            msg = f"trusted keys: {error}"
            raise MalformedDocumentError(msg) from error
        return trusted

    def log_keys(self) -> tuple[PublicKey, ...]:
        """Return the keys that sign the log's checkpoints."""
        return tuple(PublicKey.from_pem(pem) for pem in self.log)

    def retired_log_keys(self) -> tuple[PublicKey, ...]:
        """Return the keys that signed the log once."""
        return tuple(PublicKey.from_pem(pem) for pem in self.log_retired)

    def witness_keys(self) -> tuple[PublicKey, ...]:
        """Return the keys of the witnesses."""
        return tuple(PublicKey.from_pem(pem) for pem in self.witnesses)

    def builder_role(self) -> Role | None:
        """Return the role of all builders, any one of which is enough; None if none."""
        keys = tuple(PublicKey.from_pem(pem) for pem in self.builders)
        return Role("trusted builders", keys) if keys else None


def list_trusted_keys(targets: Targets, data: bytes) -> None:
    """Let ``targets`` name the trusted keys in ``data``, and no others."""
    targets.targets[TRUSTED_KEYS] = target_file(
        TRUSTED_KEYS, size_bytes=len(data), sha256=sha256_bytes(data)
    )


def named_trusted_keys(targets: Targets, data: bytes) -> TrustedKeys:
    """Return the trusted keys in ``data``, if they are those that ``targets`` name.

    Raises:
        MalformedDocumentError: they are not, or are no such document.
    """
    named = targets.targets.get(TRUSTED_KEYS)
    if (
        named is None
        or named.length != len(data)
        or named.hashes.get("sha256") != sha256_bytes(data)
    ):
        msg = f"{TRUSTED_KEYS}: not the file that the targets name"
        raise MalformedDocumentError(msg)
    return TrustedKeys.read(data)


def with_online_keys(
    trusted: TrustedKeys, *, log_key: PublicKey | None = None, oms: str | None = None
) -> TrustedKeys:
    """Return trusted keys in which a server's log or P-256 key (PEM) is another.

    The log's key retires: what people remember stays theirs to compare with. The P-256
    key is struck out, since whoever checks a bundle remembers nothing.

    Raises:
        InvalidSpecError: the log's key has retired already, or oms is no P-256 key.
    """
    changes: dict[str, tuple[str, ...]] = {}
    if log_key is not None:
        pem = log_key.to_pem()
        if pem in trusted.log_retired:
            msg = "this key has signed the log before and was replaced: make a new one"
            raise InvalidSpecError(msg)
        gone = (it for it in trusted.log if it != pem)
        changes = {"log": (pem,), "log_retired": (*trusted.log_retired, *gone)}
    if oms is not None:
        changes["oms"] = (public_pem(oms),)
    return TrustedKeys(**{**trusted.model_dump(), **changes})


def trusted_keys_file(version: int) -> str:
    """Return how the trusted keys of targets of a later version are called in a folder.

    Each has a name of its own, since ``trusted-keys.json`` goes with the first.
    """
    return f"{version}.{KEYS_FILE}"
