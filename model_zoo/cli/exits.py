"""Exit codes: one table, from the reader's decision to a number."""

from collections.abc import Mapping

from model_zoo.errors import (
    ConflictError,
    ExpectationError,
    InvalidSpecError,
    LocalError,
    NotFoundError,
    NotPermittedError,
    TransportError,
    VerificationError,
    ZooError,
)

EXIT_CODES: Mapping[type[ZooError], int] = {
    ExpectationError: 1,
    LocalError: 1,
    InvalidSpecError: 2,
    TransportError: 3,
    VerificationError: 4,
    NotFoundError: 5,
    NotPermittedError: 5,
    ConflictError: 5,
    ZooError: 1,
}


def exit_code(error: ZooError) -> int:
    """Return the exit code for ``error``, that of its nearest class in the table."""
    return EXIT_CODES[decision(error)]


def decision(error: ZooError) -> type[ZooError]:
    """Return the kind of error that asks the same of a user."""
    return next(kind for kind in type(error).__mro__ if kind in EXIT_CODES)
