"""``python -m model_zoo`` is the ``zoo`` command."""

from model_zoo.cli import main

main()
