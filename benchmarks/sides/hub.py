"""A file of the zoo under the paths that huggingface_hub asks, by the same handler.

Source:
    The client of huggingface_hub: ``HEAD`` and ``GET`` of
    ``/{repo}/resolve/{revision}/{path}`` with an ETag, a length and a commit.
"""

import json
import socket
import sys
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from service.api.files import blob_response
from service.database.engine import Database
from service.parts import Parts
from service.serving import write_ready_file
from service.settings import Settings
from service.storage import BlobStore

COMMIT = "0" * 40


def main() -> None:
    """Serve until killed."""
    task = json.loads(sys.argv[1])
    data_dir = Path(task["data_dir"])
    parts = Parts(
        settings=Settings(data_dir=data_dir),
        database=Database.open("sqlite:///unopened.db"),  # a blob asks no rows
        blobs=BlobStore(data_dir / "blobs"),
        lock=-1,
    )

    def resolve(request: Request) -> Response:
        answer = blob_response(request, parts, task["sha256"], task["size_bytes"])
        answer.headers["X-Repo-Commit"] = COMMIT
        return answer

    path = "/alice/big/resolve/{revision}/{name}"
    app = Starlette(routes=[Route(path, resolve, methods=["GET", "HEAD"])])
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        write_ready_file(Path(task["ready"]), url)
        config = uvicorn.Config(app, access_log=False, log_level="warning")
        uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
