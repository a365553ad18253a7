"""A publisher with many targets: the role splits, and nothing is lost by it."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tuf.api.metadata import Snapshot, Targets

from model_zoo.client.zoo import ZooClient
from model_zoo.clock import system_clock
from model_zoo.errors import InvalidSpecError, YankedError
from model_zoo.http.server import Server
from model_zoo.repository_checks.check import Extent, check_repository
from model_zoo.repository_checks.observe import Severity
from model_zoo.statements.policy import Policy
from model_zoo.tuf.publisher_roles import renewed, sign_roles
from model_zoo.tuf.roles import SPLIT_AFTER
from tests.model_zoo.releases import ALICE, weights, write_files
from tests.model_zoo.servers import anchor_of, open_zoo
from tests.service.roles import Get, as_json, current, publisher_roles

POLICY = Policy()
MANY, FEW = SPLIT_AFTER - 3, 8
"""Files of a release that nearly fills a role, and of one that does not."""
BINS = 8


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[tuple[str, ZooClient, httpx.Client]]:
    with open_zoo(tmp_path / "zoo") as url:
        anchor = anchor_of(tmp_path / "zoo")
        with (
            ZooClient(url, anchor=anchor) as zoo,
            httpx.Client(base_url=url, trust_env=False) as http,
        ):
            zoo.bind_publisher("alice", ALICE.public)
            yield url, zoo, http


def sharded(folder: Path, shards: range) -> Path:
    """Write a release whose weights are in many files, all of them different."""
    folder.mkdir()
    for number in shards:
        (folder / f"shard-{number}.safetensors").write_bytes(weights(number + MANY))
    return folder


def versions(get: Get) -> dict[str, int]:
    """Return the version of each of alice's roles."""
    meta = current(get, "snapshot", Snapshot).signed.meta
    return {
        name.removesuffix(".json"): file.version
        for name, file in meta.items()
        if name.startswith("alice")
    }


def test_a_large_role_splits_and_all_of_it_is_still_pulled(
    opened: tuple[str, ZooClient, httpx.Client], tmp_path: Path
) -> None:
    url, zoo, http = opened
    get = http.get

    few = range(MANY, MANY + FEW)
    zoo.publish("alice/early@1", write_files(tmp_path / "none"), key=ALICE)
    zoo.publish("alice/large@1", sharded(tmp_path / "one", range(MANY)), key=ALICE)
    assert versions(get) == {"alice": 2}
    zoo.publish("alice/large@2", sharded(tmp_path / "two", few), key=ALICE)
    split = versions(get)
    assert split == {"alice": 3, **{f"alice~b-{n}": 1 for n in range(BINS)}}
    assert current(get, "alice", Targets).signed.targets == {}

    zoo.publish("alice/small@1", write_files(tmp_path / "three"), key=ALICE)
    after = versions(get)
    assert after["alice"] == 3, "the head stays as it is"
    assert sum(after.values()) - sum(split.values()) <= 2, "bins of two files"

    for name in ("alice/early@1", "alice/large@2", "alice/small@1"):
        zoo.pull(name, policy=POLICY, to=tmp_path / name.replace("/", "-"))
    assert str(zoo.resolve("alice/small")) == "alice/small@1"
    with pytest.raises(InvalidSpecError, match="alice/large@1, alice/large@2"):
        zoo.resolve("alice/large")
    zoo.yank("alice/large@1", reason="a drill", key=ALICE)
    assert str(zoo.resolve("alice/large")) == "alice/large@2"
    with pytest.raises(YankedError):
        zoo.pull("alice/large@1", policy=POLICY, to=tmp_path / "gone")
    zoo.pull("alice/large@2", policy=POLICY, to=tmp_path / "stays")

    again = renewed(publisher_roles(get, "alice"), now=system_clock())
    body = {"roles": as_json(sign_roles(again, ALICE))}
    answer = http.post("/api/v1/trust/roles", json=body)
    assert len(answer.json()["versions"]) == 1 + BINS
    zoo.pull("alice/small@1", policy=POLICY, to=tmp_path / "renewed")
    findings = check_repository(
        Server(url), Extent(pinned=zoo.anchor.root), clock=system_clock
    )
    assert [it for it in findings if it.severity is Severity.FAILURE] == []
