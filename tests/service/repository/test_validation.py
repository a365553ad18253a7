"""Each step of what the zoo accepts of a publisher refuses what it must."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    SuccinctRoles,
    TargetFile,
    Targets,
)

from model_zoo.errors import MalformedDocumentError
from model_zoo.keys.ed25519 import SigningKey
from model_zoo.statements.dsse import Role
from model_zoo.tuf.ceremony import delegate
from model_zoo.tuf.publisher_roles import PublisherRoles, edited, renewed, sign_roles
from model_zoo.tuf.roles import (
    MAX_METADATA_BYTES,
    bins_of,
    parse,
    sign,
    to_bytes,
    tuf_key,
)
from tests.service.operator import pending_roles, rekey, submit, submit_targets
from tests.service.roles import (
    as_json,
    current,
    publisher_roles,
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

Roles = dict[str, Metadata[Targets]]
FIRST, SECOND = "alice/digits@1", "alice/digits@2"
FILES = {"model.safetensors": weights(2), "card.json": JSON}
PATH = "alice/digits/2/model.safetensors"
BINS = 8


@pytest.fixture(scope="module")
def bound_folder(bound_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where alice has published one release; each test's service begins with a copy."""
    to = tmp_path_factory.mktemp("published") / "zoo"
    return after(
        lambda zoo: zoo.published(FIRST, {"model.safetensors": weights(1)}),
        bound_folder,
        to=to,
    )


def next_of(zoo: Zoo) -> Roles:
    """Return alice's next roles, with the second release, unsigned."""
    add = release_targets_of(signed(SECOND, FILES))
    return edited(publisher_roles(zoo.get, "alice"), add=add, now=zoo.clock())


def publish(zoo: Zoo, roles: Roles, *keys: SigningKey) -> httpx.Response:
    """Try to publish the second release with ``roles``, signed with ``keys``."""
    for metadata in roles.values():
        sign(metadata, *keys)
    files = {name: to_bytes(metadata) for name, metadata in roles.items()}
    envelope = signed(SECOND, FILES)
    return zoo.publish(SECOND, zoo.upload(FILES), envelope, roles=as_json(files))


def split(zoo: Zoo) -> Roles:
    """Return alice's next roles with the release, spread over bins, unsigned."""
    roles = publisher_roles(zoo.get, "alice")
    before = next_of(zoo)["alice"].signed
    return _spread(roles, before.targets, zoo=zoo)


def _spread(roles: PublisherRoles, targets: dict[str, TargetFile], zoo: Zoo) -> Roles:
    delegation = roles.delegation
    bins = bins_of("alice", delegation.keyids, delegation.threshold)
    above = edited(roles, add={}, remove=targets, now=zoo.clock())["alice"]
    above.signed.targets = {}
    keys = {keyid: roles.keys[keyid] for keyid in delegation.keyids}
    above.signed.delegations = Delegations(keys, succinct_roles=bins)
    made = {
        name: Metadata(Targets(expires=above.signed.expires))
        for name in bins.get_roles()
    }
    for path, file in targets.items():
        made[bins.get_role_for_target(path)].signed.targets[path] = file
    return {"alice": above, **made}


def bin_of(roles: Roles, path: str = PATH) -> str:
    """Return the bin in which a path belongs."""
    delegations = roles["alice"].signed.delegations
    assert delegations is not None
    assert delegations.succinct_roles is not None
    return delegations.succinct_roles.get_role_for_target(path)


def test_the_next_roles_as_they_should_be_are_taken(zoo: Zoo) -> None:
    assert publish(zoo, next_of(zoo), ALICE).status_code == 201
    assert current(zoo.get, "alice", Targets).signed.version == 2


def test_a_role_split_as_it_should_be_is_taken(zoo: Zoo) -> None:
    assert publish(zoo, split(zoo), ALICE).status_code == 201


@dataclass(frozen=True)
class Refusal:
    """What is done to good roles, and what the zoo says to it."""

    name: str
    spoil: Callable[[Roles], object]
    status: int
    code: str
    words: str


def aged(version: int) -> Callable[[Roles], None]:
    def spoil(roles: Roles) -> None:
        roles["alice"].signed.version = version

    return spoil


def living(**span: float) -> Callable[[Roles], None]:
    def spoil(roles: Roles) -> None:
        year = timedelta(days=365)
        roles["alice"].signed.expires += timedelta(**span) - year

    return spoil


def targeting(path: str) -> Callable[[Roles], None]:
    def spoil(roles: Roles) -> None:
        roles["alice"].signed.targets[path] = TargetFile(1, {"sha256": "0" * 64}, path)

    return spoil


