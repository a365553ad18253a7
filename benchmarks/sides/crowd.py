"""Many publishers at once, each a thread with a key and a cache of its own."""

import json
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from model_zoo.client.zoo import ZooClient
from model_zoo.keys.ed25519 import SigningKey
from model_zoo.tuf.updater import Anchor

_telling = threading.Lock()


def main() -> None:
    """Publish as the task says; a line for each release as soon as it is confirmed."""
    task = json.loads(sys.argv[1])
    publishers = [f"maker-{number:02d}" for number in range(task["publishers"])]
    keys = {name: SigningKey.generate() for name in publishers}
    root = Path(task["root"]).read_bytes()
    with ZooClient(task["url"]) as zoo:
        for name, key in keys.items():
            zoo.bind_publisher(name, key.public)
    start = threading.Barrier(len(publishers))

    def publish_all(publisher: str) -> None:
        anchor = Anchor(root=root, cache=Path(task["caches"]) / publisher)
        with ZooClient(task["url"], anchor=anchor) as zoo:
            start.wait()
            for number in range(task["each"]):
                name = f"{publisher}/digits@{number}"
                began = time.perf_counter()
                zoo.publish(name, Path(task["files"]), key=keys[publisher])
                _tell({"release": name, "seconds": time.perf_counter() - began})

    with ThreadPoolExecutor(max_workers=len(publishers)) as crowd:
        for done in [crowd.submit(publish_all, name) for name in publishers]:
            done.result()


def _tell(line: dict[str, object]) -> None:
    with _telling:
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
