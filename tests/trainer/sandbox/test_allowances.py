"""What a child may read: the driver's libraries where a worker was told they are."""

import os
from pathlib import Path

import pytest

from trainer.sandbox.allowances import to_work
from trainer.sandbox.landlock import READ


def test_libraries_that_the_loader_is_led_to_can_be_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = tmp_path / "driver"
    driver.mkdir()
    monkeypatch.setenv("LD_LIBRARY_PATH", f"{driver}:/nowhere")

    rules = to_work(tmp_path / "scratch", readable=[])

    assert (str(driver), READ) in rules
    assert "/nowhere" not in dict(rules)


@pytest.mark.parametrize("named", ["", ":", ".", "lib:", "/", "//", "/:lib"])
def test_neither_the_folder_of_the_worker_nor_everything_is_a_library(
    named: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "lib").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LD_LIBRARY_PATH", raising=False)
    without = to_work(tmp_path / "scratch", readable=[])

    monkeypatch.setenv("LD_LIBRARY_PATH", named)

    assert to_work(tmp_path / "scratch", readable=[]) == without
    assert os.sep not in dict(without)
