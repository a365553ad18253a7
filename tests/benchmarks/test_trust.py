"""The parts of the benchmark ``trust`` do what figures claim; nothing is timed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from tuf.api.metadata import DelegatedRole

from benchmarks.processes import zoo_served
from benchmarks.repository.layouts import branches, publisher_names
from benchmarks.repository.relay import relayed
from benchmarks.repository.seeding import seed_repository
from model_zoo.clock import system_clock
from model_zoo.http.server import Server
from model_zoo.statements.policy import Policy
from model_zoo.tuf.releases import trusted_release
from model_zoo.tuf.updater import refreshed

ROOT = Path(__file__).resolve().parents[2]
PARTS = "publish,client,concurrent,scale"
"""The part ``pull`` makes an environment for its peer, from the package registry."""


@pytest.mark.parametrize(
    ("releases", "metadata_requests"),
    [pytest.param(6, 5, id="flat"), pytest.param(300, 6, id="in bins")],
)
def test_a_client_finds_every_release_that_was_seeded(
    releases: int, metadata_requests: int, tmp_path: Path
) -> None:
    seeded = seed_repository(tmp_path / "data", releases=releases, publishers=2)
    with zoo_served(tmp_path) as url, relayed(url) as relay:
        for number in (0, releases // 2, releases - 1):
            name, cache = seeded.release(number), tmp_path / f"cache-{number}"
            server, now = Server(relay.url), system_clock()
            with refreshed(server, seeded.root, cache=cache, now=now) as zoo:
                found = trusted_release(
                    zoo, name, policy=Policy(), containing_releases=lambda _: []
                )
            assert found.statement.release == name
            assert relay.taken()["metadata_requests"] >= metadata_requests


def test_every_name_stands_in_one_branch_and_its_patterns_lead_nowhere_else() -> None:
    names = publisher_names(2000)
    found = branches(names, most=20)
    assert sorted(name for branch in found for name in branch.names) == names
    assert max(len(branch.names) for branch in found) <= 20
    roles = [
        DelegatedRole(str(number), [], 1, terminating=True, paths=[*branch.patterns])
        for number, branch in enumerate(found)
    ]
    for number, branch in enumerate(found):
        for name in branch.names:
            path = f"{name}/model/1/release.json"
            fit = [role.name for role in roles if role.is_delegated_path(path)]
            assert fit == [str(number)]


def test_a_name_that_is_the_beginning_of_others_has_a_pattern_of_its_own() -> None:
    names = ["ma", "mab", "mac", "mad"]
    found = branches(names, most=1)
    assert {branch.names: branch.patterns for branch in found} == {
        ("ma",): ("ma/*/*/*",),
        ("mab",): ("mab*/*/*/*",),
        ("mac",): ("mac*/*/*/*",),
        ("mad",): ("mad*/*/*/*",),
    }


@pytest.mark.soak  # other benchmarks' quick runs are there, too
def test_a_quick_run_of_some_parts_keeps_a_result_of_its_own(tmp_path: Path) -> None:
    options = ["--quick", f"--parts={PARTS}", f"--out={tmp_path}"]
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "trust", *options],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    kept = tmp_path / f"trust-{PARTS.replace(',', '-')}.json"
    assert found == json.loads(kept.read_text())
    assert set(found["parts"]) == set(PARTS.split(","))
    assert found["parts"]["concurrent"]["lost"] == 0
    assert found["parts"]["concurrent"]["findings"] == []
