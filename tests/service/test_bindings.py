import pytest

from tests.service.zoo import ALICE, BUILDER, MALLORY, Zoo, assert_problem


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
