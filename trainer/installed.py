"""What is installed here: the code that turns a spec into weights."""

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import model_zoo
import trainer
from model_zoo.canonical import canonical_json
from model_zoo.digests import sha256_bytes, sha256_file

ENTRIES = ("trainer.builds.build", "trainer.export.onnx")
"""Where a spec goes in and files come out."""
_ROOTS = {
    package.__name__: Path(str(package.__file__)).parent.parent
    for package in (model_zoo, trainer)
}


@functools.cache
def code_digest() -> str:
    """Return the SHA-256 over the sources that decide the bits of a build.

    They are what ENTRIES import of our two packages, and what that imports: a list
    kept by hand would one day be wrong. It is the SHA-256 of the canonical JSON of
    ``{module: SHA-256 of its file}``.
    """
    return sha256_bytes(
        canonical_json({name: sha256_file(it) for name, it in _sources().items()})
    )


def _sources() -> dict[str, Path]:
    """Return module -> file of all of ours that ENTRIES need, themselves included."""
    found: dict[str, Path] = {}
    waiting = [*ENTRIES]
    while waiting:
        name = waiting.pop()
        path = None if name in found else _file(name)
        if path is not None:
            found[name] = path
            waiting += _imports(path)
    return found


def _imports(path: Path) -> Iterator[str]:
    """Yield what a file imports, wherever in it; some names are no modules."""
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            parts = name.split(".")
            yield from (".".join(parts[:end]) for end in range(1, len(parts) + 1))


def _file(module: str) -> Path | None:
    """Return the file of a module of our packages, found without importing it."""
    package, *rest = module.split(".")
    if package not in _ROOTS:
        return None
    path = _ROOTS[package].joinpath(package, *rest)
    files = (path / "__init__.py", path.with_name(f"{path.name}.py"))
    return next((file for file in files if file.is_file()), None)
