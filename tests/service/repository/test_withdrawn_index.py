"""The index of withdrawn files: small for each client, whatever was withdrawn."""

import hashlib
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete, func, select
from tuf.api.metadata import Root, Targets

from model_zoo.digests import sha256_bytes
from model_zoo.errors import YankedError
from model_zoo.keys.ed25519 import SigningKey
from model_zoo.names import ReleaseName
from model_zoo.statements.dsse import Role
from model_zoo.statements.policy import Policy
from model_zoo.tuf.ceremony import next_root, next_targets, rekey_yanked
from model_zoo.tuf.publisher_roles import edited, sign_roles, target_file
from model_zoo.tuf.releases import trusted_release
from model_zoo.tuf.revocations import (
    WithdrawnFile,
    YankNotice,
    index_path,
    withdrawn_file,
)
from model_zoo.tuf.roles import (
    MAX_METADATA_BYTES,
    SNAPSHOT,
    TARGETS,
    YANKED,
    bins_of,
    expiry,
    parse,
    sign,
    to_bytes,
)
from service.database.tables import MetadataRow, TargetRow
from service.repository import index, state
from service.repository.commit import commit, keep_target, refresh
from service.repository.index import indexed
from tests.service.operator import stranger, submit_targets
from tests.service.releases.test_revoke import yank
from tests.service.roles import (
    ROOT_KEYS,
    TARGETS_KEY,
    as_json,
    current,
    make_real_root,
    publisher_roles,
    release_targets_of,
)
from tests.service.zoo import (
    JSON,
    MALLORY,
    Clock,
    Zoo,
    assert_problem,
    open_zoo,
    release_path,
    signed,
    weights,
)

NAME = "alice/digits@1"
FILES = {"model.safetensors": weights(1), "card.json": JSON}
DIGEST = hashlib.sha256(FILES["model.safetensors"]).hexdigest()
OPEN = Policy()
SNAPSHOT_LIMIT = 2_000_000
"""What stock clients read of a snapshot."""


def notice(name: str, digests: list[str], by: str = "publisher") -> YankNotice:
    files = {f"{number}.safetensors": it for number, it in enumerate(digests)}
    return YankNotice.from_object(
        {
            "release": name,
            "withdrawn_by": by,
            "reason": "because I can",
            "yanked_at": "2026-11-22T13:00:00Z",
            "files": files,
        }
    )


def junk(count: int, files: int) -> Iterator[YankNotice]:
    """Yield notices of releases that nobody ever wanted."""
    for number in range(count):
        name = f"mallory/junk@{number}"
        yield notice(name, [sha256_bytes(f"{name}{n}".encode()) for n in range(files)])


def withdraw(zoo: Zoo, *notices: YankNotice) -> None:
    context = zoo.app.state.context
    with context.database.writing() as session:
        commit(session, context, indexed(session, context, notices))


def pull(zoo: Zoo, folder: Path, *holders: str) -> str:
    """Return what a client with its cache in ``folder`` accepts as alice's release."""
    names = [ReleaseName.parse(name) for name in holders]
    found = trusted_release(
        stranger(zoo, folder),
        ReleaseName.parse(NAME),
        policy=OPEN,
        containing_releases=lambda _: names,
    )
    return str(found.statement.release)


def largest(zoo: Zoo) -> int:
    """Return how many bytes the longest document has that a client may read."""
    with zoo.app.state.context.database.reading() as session:
        longest = func.max(func.length(MetadataRow.data))
        assert (session.scalar(select(longest)) or 0) > 0
        snapshots = select(longest).where(MetadataRow.role == SNAPSHOT)
        assert (session.scalar(snapshots) or 0) < SNAPSHOT_LIMIT
        return session.scalar(select(longest)) or 0


@pytest.mark.parametrize(
    ("count", "limit"),
    [
        pytest.param(117, 64_000, id="30,000 in one list were too long for clients"),
        pytest.param(391, 150_000, id="100,000", marks=pytest.mark.soak),
    ],
)
def test_many_withdrawals_stop_nobody(
    zoo: Zoo, tmp_path: Path, count: int, limit: int
) -> None:
    zoo.published(NAME, FILES)
    withdraw(zoo, *junk(count, 256))

    assert pull(zoo, tmp_path / "fresh") == NAME
    assert zoo.get("/readyz").status_code == 200
    assert largest(zoo) < limit < MAX_METADATA_BYTES
    read = [path for path in (tmp_path / "fresh").iterdir() if "~b-" in path.name]
    assert len(read) == len(FILES), "one bin for each file that was looked up"
    assert yank(zoo).status_code == 200
    with pytest.raises(YankedError):
        pull(zoo, tmp_path / "fresh")


