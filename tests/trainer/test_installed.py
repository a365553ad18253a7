"""The code digest covers what a build runs, and nothing that it does not."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from model_zoo.digests import is_sha256
from trainer import installed
from trainer.installed import code_digest

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
