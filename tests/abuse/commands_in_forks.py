"""Runs calls of ``zoo`` one by one: ``commands_in_forks.py SECONDS MARK CALLS``.

Each runs in a fork taken where the installed script knows its command. What all of
them import is imported once, torch included; that hides where a call would take it
from, so a call that ends with the working folder among the places of modules leaves
MARK. CALLS is a JSON list of lists of words; one that still works after SECONDS is
killed.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path

import trainer.jobs.handlers  # noqa: F401  and all of torch
from model_zoo.cli import build, main

PAUSE_SECONDS = 0.05


def run(call: list[str], seconds: float, mark: Path) -> None:
    child = os.fork()
    if not child:
        os.setsid()
        try:
            main(call)
        finally:
            if str(Path.cwd()) in map(os.path.abspath, sys.path):
                mark.write_text(f"{call}: modules are looked for in the working folder")
            os._exit(0)  # the end of an interpreter takes seconds, with torch in it
    deadline = time.monotonic() + seconds
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return
        time.sleep(PAUSE_SECONDS)


if __name__ == "__main__":
    build()  # imports what the installed packages add
    for call in json.loads(sys.argv[3]):
        run(call, float(sys.argv[1]), Path(sys.argv[2]))
