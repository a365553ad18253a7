"""The machine in the middle: passes everything on, but for the weights.

Weights are replaced by others of the same length, so that no length gives it away.
With TLS it shows a certificate of its own making: it can do no better without the
server's private key.

Run as ``python -m trainer.lab.proxy UPSTREAM REPLACEMENT READY_FILE CHAIN KEY``.
"""

import http.client
import sys
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import urlsplit

from trainer.attempt import MODEL
from trainer.lab.mirror import serve_twice, tls_context

TIMEOUT_SECONDS = 10.0


def main() -> None:
    """Sit in the middle until told to end."""
    upstream, replacement = urlsplit(sys.argv[1]), Path(sys.argv[2]).read_bytes()
    ready_file, chain, key = map(Path, sys.argv[3:])

    class Handler(BaseHTTPRequestHandler):
        """Asks upstream, and answers with what the adversary likes better."""

        def do_GET(self) -> None:
            """Pass one request on."""
            connection = http.client.HTTPConnection(
                upstream.hostname or "", upstream.port, timeout=TIMEOUT_SECONDS
            )
            connection.request("GET", self.path)
            response = connection.getresponse()
            body = response.read()
            if self.path.endswith(MODEL) and len(body) == len(replacement):
                body = replacement
            self.send_response_only(response.status)
            for name, value in response.getheaders():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Keep quiet: the laboratory tells the story."""

    serve_twice(Handler, context=tls_context(chain, key), ready_file=ready_file)


if __name__ == "__main__":
    main()
