"""Runs calls of ``zoo`` one by one: ``python commands_in_forks.py SECONDS CALLS``.

Each runs in a fork taken where the installed script knows its command: what all of
them import first is imported once. CALLS is a JSON list of lists of words; a call that
still works after SECONDS is killed.
"""

import json
import os
import signal
import sys
import time

from model_zoo.cli import build, main

PAUSE_SECONDS = 0.05


def run(call: list[str], seconds: float) -> None:
    child = os.fork()
    if not child:
        os.setsid()
        main(call)
    deadline = time.monotonic() + seconds
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return
        time.sleep(PAUSE_SECONDS)


if __name__ == "__main__":
    build()  # imports what the installed packages add
    for call in json.loads(sys.argv[2]):
        run(call, float(sys.argv[1]))
