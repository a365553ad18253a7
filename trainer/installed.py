"""What is installed here: the code that turns a spec into weights, and whose it is.

Other packages register networks, data sets, triggers, attacks and repairs in the
entry-point groups ``verified_model_zoo.<group>``; specs call them ``package:name``.
None of their code is imported before a name of theirs is looked up. ADR 0038.
"""

import ast
import functools
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from importlib import invalidate_caches
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

import model_zoo
import trainer
from model_zoo.canonical import canonical_json
from model_zoo.digests import sha256_bytes, sha256_file
from model_zoo.errors import InvalidSpecError, LocalError
from model_zoo.statements.jobs import JobSpec, foreign_names
from model_zoo.statements.recipes import GROUPS, OFFERED

T = TypeVar("T")


ENTRIES = ("trainer.builds.build", "trainer.export.onnx")
"""Where a spec goes in and files come out."""
LOCAL = "local"
"""In the place of a package's name: code that a user named on his own machine."""
NETWORK_OF_OPTION = f"{LOCAL}:network"
_ROOTS = {
    package.__name__: Path(str(package.__file__)).parent.parent
    for package in (model_zoo, trainer)
}


class Registry(dict[str, T]):
    """Ours under bare names; any other name is looked up among the entry points.

    Iterating gives ours alone, as does ``in``: what others register is found when it
    is asked for.
    """

    def __init__(self, group: str, ours: Mapping[str, T]) -> None:
        """Take what is ours; ``group`` is the entry-point group without its prefix."""
        super().__init__(ours)
        self._group = group

    def names(self) -> list[str]:
        """Return every name that a spec may use on this machine, ours first."""
        group = f"{self._group}/"
        theirs = (it for it in foreign() if it.startswith(group))
        return [*self, *(name.removeprefix(group) for name in theirs)]

    def __missing__(self, name: str) -> T:
        """Return what another package registers under ``name``, imported.

        Raises:
            InvalidSpecError: none does, on this machine.
            LocalError: its code cannot be imported.
        """
        entry = foreign().get(f"{self._group}/{name}")
        if entry is None:
            known = ", ".join(self.names())
            told = f"expected one of {known}" if known else "no package registers any"
            msg = f"{self._group}: no {name[:140]!a} here; {told}"
            raise InvalidSpecError(msg)
        try:
            found: T = entry.load()
        except Exception as error:  # other people's code runs, and may raise anything
            msg = f"{name}: {entry.value} cannot be imported: {error}"
            raise LocalError(msg) from error
        return found


@functools.cache
def foreign() -> dict[str, EntryPoint]:
    """Return ``group/package:name`` -> entry point, of all that others register.

    Packages go by their normalized name. A name that no spec can spell is left out, as
    is a package that calls itself LOCAL. They are found once a process, since an idle
    worker asks every second: what is installed while it runs is offered when it is
    started again.
    """
    return _registered()


def _registered() -> dict[str, EntryPoint]:
    found = {
        f"{group}/{_package_of(it)}:{it.name}": it
        for group in GROUPS
        for it in entry_points(group=f"verified_model_zoo.{group}")
        if _package_of(it) != LOCAL
    }
    return {name: found[name] for name in sorted(found) if re.fullmatch(OFFERED, name)}


def _package_of(entry: EntryPoint) -> str:
    """Return the normalized name of the distribution that registers ``entry``.

    Source:
        PEP 503, "Normalized Names".
    """
    # one that is being removed has no name any more
    name = entry.dist.name if entry.dist else None
    return re.sub(r"[-_.]+", "-", name).lower() if name else LOCAL


def use_network(reference: str) -> str:
    """Let the specs of this process ask for a network by the function that makes it.

    Only for a user at his own command line: no worker offers such a name, so that a
    zoo takes no job that asks for it.

    Args:
        reference: ``package.module:function``, installed or in the working folder; the
            function is called as those are that packages register.

    Returns:
        NETWORK_OF_OPTION, the name that a spec then spells.

    Raises:
        InvalidSpecError: it is not spelled so.
    """
    module, colon, function = reference.partition(":")
    if not (colon and function.isidentifier() and _is_dotted(module)):
        msg = f"--network {reference[:140]!a}: expected package.module:function"
        raise InvalidSpecError(msg)
    # behind all others: a file of the working folder stands in for no module of ours
    sys.path.append(str(Path.cwd()))
    entry = EntryPoint("network", reference, "verified_model_zoo.networks")
    foreign()[f"networks/{NETWORK_OF_OPTION}"] = entry
    return NETWORK_OF_OPTION


def _is_dotted(module: str) -> bool:
    return all(part.isidentifier() for part in module.split("."))


def packages_of(spec: JobSpec) -> dict[str, str]:
    """Return what provenance says of the other packages that ``spec`` needs.

    Looked up and hashed anew each time: every child of a worker imports what is
    installed by then of packages that are not ours.

    Returns:
        ``package:NAME`` -> version, and the SHA-256 over the files beside the code
        that its entry points name: of ``{path: SHA-256 of the file}``.

    Raises:
        InvalidSpecError: one is not installed here.
    """
    needed = foreign_names(spec)
    if not needed:
        return {}
    invalidate_caches()  # a folder may change twice in one tick of its clock
    entries = _registered() | {
        name: it for name, it in foreign().items() if f"/{LOCAL}:" in name
    }
    absent = sorted(needed - entries.keys())
    if absent:
        offered = ", ".join(entries) or "nothing of other packages"
        msg = f"not installed here: {', '.join(absent)}; here are {offered}"
        raise InvalidSpecError(msg)
    used = {_package_of(entries[it]): entries[it] for it in needed}
    return {
        f"package:{name}": f"{_version_of(it)} sha256 {_digest(name, entries.values())}"
        for name, it in sorted(used.items())
    }


def _version_of(entry: EntryPoint) -> str:
    return entry.dist.version if entry.dist else "unreleased"


def _digest(package: str, registered: Iterable[EntryPoint]) -> str:
    """Return the SHA-256 over the top-level modules of a package's entry points.

    Found without importing them. What an installer writes beside them differs from
    machine to machine, and an editable install lists none of its sources.
    """
    modules = {
        it.module.partition(".")[0] for it in registered if _package_of(it) == package
    }
    files = {name: file for it in sorted(modules) for name, file in _files_of(it)}
    return sha256_bytes(canonical_json({n: sha256_file(it) for n, it in files.items()}))


def _files_of(module: str) -> Iterator[tuple[str, Path]]:
    """Yield name and path of every file of a top-level module that is not compiled."""
    spec = find_spec(module)
    if spec is None:
        return
    if spec.submodule_search_locations is None and spec.origin is not None:
        yield Path(spec.origin).name, Path(spec.origin)
    for root in map(Path, spec.submodule_search_locations or ()):
        for path in sorted(root.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                yield f"{module}/{path.relative_to(root).as_posix()}", path


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
            # who imports a module imports its package first
            waiting += [name.rpartition(".")[0], *_imports(path)]
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
