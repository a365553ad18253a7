"""Our side of ``download``: one verified pull, and the most memory it took."""

import json
import sys
import time
from pathlib import Path

from model_zoo.client.zoo import ZooClient
from model_zoo.keys.ed25519 import PublicKey
from model_zoo.statements.dsse import Role
from model_zoo.statements.policy import Policy


def main() -> None:
    """Pull the release that the task names and print seconds and peak memory."""
    task = json.loads(sys.argv[1])
    publisher = Role("publisher", (PublicKey.from_pem(task["key"]),))
    policy = Policy(publisher=publisher)
    started = time.perf_counter()
    with ZooClient(task["url"]) as zoo:
        zoo.pull(task["release"], policy=policy, to=Path(task["to"]))
    said = {"seconds": time.perf_counter() - started, "peak_bytes": peak_bytes()}
    print(json.dumps(said))


def peak_bytes() -> int:
    """Return this process's own peak; getrusage would count its parent's, too."""
    status = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    (line,) = [line for line in status if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    main()
