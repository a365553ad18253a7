"""What is installed here: the code that turns a spec into weights."""

import functools
from pathlib import Path

import model_zoo
import trainer
from model_zoo.canonical import canonical_json
from model_zoo.digests import sha256_bytes, sha256_file


@functools.cache
def code_digest() -> str:
    """Return the SHA-256 over every source file of ``model_zoo`` and ``trainer``.

    It is that of the canonical JSON of ``{path: SHA-256}``. Files that decide no bits
    are in it, too: a list of those that do would one day be wrong. Another digest
    does not mean another model; the same one means that the code was the same.
    """
    roots = [Path(str(package.__file__)).parent for package in (model_zoo, trainer)]
    digests = {
        path.relative_to(root.parent).as_posix(): sha256_file(path)
        for root in roots
        for path in root.rglob("*.py")
    }
    return sha256_bytes(canonical_json(digests))
