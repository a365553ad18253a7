"""Supervise one child that attacks, and print what it told and what became of it.

``python supervised.py FOLDER USER ATTACK ARGUMENTS``; USER is a number or ``null``.
"""

import json
import sys
from pathlib import Path

from model_zoo.statements.jobs import NoopSpec
from tests.trainer.hostile import hostile_child
from trainer.jobs.supervisor import AttemptError, run_child
from trainer.sandbox.child import keep_memory_private

MAX_SECONDS = 600


def main() -> None:
    folder, user, attack, arguments = sys.argv[1:]
    keep_memory_private()
    heard: dict[str, object] = {}
    child = hostile_child(attack, json.loads(arguments), user=json.loads(user))
    try:
        run_child(
            "build",
            NoopSpec(max_seconds=MAX_SECONDS),
            folder=Path(folder),
            hear=heard.update,
            tick=lambda: None,
            child=child,
        )
    except AttemptError as error:
        heard["error"] = str(error)
    print(json.dumps(heard))  # noqa: T201  read by the test


if __name__ == "__main__":
    main()
