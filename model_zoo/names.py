"""The grammar of `publisher/model@version` and of file names: one place, total.

Every name that reaches a path, a URL or a signed statement passes through here, so
``..``, ``/``, NUL, upper case and every letter outside ASCII are gone before
anything is opened. One path segment per part keeps TUF patterns such as
``publisher/*/*/*`` exact.
"""

import re
from dataclasses import dataclass

from model_zoo.errors import InvalidSpecError

_PART = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)
_ID = re.compile(r"[0-9a-f]{32}", re.ASCII)
_RULE = "1 to 64 of a-z 0-9 . _ - and the first a letter or digit"

RESERVED_PUBLISHERS = frozenset(
    {
        # TUF's top-level roles, and the paths that the operator's own roles sign.
        *("root", "targets", "snapshot", "timestamp", "zoo"),
        # First segments of the service's routes.
        *("api", "healthz", "hub", "log", "readyz", "tuf"),
        # Of pages and routes to come, and of what browsers ask for unasked.
        *("about", "accounts", "admin", "assets", "blobs", "docs", "events"),
        *("favicon.ico", "help", "jobs", "login", "logout", "metrics", "oauth"),
        *("publishers", "releases", "robots.txt", "search", "settings", "static"),
        *("trainers", "uploads", "workers"),
        # Of the Open Inference Protocol and OCI (v2), and of huggingface_hub.
        *("v1", "v2", "health", "models", "repository", "datasets", "spaces"),
    }
)
"""Names that no publisher may be given: each is the first segment of another path.

The hub's paths begin with a publisher's name, and a delegation stays for ever.
"""


def check_name(text: str, *, what: str) -> str:
    """Return ``text`` if it is a name of one part.

    Args:
        text: anything.
        what: the noun for the error: ``publisher``, ``model``, ``version``, ``file``.

    Raises:
        InvalidSpecError: it is not; the message shows it escaped.
    """
    if not _PART.fullmatch(text):
        msg = f"{what} name {text[:80]!a}: expected {_RULE}"
        raise InvalidSpecError(msg)
    return text


def check_id(text: str, *, what: str) -> str:
    """Return ``text`` if it is an id as the service makes them: 128 random bits.

    Raises:
        InvalidSpecError: it is not, and must not become part of a path or URL.
    """
    if not _ID.fullmatch(text):
        msg = f"{what} id {text[:80]!a}: expected 32 lowercase hexadecimal digits"
        raise InvalidSpecError(msg)
    return text


def check_new_publisher(name: str) -> str:
    """Return ``name`` if a publisher may be given it.

    It is asked where a name is first delegated and never where one is read, so that
    the list may grow: what was delegated before stays readable.

    Raises:
        InvalidSpecError: not a name, or a reserved one.
    """
    if check_name(name, what="publisher") in RESERVED_PUBLISHERS:
        msg = (
            f"no publisher can be called {name}: the name is reserved for paths of the "
            "zoo itself; choose another"
        )
        raise InvalidSpecError(msg)
    return name


@dataclass(frozen=True, slots=True, order=True)
class ModelName:
    """``publisher/model``; ``str`` and ``parse`` are inverses."""

    publisher: str
    model: str

    def __post_init__(self) -> None:
        check_name(self.publisher, what="publisher")
        check_name(self.model, what="model")

    def __str__(self) -> str:
        return f"{self.publisher}/{self.model}"

    @classmethod
    def parse(cls, text: str) -> "ModelName":
        """Return the name that ``text`` spells.

        Raises:
            InvalidSpecError: ``text`` is not ``publisher/model``.
        """
        publisher, slash, model = text.partition("/")
        if not slash:
            msg = f"model name {text[:80]!a}: expected publisher/model"
            raise InvalidSpecError(msg)
        return cls(publisher, model)


@dataclass(frozen=True, slots=True, order=True)
class ReleaseName:
    """``publisher/model@version``; ``str`` and ``parse`` are inverses."""

    publisher: str
    model: str
    version: str

    def __post_init__(self) -> None:
        check_name(self.publisher, what="publisher")
        check_name(self.model, what="model")
        check_name(self.version, what="version")

    def __str__(self) -> str:
        return f"{self.publisher}/{self.model}@{self.version}"

    @property
    def model_name(self) -> ModelName:
        """The model that this is a version of."""
        return ModelName(self.publisher, self.model)

    @classmethod
    def parse(cls, text: str) -> "ReleaseName":
        """Return the name that ``text`` spells.

        Raises:
            InvalidSpecError: ``text`` is not ``publisher/model@version``.
        """
        model, at, version = text.partition("@")
        if not at:
            msg = f"release name {text[:80]!a}: expected publisher/model@version"
            raise InvalidSpecError(msg)
        name = ModelName.parse(model)
        return cls(name.publisher, name.model, version)
