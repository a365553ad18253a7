"""The shape of the repository, checked like any other promise."""

import ast
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = ("model_zoo", "service", "trainer")
HEAVY = {"alembic", "fastapi", "numpy", "safetensors", "sqlalchemy", "starlette"}
HEAVY |= {"torch", "torchvision", "uvicorn"}
MAX_LINES = 400
MAX_FUNCTION_LINES = 40
LONGER_WITH_A_REASON = {
    # every option of the command is an argument with its help beside it
    ("service/cli.py", "serve"),
    # one table after another, in the order in which they refer to each other
    ("service/database/migrations/versions/0001_the_first_tables.py", "upgrade"),
    ("service/database/migrations/versions/0002_trust.py", "upgrade"),
}
EXPORTING = [
    path
    for package in PACKAGES
    for path in sorted((ROOT / package).rglob("*.py"))
    if "\n__all__ = " in path.read_text(encoding="utf-8")
]


def sources() -> dict[str, str]:
    return {
        str(path.relative_to(ROOT)): path.read_text(encoding="utf-8")
        for package in PACKAGES
        for path in sorted((ROOT / package).rglob("*.py"))
    }


def imported_by(module: str, *, among: set[str]) -> list[str]:
    code = f"import sys, {module}; print(*{among!r} & set(sys.modules))"
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return run.stdout.split()


@pytest.mark.parametrize(
    "module", ["model_zoo", "model_zoo.client.zoo", "model_zoo.cli"]
)
def test_a_verifying_client_imports_nothing_heavy(module: str) -> None:
    assert imported_by(module, among=HEAVY) == []


def test_only_a_detector_costs_the_import_of_a_compiler() -> None:
    modules = "trainer.jobs.handlers, trainer.cli.experiment_run"
    assert imported_by(modules, among={"torchvision", "torch._dynamo"}) == []


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        pytest.param(["--help"], 0, "pull", id="help"),
        pytest.param(["verify", "nowhere"], 2, "no such folder", id="verify"),
        pytest.param(["serve"], 1, "'.[service]'", id="serve"),
        pytest.param(["lab"], 1, "'.[trainer]'", id="lab"),
    ],
)
def test_a_bare_install_starts_and_names_the_extra_it_lacks(
    arguments: list[str], status: int, told: str, tmp_path: Path
) -> None:
    # An entry of None makes an import fail as if the package were not installed.
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({HEAVY!r}));"
        f"from model_zoo.cli import main; main({arguments!r})"
    )
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
    )
    output = run.stdout + run.stderr
    assert run.returncode == status, output
    assert told in output
    assert "Traceback" not in output


def test_modules_stay_small_enough_to_read_in_one_sitting() -> None:
    lengths = {name: text.count("\n") for name, text in sources().items()}
    assert {name: n for name, n in lengths.items() if n > MAX_LINES} == {}


def test_functions_stay_on_one_screen() -> None:
    longer = {
        (name, function.name)
        for name, text in sources().items()
        for function in ast.walk(ast.parse(text))
        if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef)
        and lines_of(function) > MAX_FUNCTION_LINES
    }
    assert longer == LONGER_WITH_A_REASON


def lines_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Return how long the signature and body are, the docstring left out."""
    first = function.body[0]
    length = (function.end_lineno or 0) - function.lineno + 1
    if ast.get_docstring(function) is None:
        return length
    return length - ((first.end_lineno or 0) - first.lineno + 1)


@pytest.mark.parametrize("path", EXPORTING, ids=lambda path: path.parent.name)
def test_what_a_package_exports_is_sorted_complete_and_there(path: Path) -> None:
    name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
    module = import_module(name.removesuffix(".__init__"))
    exported: list[str] = module.__all__
    defined = {
        key
        for key, value in vars(module).items()
        if not key.startswith("_") and getattr(value, "__module__", "") == name
    }
    assert exported == sorted(exported)
    assert all(hasattr(module, key) for key in exported)
    assert defined <= set(exported)
