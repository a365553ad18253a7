"""What the commands of ``zoo trust`` read, write and tell alike."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from tuf.api.metadata import Metadata, Targets

from model_zoo.canonical import parse_object
from model_zoo.cli.output import emit, say
from model_zoo.errors import MalformedDocumentError
from model_zoo.files import translate_os_errors, write_beside
from model_zoo.keys.ed25519 import PublicKey
from model_zoo.statements.dsse import Role
from model_zoo.statements.folder import require_unused
from model_zoo.tuf.roles import MAX_METADATA_BYTES, parse


def role_keys(paths: list[Path], threshold: int) -> Role:
    """Return the keys in the PEM files at ``paths`` as the keys of a role.

    Raises:
        InvalidSpecError: not keys, one twice, or fewer than the threshold.
    """
    return Role(keys=tuple(loaded(paths)), threshold=threshold)


def loaded(paths: list[Path]) -> list[PublicKey]:
    """Return the public keys in the PEM files at ``paths``."""
    return [PublicKey.load(path) for path in paths]


def report(done: str, versions: dict[str, int]) -> None:
    """Tell what was done and which role versions are current since."""
    current = ", ".join(f"{name} version {it}" for name, it in versions.items())
    say(f"{done}: {current}")
    emit({"versions": versions})


def say_who_must_sign(publisher: str, keyids: Sequence[str]) -> None:
    """Tell whose co-signature a change of ``publisher`` waits for, and the command."""
    holders = " or ".join(keyid[:16] for keyid in keyids)
    say(f"it waits for the holder of key {holders}: zoo cosign {publisher}")


def re_signed_roles(data: bytes) -> dict[str, Metadata[Targets]]:
    """Return role name -> metadata of what ``zoo trust renew --out`` wrote.

    Empty where ``data`` is one role's file, or none.

    Raises:
        VerificationError: it holds what is no role.
    """
    try:
        value = parse_object(data, limit_bytes=MAX_METADATA_BYTES)
    except ValueError as error:
        msg = f"not a file of roles: {error}"
        raise MalformedDocumentError(msg) from error
    if "signed" in value:
        return {}
    return {
        name: parse(json.dumps(role).encode(), Targets) for name, role in value.items()
    }


def re_signed_file(roles: Mapping[str, bytes]) -> bytes:
    """Return the file of roles that ``re_signed_roles`` reads."""
    return json.dumps({name: json.loads(data) for name, data in roles.items()}).encode()


def read_file(path: Path) -> bytes:
    """Return a metadata file, or as much of it as is too much.

    Raises:
        LocalError: it cannot be read.
    """
    with translate_os_errors(f"cannot read {path}"), path.open("rb") as file:
        return file.read(MAX_METADATA_BYTES + 1)


def write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write name -> file into a new folder, and over nothing.

    Raises:
        ConflictError: it holds something.
        LocalError: it cannot be written.
    """
    require_unused(folder)
    with translate_os_errors(f"cannot make {folder}"):
        folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        write_beside(folder / name, data)


def write_new(path: Path, data: bytes) -> None:
    """Write a file where there is none, all at once.

    Raises:
        ConflictError: there is one.
        LocalError: it cannot be written.
    """
    require_unused(path)
    write_beside(path, data)
