"""Files that another reader takes for something else: zip, tar, HDF5 or a pickle.

The bytes of tensors are free. So a well-formed safetensors or ONNX file can be, to a
program that looks at other places of it, an archive with a pickle inside, and
``torch.load`` looks at all of them. Whatever such a program would find is refused here.
By chance, the weights of one model in some 100,000 spell a pickle; a longer or shorter
name in the header helps.

ADR 32.

Source:
    PKWARE APPNOTE 6.3.10, sections 4.3.12 to 4.3.16; POSIX.1-2017 pax, ustar; HDF5 file
    format specification 3.0, section II.A; CPython's pickletools.
"""

import os
import re
from itertools import takewhile
from pathlib import Path
from typing import BinaryIO

from model_zoo.errors import UnsafeFormatError
from model_zoo.files import open_plain, translate_os_errors

_ZIP_END, _ZIP64_LOCATOR, _ZIP_ENTRY = b"PK\x05\x06", b"PK\x06\x07", b"PK\x01\x02"
_ZIP_END_BYTES, _ZIP64_LOCATOR_BYTES = 22, 20
_ZIP_TAIL_BYTES = 1024 * 1024
"""Further from the end than any reader looks: a comment has 64 KiB, some add to it."""
_TAR_BLOCK_BYTES = 512
_TAR_SUM = slice(148, 156)
_HDF5 = b"\x89HDF\r\n\x1a\n"
_HDF5_FIRST_BYTES = 512
"""It may start at 0, at 512, and at each double of that."""

MAX_PICKLE_STEPS = 4096
_NO_ARGUMENT = frozenset(
    b"(.012NQRabdelostu]})\x81\x85\x86\x87\x88\x89\x8f\x90\x91\x92\x94\x97\x98"
)
"""STOP among them: ``torch.load`` reads the pickle behind it, up to the fourth."""
_FIXED_ARGUMENT = {
    **dict.fromkeys(b"Khq\x80", 1),
    **dict.fromkeys(b"M", 2),
    **dict.fromkeys(b"Jjr", 4),
    **dict.fromkeys(b"G\x95", 8),
}
_COUNTED_ARGUMENT = {
    **dict.fromkeys(b"UC\x8a\x8c", 1),
    **dict.fromkeys(b"TXB\x8b", 4),
    **dict.fromkeys(b"\x8d\x8e\x96", 8),
}
_LINES = {
    **dict.fromkeys(b"FIL", re.compile(rb"[-+.\w \t\r\v\f]*(?:[\0\n]|\Z)")),
    **dict.fromkeys(b"gp", re.compile(rb"[-+_\d \t\r\v\f]+(?:[\0\n]|\Z)")),
    **dict.fromkeys(b"V", re.compile(rb"")),
    **dict.fromkeys(b"S", re.compile(rb"['\"]")),
}
"""How lines begin that these instructions accept: any other ends the machine.

To CPython's own machine, which is written in C, a number ends with a NUL.
"""
_IMPORT = re.compile(rb"\x93|[ci][\w.]+\n[\w.]+\n")
"""What brings in code: two names on the stack, or two lines.

An extension's number brings in what a program has registered for it: nobody does.
"""
_TWO_NAMES_BYTES = 4
"""No shorter instructions put two names on the stack."""
_PIECE_BYTES = 64 * 1024


def refuse_polyglot(path: Path, *, name: str) -> None:
    """Refuse a file that readers of archives find something in.

    Raises:
        UnsafeFormatError: it ends in a zip, starts with a tar or holds an HDF5 file.
        LocalError: it cannot be read.
    """
    with translate_os_errors(f"cannot read {path}"), open_plain(path) as file:
        size_bytes = os.fstat(file.fileno()).st_size
        if _has_zip(file, size_bytes):
            msg = f"{name}: its tensors hide a zip archive"
            raise UnsafeFormatError(msg)
        if _is_tar(_at(file, 0, _TAR_BLOCK_BYTES)):
            msg = f"{name}: it is a tar archive as well"
            raise UnsafeFormatError(msg)
        if _has_hdf5(file, size_bytes):
            msg = f"{name}: its tensors hide an HDF5 file"
            raise UnsafeFormatError(msg)


