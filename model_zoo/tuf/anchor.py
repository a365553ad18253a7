"""What a user pins, and where what he has seen is remembered."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from model_zoo.clock import Clock, system_clock
from model_zoo.errors import InvalidSpecError
from model_zoo.http.server import Server
from model_zoo.tuf.updater import (
    default_cache,
    read_root,
    refreshed,
)
from model_zoo.tuf.view import (
    TrustedZoo,
)

ROOT_VARIABLE = "ZOO_TRUST_ROOT"


def unpinned() -> InvalidSpecError:
    """Return the refusal to go on without a pinned root."""
    return InvalidSpecError(
        "no trust root is pinned: give --trust ROOT.json or set "
        f"{ROOT_VARIABLE}; take the root from the operator, not from the server"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Anchor:
    """A pinned root, from a file or the environment and never from the server."""

    root: bytes = field(repr=False)
    cache: Path = field(default_factory=default_cache)
    clock: Clock = system_clock

    @classmethod
    def load(cls, path: Path) -> "Anchor":
        """Return the anchor whose root is in the file at ``path``.

        Raises:
            VerificationError: it is no root.
            LocalError: it cannot be read.
        """
        return cls(root=read_root(path))

    def now(self) -> datetime:
        """Return the time that expiry is judged at."""
        return self.clock()

    @property
    def partials(self) -> Path:
        """Where downloads that broke off wait to be resumed."""
        return self.cache / "partial"

    @contextmanager
    def refreshed(self, server: Server) -> Iterator[TrustedZoo]:
        """Yield what the zoo at ``server`` vouches for now."""
        with refreshed(server, self.root, cache=self.cache, now=self.now()) as zoo:
            yield zoo
