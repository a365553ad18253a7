"""The folder where data are kept for next time."""

import os
import stat
from contextlib import suppress
from pathlib import Path

DECODED, DOWNLOADED = "decoded", "MNIST"
"""What we write ourselves below it, in folders of these names."""


def cache_root() -> Path:
    """Return the folder below which data are kept for next time."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "verified-model-zoo"


def let_everybody_read() -> None:
    """Make the data sets kept in the cache readable for every user: they are public.

    What is another user's, or on a disk that is read-only, stays as it is.
    """
    for name in (DECODED, DOWNLOADED):
        for folder, _, files in os.walk(cache_root() / name):
            for path in (Path(folder), *(Path(folder, file) for file in files)):
                mode = stat.S_IMODE(path.lstat().st_mode)
                added = 0o555 if path.is_dir() else 0o444
                if path.is_symlink() or mode & added == added:
                    continue
                with suppress(OSError):
                    path.chmod(mode | added)
