"""Environments of the peers: one each, outside the repository, made on demand."""

import os
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path


def cache_folder() -> Path:
    """Return the folder under which peers and their data live."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "verified-model-zoo" / "bench-peers"


def environment(
    name: str, requirements: Sequence[str], *, borrow: bool = False
) -> Path:
    """Return the interpreter of the environment ``name``, made if it is not there.

    Args:
        name: a folder below ``cache_folder``.
        requirements: what pip installs into it.
        borrow: whether it also sees our packages, which saves a second torch; its own
            come first.
    """
    folder = cache_folder() / name
    python = folder / "bin" / "python"
    done = folder / "installed.txt"
    wanted = "\n".join(requirements)
    if done.exists() and done.read_text(encoding="utf-8") == wanted:
        return python
    _run(sys.executable, "-m", "venv", str(folder))
    _run(str(python), "-m", "pip", "install", "--quiet", *requirements)
    if borrow:
        theirs = _run(
            str(python), "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"
        )
        borrowed = Path(theirs.strip()) / "borrowed.pth"
        borrowed.write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    done.write_text(wanted, encoding="utf-8")
    return python


def _run(*command: str) -> str:
    done = subprocess.run(  # noqa: S603  our own words
        command, check=True, stdout=subprocess.PIPE, text=True
    )
    return done.stdout
