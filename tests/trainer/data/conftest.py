"""A machine on which only the data of the test are."""

from pathlib import Path

import pytest


@pytest.fixture
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of data sets: empty, and so is the cache."""
    folder = tmp_path / "given"
    folder.mkdir()
    monkeypatch.setenv("ZOO_DATA_DIR", str(folder))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return folder