def delegating(roles: Roles) -> None:
    role = DelegatedRole("friend", [], 1, terminating=False, paths=["alice/*/*/*"])
    roles["alice"].signed.delegations = Delegations({}, roles={"friend": role})
    roles["alice"].signed.add_key(tuf_key(MALLORY.public), "friend")


def rehashed(roles: Roles) -> None:
    roles["alice"].signed.targets[PATH].hashes = {"sha256": "0" * 64}


def resized(roles: Roles) -> None:
    roles["alice"].signed.targets[PATH].length += 1


def annotated(roles: Roles) -> None:
    file = roles["alice"].signed.targets[PATH]
    file.unrecognized_fields["custom"] = {"safe": True}


def forgetful(roles: Roles) -> None:
    del roles["alice"].signed.targets["alice/digits/1/model.safetensors"]


def empty_handed(roles: Roles) -> None:
    del roles["alice"].signed.targets[PATH]


def stray(name: str) -> Callable[[Roles], None]:
    def spoil(roles: Roles) -> None:
        roles[name] = copy.deepcopy(roles["alice"])

    return spoil


MALFORMED = "MalformedDocumentError"
FLAT = [
    Refusal("another's role", stray("mallory"), 422, MALFORMED, "mallory"),
    Refusal("the targets", stray("targets"), 422, MALFORMED, "targets"),
    Refusal("an online role", stray("zoo~yanked"), 422, MALFORMED, "zoo~yanked"),
    Refusal("a ninth bin", stray("alice~b-8"), 422, MALFORMED, "alice~b-8"),
    Refusal("only another's", lambda it: it.update(bob=it.pop("alice")), 422,
            MALFORMED, "bob"),
    Refusal("an old version", aged(1), 409, "ConflictError", "expected version 2"),
    Refusal("a later version", aged(3), 409, "ConflictError", "expected version 2"),
    Refusal("expired", living(seconds=-1), 422, "ExpiredMetadataError", "expires"),
    Refusal("short", living(hours=23), 422, "ExpiredMetadataError", "one day"),
    Refusal("for ever", living(days=731), 422, "ExpiredMetadataError", "730 days"),
    Refusal("another's path", targeting("mallory/m/1/f"), 422, MALFORMED, "mallory/m"),
    Refusal("a short path", targeting("alice/x"), 422, MALFORMED, "alice/x"),
    Refusal("a long path", targeting("alice/a/b/c/d"), 422, MALFORMED, "alice/a/b/c/d"),
    Refusal("the zoo's path", targeting("zoo/yanked/0"), 422, MALFORMED, "zoo/yanked"),
    Refusal("a friend", delegating, 422, MALFORMED, "delegates to nobody"),
    Refusal("an extra target", targeting("alice/x/1/f"), 422, MALFORMED, "alice/x/1/f"),
    Refusal("a dropped target", forgetful, 422, MALFORMED, "alice/digits/1/model"),
    Refusal("no new target", empty_handed, 422, MALFORMED, PATH),
    Refusal("another hash", rehashed, 422, MALFORMED, PATH),
    Refusal("another length", resized, 422, MALFORMED, PATH),
    Refusal("words beside it", annotated, 422, MALFORMED, PATH),
]  # fmt: skip


@pytest.mark.parametrize("refusal", FLAT, ids=lambda it: it.name)
def test_whatever_else_a_role_holds_is_refused(zoo: Zoo, refusal: Refusal) -> None:
    roles = next_of(zoo)
    refusal.spoil(roles)

    problem = assert_problem(publish(zoo, roles, ALICE), refusal.status, refusal.code)

    assert refusal.words in problem["detail"]
    assert_problem(zoo.get(release_path(SECOND)), 404, "NotFoundError")
    assert current(zoo.get, "alice", Targets).signed.version == 1


@pytest.mark.parametrize("keys", [(), (MALLORY,)], ids=["nobody", "a stranger"])
def test_a_role_that_its_keys_did_not_sign_is_refused(
    zoo: Zoo, keys: tuple[SigningKey, ...]
) -> None:
    assert_problem(publish(zoo, next_of(zoo), *keys), 422, "ThresholdNotMetError")


def test_a_strangers_signature_beside_the_right_one_does_no_harm(zoo: Zoo) -> None:
    assert publish(zoo, next_of(zoo), MALLORY, ALICE).status_code == 201


def test_one_signature_of_two_is_not_enough_and_two_are(zoo: Zoo) -> None:
    again = PublisherTwice(zoo)

    for key in (ALICE, MALLORY):
        answer = submit(zoo, again.signed(key))
        assert answer.status_code == 202
        assert answer.json() == {"versions": {}, "pending": True}
        assert zoo.get("/publishers/bob/pending").json()["kind"] == "renewal"
    assert submit(zoo, again.signed(ALICE, MALLORY)).status_code == 200
    assert_problem(zoo.get("/publishers/bob/pending"), 404, "NotFoundError")


