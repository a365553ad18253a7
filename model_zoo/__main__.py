"""The ``zoo`` command and ``python -m model_zoo``: where little is imported yet."""

import sys

if __name__ == "__main__" and not sys.flags.safe_path:
    # Python put the working folder first, where a stranger's torch.py may lie.
    del sys.path[0]

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
