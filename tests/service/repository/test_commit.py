"""What is signed on line: fresh before it is stale, whole, and kept long enough."""

from datetime import timedelta
from pathlib import Path

from tuf.api.metadata import Snapshot, Targets, Timestamp

from model_zoo.tuf.roles import LIFETIMES, SNAPSHOT, TIMESTAMP
from service.repository.commit import IN_FLIGHT, is_due, refresh
from tests.service.operator import rekey, stranger
from tests.service.roles import current, file
from tests.service.zoo import MALLORY, Zoo, open_zoo, weights

HOUR = timedelta(hours=1).total_seconds()
DAY = 24 * HOUR


def keep_fresh(zoo: Zoo) -> None:
    """Do what the service does every second."""
    context = zoo.app.state.context
    with context.database.writing() as session:
        if is_due(session, context):
            refresh(session, context)


def stamp(zoo: Zoo) -> Timestamp:
    return Timestamp.from_dict(zoo.get("/tuf/metadata/timestamp.json").json()["signed"])


def snapshot(zoo: Zoo) -> Snapshot:
    return current(zoo.get, SNAPSHOT, Snapshot).signed


def publish(zoo: Zoo, version: int) -> None:
    zoo.published(f"alice/digits@{version}", {"model.safetensors": weights(version)})


def test_a_fresh_timestamp_is_not_signed_again(zoo: Zoo) -> None:
    before = stamp(zoo)
    zoo.clock.advance(11 * HOUR)

    keep_fresh(zoo)

    assert stamp(zoo) == before


def test_a_timestamp_is_signed_again_at_half_its_life(zoo: Zoo) -> None:
    before = stamp(zoo)
    zoo.clock.advance(13 * HOUR)

    keep_fresh(zoo)

    assert stamp(zoo).version == before.version + 1
    assert stamp(zoo).expires == zoo.clock() + LIFETIMES[TIMESTAMP]
    assert stamp(zoo).snapshot_meta == before.snapshot_meta
    keep_fresh(zoo)
    assert stamp(zoo).version == before.version + 1


def test_a_snapshot_is_signed_again_at_half_its_life_with_all_its_roles(
    zoo: Zoo,
) -> None:
    publish(zoo, 1)
    before = snapshot(zoo)
    zoo.clock.advance(3.6 * DAY)

    keep_fresh(zoo)

    after = snapshot(zoo)
    assert after.version == before.version + 1
    assert after.meta == before.meta
    assert after.expires == zoo.clock() + LIFETIMES[SNAPSHOT]
    assert stamp(zoo).snapshot_meta.version == after.version


def test_who_only_keeps_it_fresh_never_leaves_clients_with_something_stale(
    zoo: Zoo, tmp_path: Path
) -> None:
    for _ in range(30):
        zoo.clock.advance(12.5 * HOUR)
        keep_fresh(zoo)
        stranger(zoo, tmp_path / "seen")


def test_a_service_that_slept_for_a_month_is_fresh_as_soon_as_it_starts(
    tmp_path: Path,
) -> None:
    with open_zoo(tmp_path / "zoo") as zoo:
        zoo.bind()
        clock = zoo.clock
    clock.advance(30 * DAY)
    with open_zoo(tmp_path / "zoo", clock=clock) as zoo:
        assert stamp(zoo).expires > clock()
        assert snapshot(zoo).expires > clock()


def test_no_snapshot_ever_drops_a_role_or_takes_a_version_back(zoo: Zoo) -> None:
    seen: dict[str, int] = {}
    for number in range(1, 5):
        if number == 2:
            rekey(zoo, f"bob{number}", MALLORY)
        publish(zoo, number)
        zoo.clock.advance(4 * DAY)
        keep_fresh(zoo)
        now = {name: it.version for name, it in snapshot(zoo).meta.items()}
        assert set(seen) <= set(now)
        assert all(now[name] >= version for name, version in seen.items())
        seen = now
    assert seen["alice.json"] == 4


def test_a_snapshot_that_was_replaced_is_served_for_an_hour_more(zoo: Zoo) -> None:
    """A client may have read the timestamp just before a release was published."""
    publish(zoo, 1)
    old = stamp(zoo).snapshot_meta.version
    zoo.clock.advance(5 * HOUR)
    publish(zoo, 2)
    zoo.clock.advance(IN_FLIGHT.total_seconds() - 60)
    publish(zoo, 3)

    assert file(zoo.get, f"{old}.snapshot.json")
    zoo.clock.advance(120)
    publish(zoo, 4)
    assert zoo.get(f"/tuf/metadata/{old}.snapshot.json").status_code == 404
    assert file(zoo.get, f"{stamp(zoo).snapshot_meta.version}.snapshot.json")


def test_the_newest_snapshot_is_kept_however_old_it_is(
    zoo: Zoo, tmp_path: Path
) -> None:
    publish(zoo, 1)
    zoo.clock.advance(3 * DAY)
    keep_fresh(zoo)
    keep_fresh(zoo)
    stranger(zoo, tmp_path / "seen")


def test_a_role_that_was_replaced_is_served_for_an_hour_more(
    zoo: Zoo, tmp_path: Path
) -> None:
    """As long as a snapshot that names it: each keeps what the publisher ever made."""
    publish(zoo, 1)
    zoo.clock.advance(5 * HOUR)
    publish(zoo, 2)
    zoo.clock.advance(IN_FLIGHT.total_seconds() - 60)
    keep_fresh(zoo)
    assert file(zoo.get, "1.alice.json")

    zoo.clock.advance(DAY / 2)
    keep_fresh(zoo)
    assert zoo.get("/tuf/metadata/1.alice.json").status_code == 404
    assert current(zoo.get, "alice", Targets).signed.version == 2
    view = stranger(zoo, tmp_path / "seen")
    assert view.target("alice/digits/1/model.safetensors") is not None


def test_every_root_is_kept_for_clients_that_come_late(zoo: Zoo) -> None:
    for number in range(1, 4):
        publish(zoo, number)
        zoo.clock.advance(2 * DAY)
        keep_fresh(zoo)
    assert file(zoo.get, "1.root.json")