class PublisherTwice:
    """Bob's first role, which needs the signatures of both keys."""

    def __init__(self, zoo: Zoo) -> None:
        rekey(zoo, "bob", ALICE, MALLORY, threshold=2)
        roles = publisher_roles(zoo.get, "bob")
        self.role = edited(roles, add={}, now=zoo.clock())["bob"]

    def signed(self, *keys: SigningKey) -> dict[str, bytes]:
        self.role.signatures.clear()
        sign(self.role, *keys)
        return {"bob": to_bytes(self.role)}


def test_nobody_is_told_to_sign_for_a_name_without_a_delegation(zoo: Zoo) -> None:
    role = to_bytes(next_of(zoo)["alice"])
    for name in ("nobody", "zoo", "snapshot", "timestamp", "zoo~yanked"):
        assert_problem(submit(zoo, {name: role}), 403, "NotPermittedError")


@pytest.mark.parametrize("name", ["~", "\n\u202e", "A" * 100_000])
def test_a_role_that_can_be_nobodys_is_not_repeated_in_the_refusal(
    zoo: Zoo, name: str
) -> None:
    response = zoo.post("/trust/roles", {"roles": {name: {}}})
    problem = assert_problem(response, 400, "InvalidSpecError")
    assert "expected 1 to 64 of" in problem["detail"]
    assert problem["detail"].isprintable()
    assert len(problem["detail"]) < 400


@pytest.mark.parametrize("role", [{"signed": 1}, {}, {"signed": [], "signatures": 1}])
def test_what_is_no_metadata_is_told_in_no_words_of_the_interpreter(
    zoo: Zoo, role: dict[str, object]
) -> None:
    response = zoo.post("/trust/roles", {"roles": {"targets": role}})
    problem = assert_problem(response, 422, MALFORMED)
    assert "a field is missing or has another type" in problem["detail"]


def test_roles_that_are_no_metadata_are_refused(zoo: Zoo) -> None:
    envelope, upload = signed(SECOND, FILES), zoo.upload(FILES)
    good = as_json(sign_roles(next_of(zoo), ALICE))["alice"]
    for role, code in (
        ({}, MALFORMED),
        ({"signed": {}, "signatures": []}, MALFORMED),
        (good | {"signatures": good["signatures"] * 2}, MALFORMED),
        (good | {"signed": good["signed"] | {"_type": "root"}}, MALFORMED),
        (good | {"signed": good["signed"] | {"version": 2.5}}, "ThresholdNotMetError"),
    ):
        response = zoo.publish(SECOND, upload, envelope, roles={"alice": role})
        assert_problem(response, 422, code)


def test_handing_a_role_in_again_without_a_release_changes_no_target(zoo: Zoo) -> None:
    assert_problem(submit(zoo, sign_roles(next_of(zoo), ALICE)), 422, MALFORMED)
    renewal = renewed(publisher_roles(zoo.get, "alice"), now=zoo.clock())
    assert submit(zoo, sign_roles(renewal, ALICE)).status_code == 200
    assert current(zoo.get, "alice", Targets).signed.version == 2


def succinct(roles: Roles) -> SuccinctRoles:
    delegations = roles["alice"].signed.delegations
    assert delegations is not None
    assert delegations.succinct_roles is not None
    return delegations.succinct_roles


def misplaced(roles: Roles) -> None:
    right = bin_of(roles)
    wrong = next(name for name in roles if name not in {"alice", right})
    roles[wrong].signed.targets[PATH] = roles[right].signed.targets.pop(PATH)


def with_other_keys(roles: Roles) -> None:
    role = roles["alice"].signed
    role.delegations = Delegations({}, succinct_roles=succinct(roles))
    succinct(roles).keyids = []
    role.add_key(tuf_key(MALLORY.public))


def with_a_key_that_is_another(roles: Roles) -> None:
    """The keyid is alice's, the key is mallory's."""
    delegations = roles["alice"].signed.delegations
    assert delegations is not None
    delegations.keys[ALICE.public.keyid].keyval["public"] = MALLORY.public.raw.hex()


def with_fewer_bits(roles: Roles) -> None:
    bins = SuccinctRoles(succinct(roles).keyids, 1, 2, "alice~b")
    assert roles["alice"].signed.delegations is not None
    roles["alice"].signed.delegations.succinct_roles = bins


def with_other_names(roles: Roles) -> None:
    bins = SuccinctRoles(succinct(roles).keyids, 1, 3, "mallory~b")
    assert roles["alice"].signed.delegations is not None
    roles["alice"].signed.delegations.succinct_roles = bins


