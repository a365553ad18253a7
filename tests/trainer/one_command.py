"""Run by a fork server as ``one_command.py [FOLDER, ENVIRONMENT, WORDS] PARENT_PID``.

It runs ``zoo WORDS`` in FOLDER, with ENVIRONMENT for all of its environment.
"""

import json
import os
import sys

folder, environment, words = json.loads(sys.argv[1])
os.chdir(folder)
os.environ.clear()
os.environ.update(environment)

from model_zoo.cli import main  # noqa: E402  it may read the environment

main(words)
