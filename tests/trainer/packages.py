"""Packages of other people, written as an installer leaves them."""

from collections.abc import Mapping
from pathlib import Path


def write_package(
    folder: Path,
    name: str,
    source: str,
    entries: Mapping[str, Mapping[str, str]],
    *,
    version: str = "1.0",
) -> Path:
    """Put a one-module distribution into ``folder``; return the module's file."""
    module = folder / f"{name.replace('-', '_').lower()}.py"
    module.write_text(source)
    info = folder / f"{module.stem}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    )
    lines = []
    for group, registered in entries.items():
        lines.append(f"[verified_model_zoo.{group}]")
        lines += [f"{key} = {module.stem}:{it}" for key, it in registered.items()]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return module
