"""Which trusted keys may be listed next: readable, with no break in the log's history.

ADR 18: clients compare what they remember of the log, so its keys change in the open.
"""

from collections.abc import Mapping

from sqlalchemy.orm import Session
from tuf.api.metadata import Targets

from model_zoo.errors import InvalidSpecError, MalformedDocumentError
from model_zoo.keys.ed25519 import PublicKey
from model_zoo.keys.p256 import public_pem
from model_zoo.tuf.online import LOG, OMS
from model_zoo.tuf.roles import TRUSTED_KEYS
from model_zoo.tuf.trusted_keys import TrustedKeys, named_trusted_keys
from service.context import Context
from service.repository import state
from service.repository.commit import keep_target


def keep_trusted_keys(
    session: Session, new: Targets, files: Mapping[str, bytes]
) -> None:
    """Keep the trusted keys that the next targets name, if they may follow.

    Args:
        session: the caller commits.
        new: targets that are accepted but for this.
        files: path -> bytes of what was submitted with them.

    Raises:
        MalformedDocumentError: the file is missing or another one, clients could not
            read a key in it, or would forget what they saw of the log.
    """
    if set(new.targets) != {TRUSTED_KEYS}:
        msg = f"top-level targets hold {TRUSTED_KEYS} and nothing else"
        raise MalformedDocumentError(msg)
    sha256 = new.targets[TRUSTED_KEYS].hashes.get("sha256", "")
    data = files.get(TRUSTED_KEYS) or state.small_target(session, TRUSTED_KEYS, sha256)
    if data is None:
        msg = f"{TRUSTED_KEYS} changed, and the file did not come with the targets"
        raise MalformedDocumentError(msg)
    trusted = named_trusted_keys(new, data)
    _require_readable(trusted)
    _require_same_log(state.trusted_keys(session), trusted)
    keep_target(session, TRUSTED_KEYS, data, sha256=sha256)


def unlisted(context: Context, trusted: TrustedKeys) -> str | None:
    """Return which of this server's keys is not listed, and what to do; or None.

    A server that signed with it would be refused by every client.
    """
    keys, retired = trusted.log_keys(), trusted.retired_log_keys()
    if context.keys.log_key.public in retired:
        wrong = f"the key in {LOG}.pem has retired from the log"
    elif context.keys.log_key.public not in keys:
        wrong = f"the key in {LOG}.pem is not listed as the log's"
    elif context.keys.oms_key.public_pem() not in map(public_pem, trusted.oms):
        wrong = f"the key in {OMS}.pem is not listed as that of bundles"
    else:
        return None
    return (
        f"{context.keys.folder}: {wrong} in the current {TRUSTED_KEYS}; put the right "
        "key there, or the next targets and trusted keys (zoo trust rekey) beside it, "
        "and start again"
    )


def _require_readable(trusted: TrustedKeys) -> None:
    """Accept a list whose every entry clients can read: one bad key costs them all."""
    kinds = (
        (*trusted.log, *trusted.log_retired),
        trusted.witnesses,
        trusted.builders,
        trusted.scanners,
    )
    try:
        for kind in kinds:
            _require_distinct([PublicKey.from_pem(pem) for pem in kind])
        _require_distinct([public_pem(pem) for pem in trusted.oms])
    except InvalidSpecError as error:
        msg = f"{TRUSTED_KEYS}: {error}"
        raise MalformedDocumentError(msg) from error


def _require_distinct(keys: list[PublicKey] | list[str]) -> None:
    if len(set(keys)) != len(keys):
        msg = "one key is listed twice"
        raise InvalidSpecError(msg)


def _require_same_log(before: TrustedKeys, after: TrustedKeys) -> None:
    """Accept trusted keys under which clients can compare the log with what they saw.

    A key that retired stays retired, or a thief who has it could sign again.
    """
    if after.log_origin != before.log_origin:
        msg = f"{TRUSTED_KEYS}: the log is called {before.log_origin}, for good"
        raise MalformedDocumentError(msg)
    retired = set(after.retired_log_keys())
    if not set(before.retired_log_keys()) <= retired:
        msg = f"{TRUSTED_KEYS}: a key of the log that retired once stays retired"
        raise MalformedDocumentError(msg)
    if not set(before.log_keys()) <= {*after.log_keys(), *retired}:
        msg = f"{TRUSTED_KEYS}: a key of the log is replaced, and not in log_retired"
        raise MalformedDocumentError(msg)
