"""Text of strangers, as it is shown: on one line, cut short, nothing in it acts.

A newline would start a line of the stranger's own, a control character move the
cursor, a bidirectional one turn the words around.
"""

from typing import Annotated

from pydantic import AfterValidator

MAX_SHOWN_CHARACTERS = 8192


def printable(text: str, *, limit: int = MAX_SHOWN_CHARACTERS) -> str:
    """Return ``text`` as one line in which all that is not to be seen is written out.

    Args:
        text: from anyone.
        limit: characters; of a longer text the rest is left out.
    """
    shown = text if len(text) <= limit else f"{text[:limit]}..."
    return "".join(
        letter
        if letter.isprintable()
        else letter.encode("unicode_escape").decode("ascii")
        for letter in shown
    )


def one_line(text: str) -> str:
    """Return ``text`` if it can be shown as it is.

    Raises:
        ValueError: a line break, a control or a bidirectional character is in it.
    """
    if not text.isprintable():
        msg = "expected one line, without control characters"
        raise ValueError(msg)
    return text


OneLine = Annotated[str, AfterValidator(one_line)]
"""The field of a document that will be shown to people."""
