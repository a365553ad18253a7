"""What must hold before a release may be used; demanding nothing refuses everything."""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Annotated

from pydantic import Field, InstanceOf

from model_zoo.documents import Document
from model_zoo.errors import InvalidSpecError, LocalError, PolicyNotMetError
from model_zoo.names import ReleaseName
from model_zoo.statements.dsse import Role
from model_zoo.statements.jobs import Digest, JobSpec

MAX_POLICY_BYTES = 64 * 1024
WEEK_SECONDS = 7 * 24 * 3600
MAX_AGE_SECONDS = 100 * 366 * 24 * 3600
"""A century: what is longer is a mistake, and no date could be computed from it."""

ROOT_ONLY: Mapping[str, str] = {
    "cosignatures": "cosignatures (--policy)",
    "max_age_seconds": "max_age_seconds (--policy)",
    "allow_withdrawn": "allow_withdrawn (--policy, --allow-withdrawn)",
}
"""The demands that only a root can honour, by field, and where users make them."""


class Demands(Document):
    """What a policy file can say.

    ``publishers``, if given, are the only names to accept: a look-alike is refused.
    ``provenance`` demands that a trusted builder says how the files were made: one
    among the zoo's trusted keys, or under pinned keys alone the pinned builder.
    ``cosignatures`` is how many pinned witnesses must have seen the same log.
    ``max_age_seconds`` bounds how old the evidence beside a folder may be; a week,
    unless told. ``allow_withdrawn`` names releases to take although what they were
    made from was withdrawn; each use of it is told.
    """

    publishers: tuple[str, ...] | None = None
    provenance: bool = False
    cosignatures: Annotated[int, Field(ge=0, le=16)] = 0
    max_age_seconds: Annotated[int, Field(ge=0, le=MAX_AGE_SECONDS)] | None = None
    allow_withdrawn: tuple[str, ...] = ()


class Policy(Demands):
    """All that is demanded of a release, and whose keys are pinned for it.

    A root is pinned elsewhere, by ``Anchor``. Where it is, its walk must hold, and all
    that is demanded here as well. ``publisher`` are the keys that must have signed
    the release statement; without a root they are needed. ``builder``, if named, says
    how the files were made, and ``spec`` how they should have been.
    ``statement_sha256`` pins one statement, as a lock file does. None of them says
    that the model behaves well.
    """

    publisher: InstanceOf[Role] | None = None
    builder: InstanceOf[Role] | None = None
    spec: JobSpec | None = None
    statement_sha256: Digest | None = None

    @property
    def max_age(self) -> timedelta:
        """How old evidence may be."""
        seconds = self.max_age_seconds
        return timedelta(seconds=WEEK_SECONDS if seconds is None else seconds)

    def require_honoured(self, *, rooted: bool) -> None:
        """Accept the policy only if what is pinned can honour every demand of it.

        Args:
            rooted: whether a root is pinned.

        Raises:
            PolicyNotMetError: nothing is pinned.
            InvalidSpecError: a demand needs something else that is not pinned.
        """
        if not rooted:
            self.require_keys()
            for field, shown in ROOT_ONLY.items():
                if getattr(self, field) != Demands.model_fields[field].default:
                    msg = f"{shown}: only a pinned root can honour it: give --trust"
                    raise InvalidSpecError(msg)
        if self.builder is not None:
            return
        if self.spec is not None:
            msg = (
                "a spec (--spec) is expected, but no builder key is pinned that could "
                "prove it: give --builder"
            )
            raise InvalidSpecError(msg)
        if self.provenance and not rooted:
            msg = "provenance (--policy) is demanded: give --trust, or a --builder"
            raise InvalidSpecError(msg)

    def require_keys(self) -> Role:
        """Return the keys that must sign the release statement.

        Raises:
            PolicyNotMetError: none is pinned.
        """
        if self.publisher is None:
            msg = (
                "no publisher key is pinned, so nothing can be verified: give --key, "
                "or a root with --trust"
            )
            raise PolicyNotMetError(msg)
        return self.publisher

    def require_accepted(self, name: ReleaseName) -> None:
        """Accept the release's publisher.

        Raises:
            PolicyNotMetError: another one than those the policy names.
        """
        if self.publishers is not None and name.publisher not in self.publishers:
            accepted = ", ".join(self.publishers) or "nobody, its publishers are none"
            msg = (
                f"{name}: the policy accepts {accepted}; "
                f"{name.publisher} is somebody else"
            )
            raise PolicyNotMetError(msg)


def read_policy(path: Path) -> Policy:
    """Return the policy in the JSON file at ``path``; a file pins no keys.

    Raises:
        InvalidSpecError: it is no policy.
        LocalError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_POLICY_BYTES + 1)
        demands = Demands.from_bytes(data, limit_bytes=MAX_POLICY_BYTES)
    except OSError as error:
        msg = f"cannot read policy {path}: {error.strerror}"
        raise LocalError(msg) from error
    except ValueError as error:
        msg = f"{path}: not a policy: {error}"
        raise InvalidSpecError(msg) from error
    return Policy(**demands.model_dump())
