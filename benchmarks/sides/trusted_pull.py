"""Our side of ``trust``: a pull from a pinned root, which may die on the way."""

import json
import os
import sys
import time
from pathlib import Path

from benchmarks.sides.pull import peak_bytes
from model_zoo.client.zoo import ZooClient
from model_zoo.statements.manifest import FileEntry
from model_zoo.statements.policy import Policy
from model_zoo.tuf.updater import Anchor

KILLED = 9


def main() -> None:
    """Pull the release that the task names; print seconds and what was there before.

    With ``die_after_bytes`` this process ends there, as if killed.
    """
    task = json.loads(sys.argv[1])
    anchor = Anchor(root=Path(task["root"]).read_bytes(), cache=Path(task["cache"]))
    told: list[int] = []

    def progress(_: FileEntry, count: int) -> None:
        told.append(count)
        if sum(told) >= task.get("die_after_bytes", sys.maxsize):
            os._exit(KILLED)

    started = time.perf_counter()
    with ZooClient(task["url"], anchor=anchor) as zoo:
        to = Path(task["to"])
        zoo.pull(task["release"], policy=Policy(), to=to, progress=progress)
    said = {
        "seconds": time.perf_counter() - started,
        "resumed_bytes": told[0],
        "peak_bytes": peak_bytes(),
    }
    print(json.dumps(said))


if __name__ == "__main__":
    main()
