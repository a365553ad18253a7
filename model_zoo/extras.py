"""The optional parts of the distribution, and the line that installs one of them."""


def install_line(extra: str) -> str:
    """Return what a user runs to get ``extra``.

    The name of the distribution is registered with no package index, where anybody
    could take it: only a checkout is known to be ours.
    """
    return f"in a checkout of the project, run: pip install '.[{extra}]'"
