"""The whole error tree: one error, one reader's decision.

    ZooError
    ├── InvalidSpecError          the request makes no sense: fix it, never retry
    ├── NotFoundError             no such thing
    ├── ConflictError             it exists already, or somebody else was faster
    ├── NotPermittedError         not yours
    ├── ExpectationError          the command ran and what it expected did not hold
    ├── LocalError                this machine: disk full, port in use, missing extra
    ├── TransportError            the bytes did not arrive: try again
    │   └── TransferLimitError        too slow, or too much beside them: left alone
    └── VerificationError         the bytes cannot be believed: stop and tell someone
        ├── MalformedDocumentError    not the document it claims to be
        ├── ThresholdNotMetError      too few distinct trusted keys signed it
        ├── WrongReleaseError         signed, but for another name
        ├── ProvenanceMismatchError   signed, but built from something else
        ├── PolicyNotMetError         the policy demands more than there is, or nothing
        ├── LengthMismatchError       longer or shorter than the signed length
        ├── DigestMismatchError       other bytes than the signed ones
        ├── UnsafeFormatError         can run code, or breaks its format's rules
        ├── ExpiredMetadataError      true once; too old to say what is true now
        ├── RollbackError             older than what this client has seen already
        ├── SplitViewError            two histories signed by one log
        ├── YankedError               withdrawn, or made from what was withdrawn
        └── UntrustedServerError      the server's certificate is not the pinned one

HTTP status codes live in ``service/http/errors.py`` and exit codes in
``model_zoo/cli/output.py``; an error knows neither. Each takes its message; those
that are made from values have a constructor ``of`` as well. ADR 35.
"""

from typing import Self


class ZooError(Exception):
    """Anything this project refuses or fails to do, in words a user can act on."""


class InvalidSpecError(ZooError):
    """The request makes no sense; sending it again will not help."""


class NotFoundError(ZooError):
    """There is no such thing."""


class ConflictError(ZooError):
    """It exists already with other content, or somebody else was faster."""


class NotPermittedError(ZooError):
    """The key or token at hand does not allow this."""


class ExpectationError(ZooError):
    """The command ran to its end, and what it was asked to establish is not so."""


class LocalError(ZooError):
    """This machine cannot do it: disk full, port in use, an extra not installed."""


class TransportError(ZooError):
    """The bytes did not arrive; trying again may help."""


class TransferLimitError(TransportError):
    """The other side was slower, or sent more beside the bytes, than is waited for."""


class VerificationError(ZooError):
    """The bytes arrived and cannot be believed; trying again will not help."""


class MalformedDocumentError(VerificationError):
    """The bytes are not the document they claim to be."""


class ThresholdNotMetError(VerificationError):
    """Fewer distinct trusted keys signed the payload than the role demands."""

    valid = 0
    """How many signed, where somebody counted."""

    @classmethod
    def of(cls, role: str, *, valid: int, threshold: int) -> Self:
        """Return the error that says how many of the role's keys had to sign."""
        error = cls(
            f"{role}: signed by {valid} of the trusted keys, {threshold} needed; "
            "check which key you pinned, and tell the publisher if it is the right one"
        )
        error.valid = valid
        return error


class WrongReleaseError(VerificationError):
    """The statement is signed, but it speaks of another release."""

    @classmethod
    def of(cls, *, expected: str, found: str) -> Self:
        """Return the error that names what was asked for and what came."""
        return cls(f"asked for {expected}, the signed statement is of {found}")


class ProvenanceMismatchError(VerificationError):
    """The provenance is signed, but it describes another build."""


class PolicyNotMetError(VerificationError):
    """The policy demands evidence that is not there, or demands nothing at all."""


class LengthMismatchError(VerificationError):
    """The file is longer or shorter than its manifest says."""

    @classmethod
    def of(cls, name: str, *, expected: int, found: str) -> Self:
        """Return the error that says how long ``name`` should be, and what came."""
        return cls(f"{name}: expected {expected} bytes, found {found}")


class DigestMismatchError(VerificationError):
    """The bytes are not the ones that the digest names."""

    @classmethod
    def of(cls, name: str, *, expected: str, found: str) -> Self:
        """Return the error that names the file and both digests."""
        return cls(
            f"{name}: expected sha256 {expected}, found {found}; "
            "these are other bytes than the digest names: do not use them"
        )


class UnsafeFormatError(VerificationError):
    """The file can run code when loaded, or breaks the rules of its format."""


class ExpiredMetadataError(VerificationError):
    """It was true once and is too old to count now, or the clock is wrong."""


class RollbackError(VerificationError):
    """It is older than what this client has seen from the same zoo already."""


class SplitViewError(VerificationError):
    """The log signed two histories that do not fit: keep both, tell someone."""


class YankedError(VerificationError):
    """The release was withdrawn, or was made from one that was."""


class UntrustedServerError(VerificationError):
    """The server's certificate was not issued by the pinned authority."""
