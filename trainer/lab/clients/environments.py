"""Environments of stock programs: one each, outside the repository, made on demand."""

import os
import subprocess
import sys
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path

from model_zoo.errors import LocalError

KEPT = frozenset({"PATH", "HOME", "LANG", "TMPDIR", "XDG_CACHE_HOME"})
NOWHERE = "http://127.0.0.1:9"
"""The discard port: who would leave this machine through it fails."""
PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy")


def cache_folder() -> Path:
    """Return the folder under which the environments and their data live."""
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

    Raises:
        LocalError: it cannot be made.
    """
    folder = cache_folder() / name
    python, done = folder / "bin" / "python", folder / "installed.txt"
    wanted = "\n".join(requirements)
    if done.exists() and done.read_text(encoding="utf-8") == wanted:
        return python
    try:
        _make(sys.executable, "-P", "-m", "venv", str(folder))
        pip = (str(python), "-P", "-m", "pip")
        _make(*pip, "install", "--quiet", *requirements)
        if borrow:
            where = "import sysconfig; print(sysconfig.get_path('purelib'))"
            borrowed = Path(_make(str(python), "-c", where).strip()) / "borrowed.pth"
            borrowed.write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    except subprocess.CalledProcessError as error:
        msg = f"cannot make the environment of {name}: {error.stderr[-2000:]}"
        raise LocalError(msg) from error
    done.write_text(wanted, encoding="utf-8")
    return python


def run_apart(
    command: Sequence[str],
    *,
    seconds: float,
    folder: Path | None = None,
    variables: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a stock program where it reaches loopback only, and none of our settings.

    Raises:
        LocalError: it did not end in ``seconds``.
    """
    kept = {name: value for name, value in os.environ.items() if name in KEPT}
    loopback_only = dict.fromkeys(PROXIES, NOWHERE) | dict.fromkeys(
        ("NO_PROXY", "no_proxy"), "127.0.0.1"
    )
    try:
        return subprocess.run(  # noqa: S603  our own words
            command,
            cwd=folder,
            env=kept | loopback_only | dict(variables or {}),
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        msg = f"{command[1]}: no end after {seconds:g} s"
        raise LocalError(msg) from error


def _make(*command: str) -> str:
    done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603  our own words
    return done.stdout
