"""What the commands of ``zoo trust`` read, write and tell alike."""

from pathlib import Path

from model_zoo.cli.output import emit, say
from model_zoo.errors import LocalError
from model_zoo.keys import PublicKey
from model_zoo.trust.ceremony import RoleKeys
from model_zoo.trust.roles import MAX_METADATA_BYTES


def role_keys(paths: list[Path], threshold: int) -> RoleKeys:
    """Return the keys in the PEM files at ``paths`` as the keys of a role.

    Raises:
        InvalidSpecError: not keys, one twice, or fewer than the threshold.
    """
    return RoleKeys(keys=tuple(loaded(paths)), threshold=threshold)


def loaded(paths: list[Path]) -> list[PublicKey]:
    """Return the public keys in the PEM files at ``paths``."""
    return [PublicKey.load(path) for path in paths]


def report(done: str, versions: dict[str, int]) -> None:
    """Tell what was done and which role versions are current since."""
    told = ", ".join(f"{name} version {it}" for name, it in versions.items())
    say(f"{done}: {told}")
    emit({"versions": versions})


def read_file(path: Path) -> bytes:
    """Return a metadata file, or as much of it as is too much.

    Raises:
        LocalError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(MAX_METADATA_BYTES + 1)
    except OSError as error:
        msg = f"cannot read {path}: {error.strerror}"
        raise LocalError(msg) from error


def write_file(path: Path, data: bytes) -> None:
    """Replace the file at ``path``, all at once.

    Raises:
        LocalError: it cannot be written.
    """
    draft = path.with_name(f".{path.name}.part")
    try:
        draft.write_bytes(data)
        draft.replace(path)
    except OSError as error:
        msg = f"cannot write {path}: {error.strerror}"
        raise LocalError(msg) from error