def runs_as_pickle(file: BinaryIO, *, size_bytes: int) -> bool:
    """Whether a pickle machine that starts at the first byte comes to import code.

    Nothing is executed, and the machine's stack is not followed: only which bytes it
    would take for instructions.
    """
    position = 0
    for _ in range(MAX_PICKLE_STEPS):
        piece = b""
        if position < size_bytes:
            piece = _at(file, position, _PIECE_BYTES)
        if not piece:
            return False
        if position >= _TWO_NAMES_BYTES and _IMPORT.match(piece):
            return True
        length = _instruction_bytes(file, position, piece)
        if not length:
            return False
        position += length
    return True


def _instruction_bytes(file: BinaryIO, position: int, piece: bytes) -> int:
    """Return how long an instruction is; 0 where the machine ends.

    Args:
        file: holds it, and all of its line.
        position: where it starts.
        piece: what stands there.
    """
    code = piece[0]
    if code in _NO_ARGUMENT:
        return 1
    if code in _FIXED_ARGUMENT:
        return 1 + _FIXED_ARGUMENT[code]
    if code in _COUNTED_ARGUMENT:
        end = 1 + _COUNTED_ARGUMENT[code]
        return end + int.from_bytes(piece[1:end], "little")
    if code not in _LINES or not _LINES[code].match(piece, 1):
        return 0
    return _line_bytes(file, position)


def _line_bytes(file: BinaryIO, position: int) -> int:
    """Return how long the line at ``position`` is, with its end; 0 if it has none."""
    length = 0
    file.seek(position)
    while piece := file.readline(_PIECE_BYTES):
        length += len(piece)
        if piece.endswith(b"\n"):
            return length
    return 0


def _has_zip(file: BinaryIO, size_bytes: int) -> bool:
    """Whether an end record near the end names a directory that is there.

    What follows the record is not looked at: readers pass over it.
    """
    first = max(0, size_bytes - _ZIP_TAIL_BYTES)
    tail = _at(file, first, size_bytes - first)
    start = tail.find(_ZIP_END)
    while start >= 0:
        record = tail[start : start + _ZIP_END_BYTES]
        if len(record) == _ZIP_END_BYTES and _resolves(file, first + start, record):
            return True
        start = tail.find(_ZIP_END, start + 1)
    return False


def _resolves(file: BinaryIO, position: int, record: bytes) -> bool:
    """Whether a zip's end record leads to a directory, or to a second end record.

    The directory ends where the record starts, whatever offset it gives: so readers
    find archives behind other data. Others go by the offset.
    """
    length = int.from_bytes(record[12:16], "little")
    offset = int.from_bytes(record[16:20], "little")
    places = (position - length, offset)
    return (
        length == 0
        or any(_at(file, place, len(_ZIP_ENTRY)) == _ZIP_ENTRY for place in places)
        or _at(file, position - _ZIP64_LOCATOR_BYTES, 4) == _ZIP64_LOCATOR
    )


def _is_tar(block: bytes) -> bool:
    """Whether the sum of a tar's first header, octal or binary, is right."""
    if len(block) < _TAR_BLOCK_BYTES or not any(block):
        return False
    field = block[_TAR_SUM]
    try:
        stated = (
            int.from_bytes(field[1:], "big")
            if field[0] in {0o200, 0o377}
            else int(field.partition(b"\0")[0].strip() or b"0", 8)
        )
    except ValueError:
        return False
    rest = block[: _TAR_SUM.start] + b" " * len(field) + block[_TAR_SUM.stop :]
    unsigned = sum(rest)
    signed = unsigned - 256 * sum(byte > 127 for byte in rest)  # noqa: PLR2004  int8
    return stated in {unsigned, signed}


def _has_hdf5(file: BinaryIO, size_bytes: int) -> bool:
    doubles = (_HDF5_FIRST_BYTES << power for power in range(64))
    places = (0, *takewhile(lambda place: place < size_bytes, doubles))
    return any(_at(file, place, len(_HDF5)) == _HDF5 for place in places)


def _at(file: BinaryIO, position: int, length: int) -> bytes:
    if position < 0:
        return b""
    file.seek(position)
    return file.read(length)
