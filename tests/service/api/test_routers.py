"""What import-linter cannot see of the routers; what it can is in pyproject.toml."""

import ast
from pathlib import Path

import service.api

ROUTERS = sorted(Path(service.api.__path__[0]).glob("*.py"))


def test_no_router_opens_a_session() -> None:
    opened = [
        f"{path.name}:{node.lineno}"
        for path in ROUTERS
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in {"reading", "writing"}
    ]
    assert ROUTERS
    assert opened == []
