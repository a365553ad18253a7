from pathlib import Path

import pytest
from tuf.api.metadata import Targets

from model_zoo.tuf.roles import TARGETS, delegation_of, keys_of
from tests.service.roles import current, make_real_root
from tests.service.zoo import (
    ALICE,
    BUILDER,
    MALLORY,
    Clock,
    Zoo,
    assert_problem,
    open_zoo,
)


@pytest.mark.parametrize("noun", ["publishers", "trainers"])
def test_a_name_is_bound_to_one_key_for_good(zoo: Zoo, noun: str) -> None:
    body = {"public_key": ALICE.public.to_pem()}

    first = zoo.put(f"/{noun}/bob", body)

    assert first.status_code == 201
    assert first.headers["location"] == f"/api/v1/{noun}/bob"
    assert first.json() == {
        "name": "bob",
        "keyid": ALICE.public.keyid,
        "public_key": ALICE.public.to_pem(),
    }
    again = zoo.put(f"/{noun}/bob", body)
    assert (again.status_code, again.json()) == (200, first.json())
    other = zoo.put(f"/{noun}/bob", {"public_key": MALLORY.public.to_pem()})
    assert_problem(other, 409, "ConflictError")
    assert zoo.get(f"/{noun}/bob").json() == first.json()


@pytest.mark.parametrize("noun", ["publishers", "trainers"])
def test_a_name_that_nobody_bound_is_not_found(zoo: Zoo, noun: str) -> None:
    assert_problem(zoo.get(f"/{noun}/nobody"), 404, "NotFoundError")


def test_trainers_are_listed_by_name(zoo: Zoo) -> None:
    zoo.put("/trainers/abel", {"public_key": MALLORY.public.to_pem()})

    items = zoo.get("/trainers").json()["items"]

    assert [item["name"] for item in items] == ["abel", "lab"]
    assert items[1]["keyid"] == BUILDER.public.keyid


@pytest.mark.parametrize("noun", ["publishers", "trainers"])
@pytest.mark.parametrize(
    "key",
    [
        "",
        "no key",
        "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        "x" * 5000,
        7,
        None,
    ],
)
def test_what_is_no_key_binds_nothing(zoo: Zoo, noun: str, key: object) -> None:
    response = zoo.put(f"/{noun}/bob", {"public_key": key})
    assert_problem(response, 400, "InvalidSpecError")
    assert_problem(zoo.get(f"/{noun}/bob"), 404, "NotFoundError")


def test_binding_a_publisher_delegates_its_paths_to_its_key(zoo: Zoo) -> None:
    before = current(zoo.get, TARGETS, Targets).signed

    zoo.put("/publishers/bob", {"public_key": MALLORY.public.to_pem()})

    targets = current(zoo.get, TARGETS, Targets).signed
    role = delegation_of(targets, "bob")
    assert role is not None
    assert (role.paths, role.threshold, role.terminating) == (["bob/*/*/*"], 1, True)
    assert keys_of(targets, role) == (MALLORY.public,)
    assert delegation_of(targets, "alice") == delegation_of(before, "alice")
    assert targets.version == before.version + 1


def test_binding_the_same_again_or_in_vain_signs_nothing(zoo: Zoo) -> None:
    before = current(zoo.get, TARGETS, Targets).signed.version

    for key in (ALICE, MALLORY):
        zoo.put("/publishers/alice", {"public_key": key.public.to_pem()})

    assert current(zoo.get, TARGETS, Targets).signed.version == before


@pytest.mark.parametrize("name", ["root", "targets", "snapshot", "timestamp", "zoo"])
def test_names_that_tuf_or_the_operator_needs_are_bound_to_nobody(
    zoo: Zoo, name: str
) -> None:
    response = zoo.put(f"/publishers/{name}", {"public_key": ALICE.public.to_pem()})

    assert_problem(response, 400, "InvalidSpecError")
    assert_problem(zoo.get(f"/publishers/{name}"), 404, "NotFoundError")


def test_with_a_real_root_no_request_binds_a_publisher(tmp_path: Path) -> None:
    trust = make_real_root(tmp_path / "trust", now=Clock().now)
    with open_zoo(tmp_path / "zoo", trust_dir=trust) as zoo:
        body = {"public_key": ALICE.public.to_pem()}

        problem = assert_problem(
            zoo.put("/publishers/alice", body), 403, "NotPermittedError"
        )

        assert "zoo trust delegate" in problem["detail"]
        assert_problem(zoo.get("/publishers/alice"), 404, "NotFoundError")
        assert zoo.put("/trainers/lab", body).status_code == 201
