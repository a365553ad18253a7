import hashlib
from pathlib import Path

from service.uploads.housekeeping import sweep
from tests.service.operator import rekey
from tests.service.roles import next_roles
from tests.service.zoo import ALICE, JSON, MALLORY, Zoo, open_zoo, signed, weights

OLD = {"model.safetensors": weights(fill=1)}
KEPT = {"model.safetensors": weights(fill=2)}


def digest(files: dict[str, bytes]) -> str:
    return hashlib.sha256(files["model.safetensors"]).hexdigest()


def test_what_nobody_published_is_removed_after_a_day(zoo: Zoo) -> None:
    context = zoo.app.state.context
    opened, done = zoo.declare(OLD).json()["id"], zoo.upload(OLD)
    zoo.published("alice/digits@1", KEPT)
    zoo.clock.advance(25 * 3600)
    fresh = zoo.upload({"card.json": JSON})

    sweep(context)

    assert zoo.get(f"/uploads/{opened}").status_code == 404
    assert zoo.get(f"/uploads/{done}").status_code == 404
    assert zoo.get(f"/uploads/{fresh}").status_code == 200
    assert not context.blobs.holds(digest(OLD))
    assert zoo.get(f"/blobs/{digest(KEPT)}").content == KEPT["model.safetensors"]
    assert list(context.uploads_folder.iterdir()) == []


def test_a_release_that_waits_is_forgotten_with_its_upload_and_a_renewal_is_not(
    zoo: Zoo,
) -> None:
    rekey(zoo, "alice", ALICE, MALLORY, threshold=2)
    name, waiting = "alice/digits@1", "/publishers/alice/pending"
    assert zoo.publish(name, zoo.upload(OLD), signed(name, OLD)).status_code == 202
    sweep(zoo.app.state.context)
    assert zoo.get(waiting).json()["name"] == name
    zoo.clock.advance(25 * 3600)
    sweep(zoo.app.state.context)
    assert zoo.get(waiting).status_code == 404
    renewal = next_roles(zoo.get, "alice", {}, key=ALICE, now=zoo.clock())
    assert zoo.post("/trust/roles", {"roles": renewal}).status_code == 202
    zoo.clock.advance(25 * 3600)
    sweep(zoo.app.state.context)
    assert zoo.get(waiting).json()["kind"] == "renewal"


def test_a_killed_service_leaves_nothing_behind_but_what_it_still_needs(
    tmp_path: Path,
) -> None:
    with open_zoo(tmp_path) as zoo:
        zoo.bind()
        upload = zoo.declare(OLD).json()
        part = OLD["model.safetensors"][:64]
        zoo.send_part(upload["id"], "model.safetensors", 0, part)
        context = zoo.app.state.context
        with context.blobs.staged(iter([b"lost"])) as blob:
            context.blobs.keep(blob)
        (tmp_path / "blobs" / "staging" / "half").write_bytes(b"half")
        (tmp_path / "uploads" / "orphan").mkdir()

    with open_zoo(tmp_path) as zoo:
        assert list(zoo.app.state.context.blobs.digests()) == []
        assert not (tmp_path / "blobs" / "staging").exists()
        assert not (tmp_path / "uploads" / "orphan").exists()
        zoo.send_parts(zoo.get(f"/uploads/{upload['id']}").json(), OLD)
        assert zoo.post(f"/uploads/{upload['id']}/complete").status_code == 200
