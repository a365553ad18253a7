"""Names that begin other paths: no publisher gets one, and the list knows them all."""

import copy
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import FastAPI
from starlette.routing import BaseRoute
from tuf.api.metadata import Targets

from model_zoo.errors import InvalidSpecError
from model_zoo.names import RESERVED_PUBLISHERS
from model_zoo.statements.dsse import Role
from model_zoo.tuf import ceremony
from model_zoo.tuf.ceremony import delegate
from model_zoo.tuf.roles import TARGETS, TOP_LEVEL
from service.repository import admin
from tests.service.roles import current
from tests.service.zoo import ALICE, JSON, MALLORY, Zoo, assert_problem, open_zoo

BODY = {"public_key": MALLORY.public.to_pem()}
PLANNED = "v2 login logout oauth static models health repository admin metrics docs"


def first_segments(app: FastAPI) -> set[str]:
    """Return how the paths of the running app begin, but for a publisher's name."""
    found = {path.split("/")[1] for path in app.openapi()["paths"]}
    found |= {path.split("/")[1] for path in paths_of(app.routes)}
    return {name for name in found if "{" not in name}


def paths_of(routes: list[BaseRoute]) -> Iterator[str]:
    for route in routes:
        path = getattr(route, "path", None)
        if path:
            yield path
        yield from paths_of(getattr(route, "routes", None) or [])


def test_the_first_segment_of_every_route_is_reserved(zoo: Zoo) -> None:
    segments = first_segments(zoo.app)

    assert {"api", "healthz", "readyz", "hub", "log", "tuf"} <= segments
    assert segments <= RESERVED_PUBLISHERS
    assert {*PLANNED.split(), *TOP_LEVEL, "zoo"} <= RESERVED_PUBLISHERS


@pytest.fixture(scope="module")
def targets(bound_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Targets:
    """What a zoo delegates; whoever is refused changes nothing in it."""
    folder = tmp_path_factory.mktemp("targets") / "zoo"
    shutil.copytree(bound_folder, folder)
    with open_zoo(folder) as zoo:
        return current(zoo.get, TARGETS, Targets).signed


@pytest.mark.parametrize("name", sorted(RESERVED_PUBLISHERS))
def test_no_ceremony_delegates_to_a_reserved_name(targets: Targets, name: str) -> None:
    with pytest.raises(InvalidSpecError, match=name):
        delegate(targets, name, Role(keys=(MALLORY.public,)))


@pytest.mark.parametrize("name", ["v2", "login", "healthz", "static"])
def test_the_service_binds_no_reserved_name(zoo: Zoo, name: str) -> None:
    assert_problem(zoo.put(f"/publishers/{name}", BODY), 400, "InvalidSpecError")
    assert zoo.get(f"/publishers/{name}").status_code == 404


def test_a_name_that_was_delegated_before_it_was_reserved_goes_on(
    zoo: Zoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as before:
        for module in (ceremony, admin):
            before.setattr(module, "check_new_publisher", str)
        assert zoo.put("/publishers/docs", BODY).status_code == 201

    assert zoo.put("/publishers/docs", BODY).status_code == 200
    assert zoo.put("/publishers/carol", BODY).status_code == 201
    assert zoo.get("/publishers/docs").status_code == 200
    zoo.published("alice/digits@1", {"card.json": JSON})
    targets = copy.deepcopy(current(zoo.get, TARGETS, Targets).signed)
    delegate(targets, "docs", Role(keys=(ALICE.public,)))