def with_targets_beside_bins(roles: Roles) -> None:
    roles["alice"].signed.targets[PATH] = roles[bin_of(roles)].signed.targets[PATH]


def without_a_bin(roles: Roles) -> None:
    empty = [name for name in roles if name != "alice" and name != bin_of(roles)]
    del roles[next(name for name in empty if not roles[name].signed.targets)]


def without_its_head(roles: Roles) -> None:
    del roles["alice"]


def with_an_aged_bin(roles: Roles) -> None:
    roles[bin_of(roles)].signed.version = 2


def with_a_dead_bin(roles: Roles) -> None:
    roles[bin_of(roles)].signed.expires -= timedelta(days=366)


BINNED = [
    Refusal("wrong bin", misplaced, 422, MALFORMED, "does not belong there"),
    Refusal("other keys", with_other_keys, 422, MALFORMED, "alike in keys"),
    Refusal("fewer bits", with_fewer_bits, 422, MALFORMED, "its own bins"),
    Refusal("other names", with_other_names, 422, MALFORMED, "its own bins"),
    Refusal("both", with_targets_beside_bins, 422, MALFORMED, "its own bins"),
    Refusal("a bin less", without_a_bin, 422, MALFORMED, "bin"),
    Refusal("no head", without_its_head, 422, "ThresholdNotMetError", "~b-"),
    Refusal("aged bin", with_an_aged_bin, 409, "ConflictError", "expected version 1"),
    Refusal("dead bin", with_a_dead_bin, 422, "ExpiredMetadataError", "expires"),
]


@pytest.mark.parametrize("refusal", BINNED, ids=lambda it: it.name)
def test_whatever_else_bins_hold_is_refused(zoo: Zoo, refusal: Refusal) -> None:
    roles = split(zoo)
    refusal.spoil(roles)

    problem = assert_problem(publish(zoo, roles, ALICE), refusal.status, refusal.code)

    assert refusal.words in problem["detail"]
    assert current(zoo.get, "alice", Targets).signed.version == 1


def test_a_bin_signed_by_another_key_is_refused(zoo: Zoo) -> None:
    roles = split(zoo)
    name = bin_of(roles)
    forged = {name: roles.pop(name)}
    files = sign_roles(roles, ALICE) | sign_roles(forged, MALLORY)
    envelope = signed(SECOND, FILES)

    response = zoo.publish(SECOND, zoo.upload(FILES), envelope, roles=as_json(files))

    assert_problem(response, 422, "ThresholdNotMetError")


def test_bins_before_there_is_a_role_are_refused(zoo: Zoo) -> None:
    rekey(zoo, "bob", ALICE)
    lone = {"bob~b-0": Metadata(Targets(expires=zoo.clock() + timedelta(days=9)))}

    problem = assert_problem(submit(zoo, sign_roles(lone, ALICE)), 422, MALFORMED)

    assert "without a role above" in problem["detail"]


def test_a_role_that_has_split_cannot_forget_its_bins(zoo: Zoo) -> None:
    """Else every target in them would be gone, and nothing asked for that."""
    publish(zoo, split(zoo), ALICE)
    role = current(zoo.get, "alice", Targets)
    role.signed.version += 1
    role.signed.delegations = None

    response = submit(zoo, sign_roles({"alice": role}, ALICE))

    assert_problem(response, 422, MALFORMED)


def test_with_other_keys_every_bin_is_signed_anew(zoo: Zoo) -> None:
    publish(zoo, split(zoo), ALICE)
    roles = renewed(pending_roles(zoo, "alice", MALLORY), now=zoo.clock())
    assert len(roles) == 1 + BINS
    signed_anew = sign_roles(roles, MALLORY)
    name = bin_of(roles)
    without = {it: data for it, data in signed_anew.items() if it != name}

    def rekeyed(targets: Targets) -> None:
        delegate(targets, "alice", Role(keys=(MALLORY.public,)))

    half = submit_targets(zoo, rekeyed, others=without)
    assert_problem(half, 422, "ThresholdNotMetError")
    assert submit_targets(zoo, rekeyed, others=signed_anew).status_code == 200


def test_a_role_larger_than_clients_read_is_refused(zoo: Zoo) -> None:
    roles = next_of(zoo)
    roles["alice"].signed.unrecognized_fields["x"] = "x" * MAX_METADATA_BYTES

    assert_problem(submit(zoo, sign_roles(roles, ALICE)), 413, "InvalidSpecError")
    with pytest.raises(MalformedDocumentError, match="bytes"):
        parse(to_bytes(roles["alice"]), Targets)
