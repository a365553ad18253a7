"""What must hold before a release may be used; demanding nothing refuses everything."""

from dataclasses import dataclass

from model_zoo.envelopes import Role
from model_zoo.errors import PolicyNotMetError
from model_zoo.jobs import JobSpec


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
