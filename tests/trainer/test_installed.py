"""The code digest covers what a build runs, and names find what others register."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from model_zoo.digests import is_sha256
from model_zoo.errors import InvalidSpecError, LocalError
from model_zoo.statements.jobs import parse_spec
from tests.trainer.packages import write_package
from trainer import installed
from trainer.installed import (
    Registry,
    code_digest,
    foreign,
    packages_of,
    use_network,
)

PRINT_LOADED = """
import sys
import trainer.builds.build
print(*(n for n in sys.modules if n.partition(".")[0] in ("model_zoo", "trainer")))
"""


def test_it_covers_every_module_that_a_build_loads() -> None:
    loaded = subprocess.run(
        [sys.executable, "-c", PRINT_LOADED], capture_output=True, text=True, check=True
    ).stdout.split()

    assert set(loaded) <= installed._sources().keys()


def test_it_leaves_out_what_decides_no_bits() -> None:
    covered = installed._sources().keys()

    assert {"trainer.training.fit", "trainer.networks.badnets_cnn"} <= covered
    assert not {name for name in covered if {"cli", "lab"} & {*name.split(".")}}
    assert "trainer.jobs.worker" not in covered


def test_it_needs_no_tensor_library() -> None:
    code = (
        "import sys; from trainer.installed import code_digest; code_digest();"
        "sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("changed", "is_other"),
    [("trainer/training/fit.py", True), ("trainer/jobs/worker.py", False)],
)
def test_another_line_gives_another_digest_where_it_counts(
    tmp_path: Path, changed: str, *, is_other: bool
) -> None:
    root = Path(installed.__file__).parent.parent
    for package in ("model_zoo", "trainer"):
        shutil.copytree(root / package, tmp_path / package)
    command = [
        sys.executable,
        "-c",
        "from trainer.installed import code_digest; print(code_digest())",
    ]

    def digest() -> str:
        # -c puts the working folder first on the path
        return subprocess.run(
            command, cwd=tmp_path, capture_output=True, text=True, check=True
        ).stdout.strip()

    before = digest()
    with (tmp_path / changed).open("a") as file:
        file.write("# one more line\n")

    assert is_sha256(before)
    assert (digest() != before) == is_other


def test_it_is_a_digest_of_this_code() -> None:
    assert is_sha256(code_digest())


ANIMALS = """
BELLS = 7
print("imported")
"""
ENTRIES = {
    "networks": {"cow": "BELLS", "lost": "HORNS", "Not A Name": "BELLS"},
    "triggers": {"moo": "BELLS"},
    "x-rays": {"nose": "BELLS"},
}


@pytest.fixture
def animals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package that registers some names; the module's file."""
    module = write_package(tmp_path, "Farm_Animals", ANIMALS, ENTRIES)
    monkeypatch.syspath_prepend(tmp_path)
    foreign.cache_clear()
    yield module
    sys.modules.pop(module.stem, None)
    foreign.cache_clear()


@pytest.mark.usefixtures("animals")
def test_what_others_register_is_found_under_their_packages_name() -> None:
    registry = Registry("networks", {"own": 1})

    assert {it for it in foreign() if "farm" in it} == {
        "networks/farm-animals:cow",
        "networks/farm-animals:lost",
        "triggers/farm-animals:moo",
    }
    assert registry["own"] == 1
    assert registry["farm-animals:cow"] == 7
    assert registry.names() == ["own", "farm-animals:cow", "farm-animals:lost"]


@pytest.mark.usefixtures("animals")
@pytest.mark.parametrize("name", ["cow", "farm-animals:moo", "other:cow"])
def test_a_name_that_nobody_registers_here_is_refused_with_those_that_are(
    name: str,
) -> None:
    with pytest.raises(
        InvalidSpecError, match=r"expected one of own, farm-animals:cow"
    ):
        Registry("networks", {"own": 1})[name]


def test_where_nobody_registers_any_that_is_said() -> None:
    with pytest.raises(
        InvalidSpecError, match="no 'farm:moo' here; no package registers any"
    ):
        Registry("triggers", {})["farm:moo"]


@pytest.mark.usefixtures("animals")
def test_what_cannot_be_imported_is_the_machines_fault_and_names_the_code() -> None:
    with pytest.raises(LocalError, match="farm_animals:HORNS cannot be imported"):
        Registry("networks", {"own": 1})["farm-animals:lost"]


def test_provenance_gets_version_and_digest_and_imports_nothing(animals: Path) -> None:
    spec = parse_spec("train", {"network": "farm-animals:cow"})

    def found() -> tuple[str, str]:
        version, _, digest = packages_of(spec)["package:farm-animals"].split(" ")
        return version, digest

    version, before = found()
    with animals.open("a") as file:
        file.write("# one more line\n")
    _, after = found()

    assert version == "1.0"
    assert is_sha256(before)
    assert before != after
    assert animals.stem not in sys.modules
    assert packages_of(parse_spec("train", {})) == {}


def test_a_package_that_was_replaced_meanwhile_is_named_as_it_is_now(
    animals: Path,
) -> None:
    spec = parse_spec("train", {"network": "farm-animals:cow"})
    offered = foreign()
    for info in animals.parent.glob("*.dist-info"):
        shutil.rmtree(info)
    write_package(animals.parent, "Farm_Animals", ANIMALS, ENTRIES, version="1.1")

    assert packages_of(spec)["package:farm-animals"].startswith("1.1 sha256 ")
    assert foreign() is offered


def test_every_file_of_a_package_counts_but_not_what_is_compiled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("__init__.py", "deep/table.csv", "deep/__pycache__/x.pyc"):
        file = tmp_path / "herd" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    monkeypatch.syspath_prepend(tmp_path)

    names = [name for name, _ in installed._files_of("herd")]

    assert names == ["herd/__init__.py", "herd/deep/table.csv"]


@pytest.mark.usefixtures("animals")
def test_a_package_that_is_not_here_is_named_with_those_that_are() -> None:
    spec = parse_spec("train", {"network": "other:cow"})

    with pytest.raises(InvalidSpecError, match=r"networks/other:cow.*farm-animals:cow"):
        packages_of(spec)


@pytest.mark.usefixtures("animals")
def test_no_package_registers_names_as_local(tmp_path: Path) -> None:
    write_package(tmp_path, "local", ANIMALS, {"networks": {"network": "BELLS"}})
    foreign.cache_clear()

    assert "networks/farm-animals:cow" in foreign()
    assert "networks/local:network" not in foreign()


@pytest.mark.parametrize(
    "reference", ["cow", "farm:", ":cow", "farm cow:moo", "farm:a.b", "farm:cow()", ""]
)
def test_a_network_of_ones_own_is_named_by_module_and_function(reference: str) -> None:
    with pytest.raises(InvalidSpecError, match=r"expected package\.module:function"):
        use_network(reference)
