"""Names the service gives: 128 random bits; ``names.check_id`` checks them."""

import uuid


def new_id() -> str:
    """Return a name that nobody can guess: 32 hexadecimal digits."""
    return uuid.uuid4().hex
