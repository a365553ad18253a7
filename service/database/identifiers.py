"""Ids that the service gives: 128 random bits, checked before they reach a path."""

import re
import uuid

from model_zoo.errors import InvalidSpecError

_ID = re.compile(r"[0-9a-f]{32}", re.ASCII)


def new_id() -> str:
    """Return a name that nobody can guess: 32 hexadecimal digits."""
    return uuid.uuid4().hex


def check_id(text: str, *, what: str) -> str:
    """Return ``text`` if the service could have given it.

    Raises:
        InvalidSpecError: it could not.
    """
    if not _ID.fullmatch(text):
        msg = f"{what} id {text[:80]!a}: expected 32 hexadecimal digits"
        raise InvalidSpecError(msg)
    return text
