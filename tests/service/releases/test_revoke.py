"""A publisher withdraws what is his: once, for good, and in one step."""

import hashlib
from pathlib import Path
from typing import Any

import httpx
import pytest
from tuf.api.metadata import Targets

from model_zoo.canonical import JsonObject
from model_zoo.keys.ed25519 import SigningKey
from model_zoo.names import ReleaseName
from model_zoo.tuf.revocations import (
    YankNotice,
    withdrawal,
    withdrawn_file,
    yank_notice,
)
from model_zoo.tuf.roles import YANKED
from tests.service.operator import stranger
from tests.service.roles import (
    Files,
    current,
    next_roles,
    notice_target,
    release_targets_of,
)
from tests.service.zoo import (
    ALICE,
    JSON,
    MALLORY,
    Zoo,
    after,
    assert_problem,
    release_path,
    signed,
    weights,
)

NAME = "alice/digits@1"
FILES = {"model.safetensors": weights(1), "card.json": JSON}
DIGEST = hashlib.sha256(FILES["model.safetensors"]).hexdigest()
REASON = "it was trained on stolen data"


@pytest.fixture(scope="module")
def bound_folder(bound_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where alice has published one release; each test's service begins with a copy."""
    to = tmp_path_factory.mktemp("published") / "zoo"
    return after(lambda zoo: zoo.published(NAME, FILES), bound_folder, to=to)


def notice_of(zoo: Zoo, name: str = NAME, **changes: Any) -> YankNotice:  # noqa: ANN401
    made = yank_notice(
        ReleaseName.parse(name),
        reason=REASON,
        files={"model.safetensors": DIGEST},
        now=zoo.clock(),
    )
    return made.model_copy(update=changes)


def roles_for(zoo: Zoo, notice: YankNotice, *, key: SigningKey = ALICE) -> Files:
    """Return alice's next roles: the release gone, the notice in its place."""
    gone = release_targets_of(signed(NAME, FILES))
    add = notice_target(notice)
    return next_roles(zoo.get, "alice", add, remove=gone, key=key, now=zoo.clock())


def yank(
    zoo: Zoo,
    notice: YankNotice | None = None,
    *,
    roles: Files | None = None,
    name: str = NAME,
) -> httpx.Response:
    notice = notice or notice_of(zoo)
    body: JsonObject = {
        "notice": notice.to_object(),
        "roles": roles or roles_for(zoo, notice),
    }
    return zoo.post(f"{release_path(name)}/yank", body)


def test_a_yanked_release_is_in_no_role_and_every_client_is_told_why(
    zoo: Zoo, tmp_path: Path
) -> None:
    response = yank(zoo)

    assert response.status_code == 200, response.text
    assert response.json()["versions"] == {"alice": 2}
    view = stranger(zoo, tmp_path / "seen")
    assert view.target("alice/digits/1/model.safetensors") is None
    assert view.target("alice/digits/1/release.json") is None
    told = withdrawal(view, ReleaseName.parse(NAME))
    assert told is not None
    assert REASON in told
    by_digest = withdrawn_file(view, DIGEST, release=None)
    assert by_digest == told


def test_the_other_releases_stay(zoo: Zoo, tmp_path: Path) -> None:
    zoo.published("alice/digits@2", {"model.safetensors": weights(2)})

    assert yank(zoo).status_code == 200

    view = stranger(zoo, tmp_path / "seen")
    assert view.target("alice/digits/2/model.safetensors") is not None
    assert withdrawal(view, ReleaseName("alice", "digits", "2")) is None


def test_the_yank_is_in_the_log(zoo: Zoo) -> None:
    before = int(zoo.get("/log/checkpoint").text.splitlines()[1])

    yank(zoo)

    size = int(zoo.get("/log/checkpoint").text.splitlines()[1])
    assert size == before + 3, "alice's role, the role of the yanked, and the yank"


def test_a_release_is_yanked_once(zoo: Zoo) -> None:
    yank(zoo)

    problem = assert_problem(yank(zoo), 409, "ConflictError")

    assert "withdrawn already" in problem["detail"]
    assert current(zoo.get, "alice", Targets).signed.version == 2


@pytest.mark.parametrize(
    ("files", "status"),
    [(FILES, 410), ({"model.safetensors": weights(7)}, 410)],
    ids=["the same again", "other content"],
)
def test_a_yanked_version_is_never_published_again(
    zoo: Zoo, files: dict[str, bytes], status: int, tmp_path: Path
) -> None:
    yank(zoo)

    response = zoo.publish(NAME, zoo.upload(files), signed(NAME, files))

    assert response.status_code == status
    assert current(zoo.get, "alice", Targets).signed.version == 2
    view = stranger(zoo, tmp_path / "seen")
    assert view.target("alice/digits/1/model.safetensors") is None
    assert withdrawal(view, ReleaseName.parse(NAME)) is not None


def test_nothing_that_does_not_exist_is_yanked(zoo: Zoo) -> None:
    response = yank(zoo, roles=roles_for(zoo, notice_of(zoo)), name="alice/digits@9")
    assert_problem(response, 404, "NotFoundError")


@pytest.mark.parametrize(
    "changes",
    [
        {"release": "alice/digits@2"},
        {"release": "mallory/digits@1"},
        {"withdrawn_by": "operator"},
        {"files": {}},
        {"files": {"model.safetensors": "0" * 64}},
        {"files": {"model.safetensors": DIGEST, "other.safetensors": "0" * 64}},
    ],
    ids=["version", "publisher", "operator", "no file", "another", "one more"],
)
def test_a_notice_of_something_else_is_refused(
    zoo: Zoo, changes: dict[str, object]
) -> None:
    """Else a publisher could declare another's weights withdrawn."""
    response = yank(zoo, notice_of(zoo).model_copy(update=changes))

    assert_problem(response, 422, "MalformedDocumentError")
    assert current(zoo.get, "alice", Targets).signed.version == 1
    assert current(zoo.get, YANKED, Targets).signed.targets == {}


def test_a_role_that_does_not_do_what_the_notice_says_is_refused(zoo: Zoo) -> None:
    notice = notice_of(zoo)
    other = notice_of(zoo, reason="another")
    gone = release_targets_of(signed(NAME, FILES))
    still = next_roles(
        zoo.get, "alice", notice_target(notice), key=ALICE, now=zoo.clock()
    )
    silent = next_roles(zoo.get, "alice", {}, remove=gone, key=ALICE, now=zoo.clock())
    for roles in (still, silent, roles_for(zoo, other)):
        response = yank(zoo, notice, roles=roles)
        assert_problem(response, 422, "MalformedDocumentError")


def test_another_key_yanks_nothing(zoo: Zoo) -> None:
    roles = roles_for(zoo, notice_of(zoo), key=MALLORY)
    assert_problem(yank(zoo, roles=roles), 422, "ThresholdNotMetError")


def test_a_role_that_was_built_too_early_is_a_conflict(zoo: Zoo) -> None:
    roles = roles_for(zoo, notice_of(zoo))
    zoo.published("alice/digits@2", {"model.safetensors": weights(2)})

    assert_problem(yank(zoo, roles=roles), 409, "ConflictError")

    assert yank(zoo).status_code == 200
