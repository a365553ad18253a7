"""``python -m model_zoo`` is the ``zoo`` command."""

import sys

if not sys.flags.safe_path:
    # Python put the working folder first, where a stranger's torch.py may lie.
    del sys.path[0]

from model_zoo.cli import main

main()
