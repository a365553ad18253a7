"""A co-signer before a hostile service: he signs what he is told of, or nothing."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta

import pytest

from model_zoo.canonical import JsonObject
from model_zoo.clock import system_clock
from model_zoo.errors import (
    ConflictError,
    ExpiredMetadataError,
    MalformedDocumentError,
    WrongReleaseError,
    ZooError,
)
from model_zoo.names import ReleaseName
from model_zoo.statements.folder import manifest_of
from model_zoo.statements.intoto import ReleaseStatement, sign_release
from model_zoo.statements.release_json import bundle_bytes
from model_zoo.tuf.publisher_roles import edited, release_targets, sign_roles
from tests.e2e.two_keys import (
    NAME,
    REASON,
    SECOND,
    STOWAWAY,
    TwoKeys,
    as_json,
    open_two_keys,
)
from tests.model_zoo.releases import ALICE, write_files

WITHDRAWN = "alice/digits@0"


@pytest.fixture(scope="module")
def it(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TwoKeys]:
    """A zoo with two releases and one that was withdrawn."""
    with open_two_keys(tmp_path_factory.mktemp("hostile")) as it:
        it.publish(WITHDRAWN, files=write_files(it.folder / "withdrawn", count=5))
        it.publish(NAME, SECOND)
        it.zoo.yank(WITHDRAWN, reason=REASON, key=ALICE)
        it.cosign()
        yield it


@dataclass(frozen=True)
class Trick:
    """What a hostile service shows to a co-signer, and how he takes it.

    ``change`` is what waits, ``twist`` makes another of it: alice's key signs again.
    """

    name: str
    change: str
    twist: Callable[[JsonObject], None]
    error: type[ZooError]
    words: str


def role(request: JsonObject) -> JsonObject:
    signed: JsonObject = request["body"]["roles"]["alice"]["signed"]
    return signed


def notice(request: JsonObject) -> JsonObject:
    told: JsonObject = request["body"]["notice"]
    return told


def dropping_another(request: JsonObject) -> None:
    del role(request)["targets"]["alice/digits/2/release.json"]


def adding_a_target(request: JsonObject) -> None:
    stowaway = {path: file.to_dict() for path, file in STOWAWAY.items()}
    role(request)["targets"] |= stowaway


def expiring_after(days: int) -> Callable[[JsonObject], None]:
    def twist(request: JsonObject) -> None:
        expires = system_clock() + timedelta(days=days)
        role(request)["expires"] = f"{expires:%Y-%m-%dT%H:%M:%SZ}"

    return twist


def skipping_a_version(request: JsonObject) -> None:
    role(request)["version"] += 1


def adding_a_word(request: JsonObject) -> None:
    role(request)["x"] = "y"


def adding_a_role(request: JsonObject) -> None:
    roles = request["body"]["roles"]
    roles["bob"] = roles["alice"]


def called_a_renewal(request: JsonObject) -> None:
    request.update(kind="renewal", name="alice")


def called_another(request: JsonObject) -> None:
    request["name"] = SECOND


def by_the_operator(request: JsonObject) -> None:
    notice(request)["withdrawn_by"] = "operator"


def of_other_tensors(request: JsonObject) -> None:
    notice(request)["files"] = {"model.safetensors": "0" * 64}


def for_another_reason(request: JsonObject) -> None:
    notice(request)["reason"] = "none at all"


def of_nothing(request: JsonObject) -> None:
    notice(request)["release"] = "alice"


MALFORMED, EXPIRED = MalformedDocumentError, ExpiredMetadataError
MORE = "not the current version with this one change"
TRICKS = [
    Trick("drops another release", "yank", dropping_another, MALFORMED, MORE),
    Trick("adds a target", "yank", adding_a_target, MALFORMED, MORE),
    Trick("far expiry", "yank", expiring_after(366), EXPIRED, "would expire"),
    Trick("is called a renewal", "yank", called_a_renewal, MALFORMED, MORE),
    Trick("is called another", "yank", called_another, WrongReleaseError, NAME),
    Trick("by the operator", "yank", by_the_operator, MALFORMED, "its publisher's"),
    Trick("other tensors", "yank", of_other_tensors, MALFORMED, "its publisher's"),
    Trick("another reason", "yank", for_another_reason, MALFORMED, MORE),
    Trick("of no release", "yank", of_nothing, MALFORMED, "names no release"),
    Trick("adds a target", "renewal", adding_a_target, MALFORMED, MORE),
    Trick("drops a target", "renewal", dropping_another, MALFORMED, MORE),
    Trick("skips a version", "renewal", skipping_a_version, MALFORMED, MORE),
    Trick("adds a word", "renewal", adding_a_word, MALFORMED, MORE),
    Trick("adds a role", "renewal", adding_a_role, MALFORMED, "expected the roles"),
    Trick("far expiry", "renewal", expiring_after(366), EXPIRED, "would expire"),
    Trick("near expiry", "renewal", expiring_after(30), EXPIRED, "would expire"),
    Trick("adds a target", "release", adding_a_target, MALFORMED, MORE),
    Trick("drops a target", "release", dropping_another, MALFORMED, MORE),
    Trick("far expiry", "release", expiring_after(366), EXPIRED, "would expire"),
]
MAKE: dict[str, Callable[[TwoKeys], object]] = {
    "yank": lambda it: it.zoo.yank(NAME, reason=REASON, key=ALICE),
    "renewal": lambda it: it.renew(),
    "release": lambda it: it.zoo.publish("alice/digits@3", it.files, key=ALICE),
}


@pytest.mark.parametrize("trick", TRICKS, ids=lambda it: f"{it.change} {it.name}")
def test_a_cosigner_signs_nothing_that_is_more_than_one_change(
    it: TwoKeys, trick: Trick
) -> None:
    MAKE[trick.change](it)
    it.twist(trick.twist)
    try:
        with pytest.raises(trick.error, match=trick.words):
            it.cosign()
    finally:
        it.take_back()


TAKEN = "published or withdrawn already"


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        pytest.param(NAME, ConflictError, TAKEN, id="published"),
        pytest.param(WITHDRAWN, ConflictError, TAKEN, id="withdrawn"),
        pytest.param(
            "bob/digits@1", WrongReleaseError, "asked for alice", id="another's"
        ),
    ],
)
def test_a_cosigner_signs_no_release_that_there_cannot_be(
    it: TwoKeys, text: str, error: type[ZooError], words: str
) -> None:
    name, manifest = ReleaseName.parse(text), manifest_of(it.files)
    envelope = sign_release(ReleaseStatement(name, manifest), ALICE)
    bundle = bundle_bytes(envelope=envelope, provenance=None)
    add = release_targets(name, manifest, bundle=bundle)
    with it.anchor.refreshed(it.transport.server) as view:
        roles = edited(view.publisher("alice"), add=add, now=system_clock())

    def instead(request: JsonObject) -> None:
        request["name"] = text
        request["body"]["envelope"] = envelope.to_object()
        request["body"]["roles"] = as_json(sign_roles(roles, ALICE))

    it.zoo.publish("alice/digits@3", it.files, key=ALICE)
    it.twist(instead)
    try:
        with pytest.raises(error, match=words):
            it.cosign()
    finally:
        it.take_back()
