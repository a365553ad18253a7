"""The ``zoo`` command and ``python -m model_zoo``: where little is imported yet."""

import sys
from typing import NoReturn

INTERRUPTED = 130
"""128 and the number of SIGINT, as shells count it."""


def main() -> NoReturn:
    """Run the command; Ctrl-C ends it without a traceback, during imports too."""
    try:
        from model_zoo.cli import main as command  # noqa: PLC0415  may be interrupted

        command()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


if __name__ == "__main__":
    main()
