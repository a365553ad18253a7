"""From a verified folder to tensors, by the very bytes that were hashed."""

from typing import Any

from model_zoo.errors import InvalidSpecError
from model_zoo.formats.safetensors import state_dict
from model_zoo.statements.manifest import WEIGHTS_SUFFIX
from model_zoo.statements.verification import VerifiedRelease, read_verified


def load(release: VerifiedRelease) -> dict[str, Any]:
    """Return the tensors of the one weights file in ``release``.

    The file is read once, hashed, and parsed from memory: what changes on the disk
    after it was verified is noticed, and what was hashed is what is loaded.

    Raises:
        DigestMismatchError: the file changed since it was verified.
        InvalidSpecError: the release holds no weights file or more than one.
        LocalError: it cannot be read, or the trainer extra is not installed.
    """
    weights = release.statement.manifest.weights()
    files = [file for file in weights if file.name.endswith(WEIGHTS_SUFFIX)]
    if len(files) != 1:
        told = f"{len(files)} weights files ({WEIGHTS_SUFFIX}), not one"
        msg = f"{release.statement.release} holds {told}"
        raise InvalidSpecError(msg)
    return state_dict(read_verified(files[0], release.path))
