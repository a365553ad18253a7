"""A mirror that does as its owner likes: one server, and one folder for each attack.

It stands in front of the zoo, with a certificate that its visitors believe: whoever
runs a mirror has one. What it answers with is a responder, a function from a question
to an answer; responders are put together from those in ``lab.attacks.mirror_attacks``.
"""

import ssl
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from model_zoo.errors import TransferLimitError
from model_zoo.statements.manifest import CHECKPOINT_PREFIX, WEIGHTS_SUFFIX

POLL_SECONDS = 0.02
PASSED_ON = ("Range", "If-Range")
"""What of a visitor's headers changes the answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a visitor asks; ``path`` is below the attack's folder, query and all."""

    method: str
    path: str
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_for_weights(self) -> bool:
        """Whether a release's weights are asked for, by whatever route."""
        name = self.path.partition("?")[0].rpartition("/")[2]
        return name.endswith(WEIGHTS_SUFFIX) and CHECKPOINT_PREFIX not in name


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What goes back; a body in pieces ends when the iterable does, or never.

    Without a ``Content-Length`` in ``headers`` the body ends with the connection.
    ``before`` is sent ahead of the status, and need not end either.
    """

    before: Iterable[bytes] = ()
    status: int = HTTPStatus.OK
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | Iterable[bytes] = b""

    @property
    def whole(self) -> bytes:
        """The body in one piece; never ask it of an endless one."""
        return self.body if isinstance(self.body, bytes) else b"".join(self.body)


Responder = Callable[[Question], Answer]


@dataclass(slots=True)
class Attrition:
    """How an attack ended that does nothing but last: by what was sent, by no clock.

    The adversary stops by himself after more than any defence waits for, and has then
    ``outlasted`` whoever was reading still: no defence of theirs ended the attack. One
    of these stands for one address, so that what one visitor takes says nothing of
    what another did.
    """

    outlasted: bool = False

    def has_beaten(self, failure: BaseException | None) -> bool:
        """Whether a visitor was kept to the last who names no limit of his own.

        Bytes that were sent may lie in sockets while a machine is busy; who says that
        it took too long has ended it himself, whenever he came to say so.

        Args:
            failure: what the visit ended with; None where it was believed.
        """
        return self.outlasted and not isinstance(failure, TransferLimitError)


@dataclass(frozen=True, slots=True)
class Mount:
    """Where visitors find one responder, without and with TLS."""

    url: str
    tls_url: str


@dataclass(frozen=True, slots=True)
class MaliciousMirror:
    """A running mirror: responders by the folder they are found in."""

    url: str
    tls_url: str
    responders: dict[str, Responder]

    def mount(self, responder: Responder) -> Mount:
        """Return where ``responder`` is to be found from now on."""
        folder = str(len(self.responders))
        self.responders[folder] = responder
        return Mount(f"{self.url}/{folder}", f"{self.tls_url}/{folder}")


@contextmanager
def mirror_running(context: ssl.SSLContext) -> Iterator[MaliciousMirror]:
    """Yield a mirror on two loopback ports of this process, the second with TLS."""
    responders: dict[str, Responder] = {}

    class Handler(_Handler):
        mounted = responders

    with ExitStack() as stack:
        plain, secure = (stack.enter_context(closing(_Server(Handler))) for _ in "12")
        secure.socket = context.wrap_socket(secure.socket, server_side=True)
        for server in (plain, secure):
            thread = threading.Thread(target=server.serve_forever, args=(POLL_SECONDS,))
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown)
        yield MaliciousMirror(
            f"http://127.0.0.1:{plain.server_port}",
            f"https://127.0.0.1:{secure.server_port}",
            responders,
        )


def tls_context(chain: Path, key: Path) -> ssl.SSLContext:
    """Return a server's TLS settings with this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain, key)
    return context


class _Server(ThreadingHTTPServer):
    """Does not wait for visitors who are still being served, and keeps quiet."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(("127.0.0.1", 0), handler)

    def close(self) -> None:
        self.server_close()

    def handle_error(self, *_: object) -> None:
        """Say nothing: victims who hang up are what half of the attacks end in."""


class _Handler(BaseHTTPRequestHandler):
    """Finds the responder by the first segment of the path, and lets it answer."""

    mounted: Mapping[str, Responder]

    def do_GET(self) -> None:
        """Answer one question."""
        folder, slash, rest = self.path[1:].partition("/")
        if folder not in self.mounted:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        question = Question(
            method=self.command,
            path=slash + rest,
            headers={
                name: self.headers[name] for name in PASSED_ON if name in self.headers
            },
        )
        self._send(self.mounted[folder](question))

    do_HEAD = do_GET  # noqa: N815  http.server's name

    def _send(self, answer: Answer) -> None:
        for piece in answer.before:
            self.wfile.write(piece)
        self.send_response_only(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        pieces = [answer.body] if isinstance(answer.body, bytes) else answer.body
        for piece in pieces:
            self.wfile.write(piece)

    def log_message(self, *_: object) -> None:
        """Keep quiet: the laboratory tells the story."""
