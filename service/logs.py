"""Log lines that cannot be forged: one record, one line, nothing unprintable."""

import logging

from model_zoo.text import printable


class LineFormatter(logging.Formatter):
    """Escape control characters, so that what a request says stays inside its line.

    A traceback keeps its lines, each behind a bar that no record starts with.
    """

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  logging's
        """Return the record's line."""
        return printable(super().formatMessage(record))

    def formatException(self, ei: object) -> str:  # noqa: N802  logging's name
        """Return the traceback, barred and printable."""
        text = super().formatException(ei)  # type: ignore[arg-type]
        return "\n".join(f"| {printable(line)}" for line in text.splitlines())
