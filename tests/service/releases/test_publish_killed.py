"""A service that is killed at any step of a publish or a yank, and started again.

What was acknowledged is there; nothing is half there; to try again works.
"""

import random
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from model_zoo.client.zoo import ZooClient
from model_zoo.clock import system_clock
from model_zoo.errors import NotFoundError, TransportError, YankedError
from model_zoo.http.server import Server
from model_zoo.repository_checks.check import Extent, check_repository
from model_zoo.repository_checks.observe import Severity
from model_zoo.statements.policy import Policy
from model_zoo.tuf.updater import Anchor
from tests.model_zoo.releases import ALICE, write_files
from tests.model_zoo.servers import anchor_of, open_zoo
from tests.service.mortal import mortal_zoo

FIRST, SECOND = "alice/digits@1", "alice/digits@2"
REASON = "a drill"
DRAWN = 4
"""Steps of each act that are tried in `make test`, besides the first and the last two.

`make soak` tries every step ROUNDS times, more than 200 kills in all.
"""
ROUNDS = 3


@dataclass(frozen=True)
class Act:
    """What is done while the service is killed.

    ``is_done`` says, of a client, whether it was done; it checks what every reader
    sees: the catalogue, and what TUF vouches for.
    """

    name: str
    do: Callable[[ZooClient, Path], object]
    is_done: Callable[[ZooClient, Path], bool]


def publish(zoo: ZooClient, files: Path) -> None:
    zoo.publish(SECOND, files, key=ALICE)


def is_published(zoo: ZooClient, folder: Path) -> bool:
    try:
        zoo.release(SECOND)
    except NotFoundError:
        with pytest.raises(NotFoundError):
            zoo.pull(SECOND, policy=Policy(), to=folder / "second")
        return False
    zoo.pull(SECOND, policy=Policy(), to=folder / "second")
    return True


def yank(zoo: ZooClient, _: Path) -> None:
    zoo.yank(FIRST, reason=REASON, key=ALICE)


def is_yanked(zoo: ZooClient, folder: Path) -> bool:
    try:
        zoo.pull(FIRST, policy=Policy(), to=folder / "first")
    except YankedError as error:
        return REASON in str(error)
    return False


ACTS = [
    Act("publish", publish, is_published),
    Act("yank", yank, is_yanked),
]


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A zoo's folder with one release in it, whose service has stopped."""
    folder = tmp_path_factory.mktemp("before")
    with open_zoo(folder / "zoo") as url:
        anchor = anchor_of(folder / "zoo", cache=folder / "seen")
        with ZooClient(url, anchor=anchor) as zoo:
            zoo.bind_publisher("alice", ALICE.public)
            zoo.publish(FIRST, write_files(folder / "files"), key=ALICE)
    return folder


def attempt(act: Act, before: Path, folder: Path, *, kill_at: int) -> int:
    """Do it with a service that dies at that step; check all; return steps taken."""
    shutil.copytree(before / "zoo", folder / "zoo")
    files = write_files(folder / "files")
    (files / "config.json").write_text('{"second": true}')
    root = anchor_of(folder / "zoo").root
    witness = Anchor(root=root, cache=folder / "a")
    with mortal_zoo(folder / "zoo", kill_at=kill_at) as mortal:
        acknowledged = acted(act, mortal.url, witness, files)
        lived = mortal.lived()
        if lived > kill_at:
            mortal.process.join()
            assert mortal.process.exitcode == -signal.SIGKILL
    with open_zoo(folder / "zoo") as url:
        stranger = Anchor(root=root, cache=folder / "b")
        with ZooClient(url, anchor=stranger) as zoo:
            assert_clean(url, root)
            is_done = act.is_done(zoo, folder)
            assert is_done or not acknowledged, "an acknowledged act was lost"
            if not is_done:
                act.do(zoo, files)
            assert act.is_done(zoo, folder / "again")
            assert_clean(url, root)
        # Who was there when it was killed goes on from what he saw.
        with ZooClient(url, anchor=witness) as zoo:
            assert act.is_done(zoo, folder / "witness")
    return lived


def acted(act: Act, url: str, anchor: Anchor, files: Path) -> bool:
    """Whether the service said that it was done, before it died."""
    with ZooClient(url, anchor=anchor) as zoo:
        try:
            act.do(zoo, files)
        except TransportError:
            return False
    return True


def assert_clean(url: str, root: bytes) -> None:
    extent = Extent(pinned=root, deep=True)
    findings = check_repository(Server(url), extent, clock=system_clock)
    assert [it for it in findings if it.severity is Severity.FAILURE] == []


@pytest.fixture(scope="module")
def steps(before: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, int]:
    """How many steps each act has when nothing kills the service."""
    return {
        act.name: attempt(act, before, tmp_path_factory.mktemp(act.name), kill_at=10**6)
        for act in ACTS
    }


@pytest.mark.parametrize("act", ACTS, ids=lambda it: it.name)
def test_killed_before_at_and_after_the_commit_and_at_random_steps(
    act: Act, before: Path, steps: dict[str, int], tmp_path: Path
) -> None:
    count = steps[act.name]
    assert count > 10, "steps are seen"
    drawn = {0, count - 2, count - 1, *random.sample(range(count), DRAWN)}
    for kill_at in sorted(drawn):
        folder = tmp_path / f"killed-at-{kill_at}-of-{count}"
        folder.mkdir()
        assert attempt(act, before, folder, kill_at=kill_at) == kill_at + 1, folder.name


@pytest.mark.soak
@pytest.mark.parametrize("act", ACTS, ids=lambda it: it.name)
def test_killed_at_every_step(
    act: Act, before: Path, steps: dict[str, int], tmp_path: Path
) -> None:
    assert ROUNDS * sum(steps.values()) >= 200, "kills in all"
    for kill_at in [*range(steps[act.name])] * ROUNDS:
        folder = tmp_path / f"killed-at-{kill_at}"
        folder.mkdir()
        attempt(act, before, folder, kill_at=kill_at)
        shutil.rmtree(folder)
