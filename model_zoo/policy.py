"""What must hold before a release may be used; demanding nothing refuses everything."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from model_zoo.documents import Document
from model_zoo.envelopes import Role
from model_zoo.errors import InvalidSpecError, LocalError, PolicyNotMetError
from model_zoo.jobs import JobSpec
from model_zoo.names import ReleaseName

MAX_POLICY_BYTES = 64 * 1024
WEEK_SECONDS = 7 * 24 * 3600
CENTURY_SECONDS = 100 * 365 * 24 * 3600
"""Of evidence that never grows too old; a date can be that much older than now."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationPolicy:
    """Whose word is needed for a release.

    ``publisher`` says what the release is; without it nothing can be believed.
    ``builder``, if named, says how the files were made, and ``spec`` how they should
    have been. ``statement_sha256`` pins one statement, as a lock file does. None of
    them says that the model behaves well.
    """

    publisher: Role | None
    builder: Role | None = None
    spec: JobSpec | None = None
    statement_sha256: str | None = None

    def require_publisher(self) -> Role:
        """Return the keys that must sign the release statement.

        Raises:
            PolicyNotMetError: the policy demands nothing, or a spec and nobody who
                could say that it was followed.
        """
        if self.publisher is None:
            msg = "no publisher key is pinned, so nothing can be verified: give one"
            raise PolicyNotMetError(msg)
        if self.spec is not None and self.builder is None:
            msg = "a spec is expected, but no builder key is pinned that could prove it"
            raise PolicyNotMetError(msg)
        return self.publisher


class TrustPolicy(Document):
    """What a user demands beside the walk from his pinned root, which always holds.

    ``publishers``, if given, are the only names to accept: a look-alike is refused.
    ``provenance`` demands that a builder among the zoo's trusted keys says how the
    files were made. ``cosignatures`` is how many pinned witnesses must have seen the
    same log. ``max_age_seconds`` bounds how old the evidence beside a folder may be.
    ``allow_withdrawn`` names releases to take although they, or what they were made
    from, were withdrawn; each use of it is told.
    """

    publishers: tuple[str, ...] | None = None
    provenance: bool = False
    cosignatures: Annotated[int, Field(ge=0, le=16)] = 0
    max_age_seconds: Annotated[int, Field(ge=0, le=CENTURY_SECONDS)] = WEEK_SECONDS
    allow_withdrawn: tuple[str, ...] = ()

    def require_publisher(self, name: ReleaseName) -> None:
        """Accept the release's publisher.

        Raises:
            PolicyNotMetError: another one than those the policy names.
        """
        if self.publishers is not None and name.publisher not in self.publishers:
            msg = (
                f"{name}: the policy accepts {', '.join(self.publishers)}; "
                f"{name.publisher} is somebody else"
            )
            raise PolicyNotMetError(msg)


def read_policy(path: Path) -> TrustPolicy:
    """Return the policy in the JSON file at ``path``.

    Raises:
        InvalidSpecError: it is no policy.
        LocalError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_POLICY_BYTES + 1)
        return TrustPolicy.from_bytes(data, limit_bytes=MAX_POLICY_BYTES)
    except OSError as error:
        msg = f"cannot read policy {path}: {error.strerror}"
        raise LocalError(msg) from error
    except ValueError as error:
        msg = f"{path}: not a policy: {error}"
        raise InvalidSpecError(msg) from error