def test_what_was_replaced_is_dropped(zoo: Zoo) -> None:
    """Of the index, too: each withdrawal once left a copy of all others behind."""
    for made in junk(4, 20):
        withdraw(zoo, made)
    zoo.clock.advance(2 * 3600)
    digests = list(next(junk(1, 1)).files.values())
    withdraw(zoo, notice("bob/copy@1", digests))
    zoo.clock.advance(2 * 3600)
    withdraw(zoo, notice("carol/copy@1", digests))
    with zoo.app.state.context.database.reading() as session:
        rows = select(func.count()).where(MetadataRow.role == YANKED)
        assert session.scalar(rows) == 2, "the current one, and that of an hour ago"
        kept = select(func.count()).where(TargetRow.path == index_path(digests[0]))
        assert session.scalar(kept) == 2


@pytest.mark.parametrize("by", ["publisher", "operator"])
def test_an_entry_in_anothers_name_is_not_believed(
    zoo: Zoo, tmp_path: Path, by: str
) -> None:
    """Not by a thief of the online key either: the index only says where to look."""
    zoo.published(NAME, FILES)
    zoo.published("alice/other@1", {"model.safetensors": weights(2)})
    for name in (NAME, "alice/other@1", "mallory/nothing@1", "nobody/x@1"):
        withdraw(zoo, notice(name, [DIGEST], by))
        assert pull(zoo, tmp_path / "seen", NAME) == NAME
    view = stranger(zoo, tmp_path / "seen")
    assert withdrawn_file(view, DIGEST, release=None) is None


def test_a_true_withdrawal_of_another_file_is_none_of_this_one(
    zoo: Zoo, tmp_path: Path
) -> None:
    zoo.published("alice/digits@2", {"model.safetensors": weights(2)})
    zoo.published(NAME, FILES)
    assert yank(zoo).status_code == 200
    digest = sha256_bytes(weights(2))
    withdraw(zoo, notice(NAME, [digest]))
    view = stranger(zoo, tmp_path / "seen")
    holder = ReleaseName("alice", "digits", "2")
    assert withdrawn_file(view, digest, release=holder) is None
    assert withdrawn_file(view, DIGEST, release=None) is not None


def test_a_copyist_whose_role_expires_stops_nobody_else(
    zoo: Zoo, tmp_path: Path
) -> None:
    """Neither who asks for the original nor who asks whether the service is ready."""
    zoo.published(NAME, FILES)
    copy = "mallory/copy@1"
    envelope = signed(copy, FILES, MALLORY)
    add = release_targets_of(envelope)
    roles = edited(publisher_roles(zoo.get, "mallory"), add=add, now=zoo.clock())
    roles["mallory"].signed.expires = zoo.clock() + timedelta(days=2)
    made = as_json(sign_roles(roles, MALLORY))
    assert zoo.publish(copy, zoo.upload(FILES), envelope, roles=made).status_code == 201
    zoo.clock.advance(3 * 86400)
    withdraw(zoo, notice("mallory/gone@1", [DIGEST]))

    assert pull(zoo, tmp_path / "seen", copy, NAME) == NAME
    ready = zoo.get("/readyz")
    assert (ready.status_code, ready.json()["fresh"]) == (200, True)
    assert "mallory expires at " in " ".join(ready.json()["expiring"])


def test_a_publisher_has_a_quota_and_withdraws_also_when_it_is_used_up(
    tmp_path: Path,
) -> None:
    with open_zoo(tmp_path / "zoo", max_publisher_targets=4) as zoo:
        zoo.bind()
        zoo.published(NAME, FILES)
        zoo.published("alice/digits@2", {"model.safetensors": weights(2)})
        files = {"model.safetensors": weights(3)}
        name = "alice/digits@3"
        refused = zoo.publish(name, zoo.upload(files), signed(name, files))
        problem = assert_problem(refused, 403, "NotPermittedError")
        assert "alice has 4 of 4 releases and tensor files" in problem["detail"]
        assert zoo.get(release_path(name)).status_code == 404

        assert yank(zoo).status_code == 200
        again = zoo.publish(name, zoo.upload(files), signed(name, files))
        assert_problem(again, 403, "NotPermittedError")


