"""The operator's settings, checked once, before anything is opened.

ADR 8: beyond loopback a token is needed, and TLS is the client's to ask for.
"""

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from model_zoo.clock import Clock, system_clock
from model_zoo.errors import InvalidSpecError, NotPermittedError
from model_zoo.http.hosts import is_loopback
from model_zoo.statements.dsse import MAX_ENVELOPE_BYTES

MIN_TOKEN_CHARACTERS = 32
"""Of a random alphabet: out of reach of guessing over a network."""
MIB = 1024 * 1024
LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "::1")
WILDCARD_HOSTS = ("0.0.0.0", "::", "")  # noqa: S104  recognised, not bound


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """One service: where it keeps things, who may speak to it, and how much.

    Beyond loopback a token is demanded here, so that no way of starting the service
    can forget it.

    Attributes:
        head_seconds: for a TLS handshake, and for the head of a request.
        stall_seconds: how long a client may take no byte of an answer, and the window
            in which a request's body must keep its least rate.

    Raises:
        NotPermittedError: ``host`` is not loopback and there is no token.
        InvalidSpecError: the token is too short, or a limit is not positive.
    """

    data_dir: Path
    host: str = "127.0.0.1"
    token: str | None = field(default=None, repr=False)
    trust_dir: Path | None = None
    allowed_hosts: tuple[str, ...] = ()
    part_bytes: int = 8 * MIB
    max_body_bytes: int = 2 * MAX_ENVELOPE_BYTES + MIB
    """A release: statement and provenance, with its role beside them."""
    max_upload_bytes: int = 1 << 40
    max_publisher_targets: int = 10_000
    """ADR 27: so that his role stays within what clients read."""
    upload_lifetime: timedelta = timedelta(hours=24)
    event_poll_seconds: float = 0.2
    max_connections: int = 1000
    head_seconds: float = 30.0
    stall_seconds: float = 60.0
    max_streams: int = 256
    max_streams_per_job: int = 64
    max_open_uploads: int = 1000
    accept_loss: int | None = None
    """The newest timestamp that was served, where less than that is all there is."""
    clock: Clock = system_clock

    def __post_init__(self) -> None:
        if self.token is None and not is_loopback(self.host):
            msg = (
                f"{self.host} can be reached from other machines: a token is needed; "
                "write 32 or more random characters to a file and pass --token-file"
            )
            raise NotPermittedError(msg)
        if self.token is not None and len(self.token) < MIN_TOKEN_CHARACTERS:
            msg = f"the token has fewer than {MIN_TOKEN_CHARACTERS} characters"
            raise InvalidSpecError(msg)
        limits = (self.part_bytes, self.max_body_bytes, self.max_upload_bytes)
        if min(*limits, self.max_publisher_targets) < 1:
            msg = "a limit of the service is at least one"
            raise InvalidSpecError(msg)
        if min(self.max_connections, self.max_streams, self.max_open_uploads) < 1:
            msg = "a limit of the service is at least one connection, stream or upload"
            raise InvalidSpecError(msg)

    @property
    def hosts(self) -> frozenset[str]:
        """The names under which this service answers, lower case, without a port."""
        bound = () if self.host in WILDCARD_HOSTS else (self.host,)
        names = (*LOOPBACK_HOSTS, *bound, *self.allowed_hosts)
        return frozenset(name.lower().strip("[]") for name in names)
