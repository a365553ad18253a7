"""A station that plays: what it does with an order is told by the order's seed.

It speaks the protocol of ``trainer.experiments.engine.station`` and imports no torch.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

DIES, REFUSES, BABBLES, ENDLESS, ANOTHER, LACKS, DOUBTS = range(100, 107)
SLEEPS, RAISES, AWAITS = 107, 108, 109
PATIENCE_SECONDS = 60.0


def main() -> None:
    folder = Path(sys.argv[1])
    (folder / f"{os.getpid()}.station").touch()
    for line in sys.stdin:
        order = json.loads(line)
        sys.stdout.write(answer(order, folder))
        sys.stdout.flush()


def answer(order: dict[str, object], folder: Path) -> str:
    """Return the line that answers ``order``, unless there is none to return."""
    if order["seed"] == DIES and not (folder / "spare").exists():
        os.kill(os.getpid(), signal.SIGKILL)
    if order["seed"] == SLEEPS:
        (folder / "asleep").touch()
        time.sleep(600)
    (folder / f"{order['experiment']}.begun").touch()
    if order["seed"] == AWAITS:
        wait_for(folder / "other.begun")
    if order["seed"] == RAISES:
        raise ArithmeticError("one divided by nothing")
    said = {
        REFUSES: {"error": "InvalidSpecError", "message": "too few images"},
        LACKS: {"error": "TransportError", "message": "no such wheel"},
        DOUBTS: {"error": "VerificationError", "message": "other bytes"},
    }
    if order["seed"] in said:
        return json.dumps(said[order["seed"]]) + "\n"
    if order["seed"] == BABBLES:
        return "what?\n"
    if order["seed"] == ENDLESS:
        return "x" * 5_000_000
    cell = "0" * 64 if order["seed"] == ANOTHER else order["digest"]
    done = {
        "cell": cell,
        "part": {},
        "seed": order["seed"],
        "numbers": {"wrong": [1], "n": [1000]},
        "seconds": 0.1,
        "peak_mib": 10.0,
        "environment": {},
        "data": {},
        "made_by": "",
    }
    return json.dumps({"finished": done}) + "\n"


def wait_for(path: Path) -> None:
    """Return when ``path`` is there."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not path.exists():
        if time.monotonic() > deadline:
            raise TimeoutError(path.name)
        time.sleep(0.02)


if __name__ == "__main__":
    main()