def test_the_index_keeps_room_for_the_operator(
    zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever picks digests that fall into one bin fills it, and clients read on."""
    monkeypatch.setattr(index, "MAX_PUBLISHERS_ENTRIES", 8)
    withdraw(zoo, *junk(2, 200))
    bins = bins_of(YANKED, [], 1)
    name = bins.get_role_for_target(index_path(DIGEST))
    found = [
        digest
        for digest in (sha256_bytes(f"{n}".encode()) for n in range(8000))
        if bins.get_role_for_target(index_path(digest)) == name
    ][:9]
    withdraw(zoo, notice("mallory/picked@1", found))
    assert len(current(zoo.get, name, Targets).signed.targets) == 8

    withdraw(zoo, notice(NAME, [DIGEST], "operator"))
    assert index_path(DIGEST) in current(zoo.get, name, Targets).signed.targets
    stranger(zoo, tmp_path / "seen").target(index_path(DIGEST))


def test_it_is_signed_anew_long_before_it_expires(zoo: Zoo, tmp_path: Path) -> None:
    withdraw(zoo, *junk(2, 200))
    bins = bins_of(YANKED, [], 1).get_roles()
    context = zoo.app.state.context
    zoo.clock.advance(80 * 86400)
    assert submit_targets(zoo).status_code == 200
    zoo.clock.advance(80 * 86400)
    assert submit_targets(zoo).status_code == 200
    zoo.clock.advance(30 * 86400)
    with context.database.writing() as session:
        refresh(session, context)
    for name in (YANKED, *bins):
        role = current(zoo.get, name, Targets).signed
        assert role.expires == expiry(YANKED, zoo.clock())
    view = stranger(zoo, tmp_path / "seen")
    assert view.target(index_path(DIGEST)) is None


@pytest.mark.parametrize("count", [1, 2], ids=["one role", "bins"])
def test_another_snapshot_key_signs_all_of_it(tmp_path: Path, count: int) -> None:
    trust = make_real_root(tmp_path / "trust", now=Clock().now)
    with open_zoo(tmp_path / "zoo", trust_dir=trust) as zoo:
        withdraw(zoo, *junk(count, 200))
    replace_snapshot_key(trust)
    with open_zoo(tmp_path / "zoo", trust_dir=trust) as zoo:
        view = stranger(zoo, tmp_path / "seen")
        for made in junk(count, 200):
            for digest in made.files.values():
                assert view.target(index_path(digest)) is not None


def replace_snapshot_key(trust: Path) -> None:
    """Put another key, and root and targets that name it, into a server's folder."""
    key = SigningKey.generate()
    keys = {SNAPSHOT: Role(keys=(key.public,))}
    root = parse((trust / "root.json").read_bytes(), Root)
    following = next_root(root, keys, now=Clock().now)
    sign(following, *ROOT_KEYS[:2])
    (trust / "2.root.json").write_bytes(to_bytes(following))
    targets = parse((trust / "targets.json").read_bytes(), Targets)
    after = next_targets(targets, now=Clock().now)
    rekey_yanked(after.signed, key.public)
    data = sign_roles({TARGETS: after}, TARGETS_KEY)[TARGETS]
    (trust / "2.targets.json").write_bytes(data)
    (trust / "snapshot.pem").unlink()
    key.save(
        trust / "snapshot.pem", passphrase=(trust / "passphrase").read_bytes().strip()
    )


def test_an_index_of_notices_is_written_anew_at_the_next_start(tmp_path: Path) -> None:
    """As services wrote it before: each file's notice itself, in one list."""
    with open_zoo(tmp_path / "zoo") as zoo:
        zoo.bind()
        zoo.published(NAME, FILES)
        assert yank(zoo).status_code == 200
        path = index_path(DIGEST)
        data = notice(NAME, [DIGEST]).to_bytes()
        context = zoo.app.state.context
        with context.database.writing() as session:
            session.execute(delete(TargetRow).where(TargetRow.path == path))
            keep_target(session, path, data, sha256=sha256_bytes(data))
            old = next_targets(state.require(session, YANKED, Targets), now=zoo.clock())
            old.signed.targets[path] = target_file(
                path, size_bytes=len(data), sha256=sha256_bytes(data)
            )
            commit(
                session, context, sign_roles({YANKED: old}, context.keys.snapshot_key)
            )
    with open_zoo(tmp_path / "zoo") as zoo:
        view = stranger(zoo, tmp_path / "seen")
        entry = WithdrawnFile.read(view.read_target(path))
        assert entry.publishers == (NAME,)
        told = withdrawn_file(view, DIGEST, release=None)
        assert told is not None
        version = current(zoo.get, YANKED, Targets).signed.version
    with open_zoo(tmp_path / "zoo") as zoo:
        assert current(zoo.get, YANKED, Targets).signed.version == version
