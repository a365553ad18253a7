"""What offline keys decide, and each way in which the zoo does not let them err."""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    Root,
    TargetFile,
    Targets,
)

from model_zoo.digests import sha256_bytes
from model_zoo.errors import YankedError
from model_zoo.keys.ed25519 import SigningKey
from model_zoo.names import ReleaseName
from model_zoo.statements.dsse import Role
from model_zoo.statements.policy import Policy
from model_zoo.tuf.ceremony import delegate, next_root, next_withdrawn, withdraw
from model_zoo.tuf.publisher_roles import renewed, sign_roles
from model_zoo.tuf.releases import trusted_release
from model_zoo.tuf.roles import (
    ROOT,
    SNAPSHOT,
    TARGETS,
    TIMESTAMP,
    TRUSTED_KEYS,
    WITHDRAWALS,
    WITHDRAWN,
    YANKED,
    delegation_of,
    keys_of,
    sign,
    to_bytes,
    tuf_key,
)
from tests.service.operator import (
    pending_roles,
    rekey,
    stranger,
    submit,
    submit_targets,
)
from tests.service.roles import (
    ROOT_KEYS,
    TARGETS_KEY,
    current,
    file,
    make_real_root,
)
from tests.service.zoo import (
    ALICE,
    MALLORY,
    Clock,
    Zoo,
    assert_problem,
    open_zoo,
    signed,
    weights,
)

FIRST = ReleaseName("alice", "digits", "1")
NEW_KEY = SigningKey.generate()
MALFORMED = "MalformedDocumentError"
REASON = "it has a backdoor"


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A real root, and a zoo in which alice has one release; its service stopped."""
    folder = tmp_path_factory.mktemp("before")
    trust = make_real_root(folder / "trust", now=Clock().now)
    with open_zoo(folder / "zoo", trust_dir=trust) as opened:
        rekey(opened, "alice", ALICE)
        opened.published(str(FIRST), {"model.safetensors": weights(1)})
    return folder


@pytest.fixture
def zoo(before: Path, tmp_path: Path) -> Iterator[Zoo]:
    """A service that begins there."""
    shutil.copytree(before, tmp_path, dirs_exist_ok=True)
    with open_zoo(tmp_path / "zoo", trust_dir=tmp_path / "trust") as opened:
        yield opened


def is_pullable(zoo: Zoo, folder: Path) -> bool:
    """Whether a client that pins the first root finds alice's release."""
    view = stranger(zoo, folder)
    policy = Policy()
    found = trusted_release(
        view, FIRST, policy=policy, containing_releases=lambda _: []
    )
    return found.statement.release == FIRST


def rotated(zoo: Zoo, *keys: SigningKey) -> Metadata[Root]:
    """Return the next root, with ``keys`` for itself, unsigned."""
    public = Role(keys=tuple(key.public for key in keys), threshold=2)
    newest = Metadata[Root].from_bytes(file(zoo.get, "1.root.json"))
    return next_root(newest, {ROOT: public}, now=zoo.clock())


def test_a_root_is_rotated_by_the_old_holders_and_the_new(
    zoo: Zoo, tmp_path: Path
) -> None:
    root = rotated(zoo, ROOT_KEYS[0], NEW_KEY)

    sign(root, ROOT_KEYS[0], ROOT_KEYS[1], NEW_KEY)
    response = submit(zoo, {ROOT: to_bytes(root)})

    assert response.json()["versions"] == {"root": 2}
    assert file(zoo.get, "2.root.json") == to_bytes(root)
    assert stranger(zoo, tmp_path / "seen").root.version == 2
    assert is_pullable(zoo, tmp_path / "seen")


@pytest.mark.parametrize(
    "keys",
    [
        pytest.param((), id="nobody"),
        pytest.param((ROOT_KEYS[0], NEW_KEY), id="one of the old"),
        pytest.param((ROOT_KEYS[0], ROOT_KEYS[1]), id="one of the new"),
        pytest.param((NEW_KEY, TARGETS_KEY), id="new and another role's"),
    ],
)
def test_a_root_without_both_thresholds_is_refused(
    zoo: Zoo, keys: tuple[SigningKey, ...]
) -> None:
    root = rotated(zoo, ROOT_KEYS[0], NEW_KEY)
    sign(root, *keys)

    response = submit(zoo, {ROOT: to_bytes(root)})

    assert_problem(response, 422, "ThresholdNotMetError")
    assert zoo.get("/tuf/metadata/2.root.json").status_code == 404


def skipping(root: Root, _: Zoo) -> None:
    root.version = 3


def staying(root: Root, _: Zoo) -> None:
    root.version = 1


def dead(root: Root, zoo: Zoo) -> None:
    root.expires = zoo.clock()


def immortal(root: Root, zoo: Zoo) -> None:
    root.expires = zoo.clock() + timedelta(days=4000)


def for_other_online_keys(role: str) -> Callable[[Root, Zoo], None]:
    def spoil(root: Root, _: Zoo) -> None:
        root.revoke_key(root.roles[role].keyids[0], role)
        root.add_key(tuf_key(NEW_KEY.public), role)

    return spoil


@dataclass(frozen=True)
class Refusal:
    name: str
    spoil: Callable[..., None]
    status: int
    code: str


ROOTS = [
    Refusal("skips one", skipping, 409, "ConflictError"),
    Refusal("same version", staying, 409, "ConflictError"),
    Refusal("dead", dead, 422, "ExpiredMetadataError"),
    Refusal("immortal", immortal, 422, "ExpiredMetadataError"),
    Refusal("snapshot", for_other_online_keys(SNAPSHOT), 403, "NotPermittedError"),
    Refusal("timestamp", for_other_online_keys(TIMESTAMP), 403, "NotPermittedError"),
    Refusal("targets", for_other_online_keys(TARGETS), 422, "ThresholdNotMetError"),
]


@pytest.mark.parametrize("refusal", ROOTS, ids=lambda it: it.name)
def test_a_root_that_the_zoo_could_not_go_on_with_is_refused(
    zoo: Zoo, refusal: Refusal
) -> None:
    root = rotated(zoo, *ROOT_KEYS)
    refusal.spoil(root.signed, zoo)
    sign(root, *ROOT_KEYS)

    response = submit(zoo, {ROOT: to_bytes(root)})

    assert_problem(response, refusal.status, refusal.code)
    assert zoo.get("/tuf/metadata/2.root.json").status_code == 404


def test_a_root_comes_alone(zoo: Zoo) -> None:
    root = rotated(zoo, *ROOT_KEYS)
    sign(root, *ROOT_KEYS)
    role = current(zoo.get, "alice", Targets)

    response = submit(zoo, {ROOT: to_bytes(root), "alice": to_bytes(role)})

    assert_problem(response, 422, MALFORMED)


def test_targets_that_another_key_signed_are_refused(zoo: Zoo) -> None:
    for key in (ALICE, ROOT_KEYS[0], zoo.app.state.context.keys.snapshot_key):
        assert_problem(submit_targets(zoo, key=key), 422, "ThresholdNotMetError")


def delegations(targets: Targets) -> dict[str, DelegatedRole]:
    assert targets.delegations is not None
    assert targets.delegations.roles is not None
    return targets.delegations.roles


def dropping(name: str) -> Callable[[Targets], None]:
    def spoil(targets: Targets) -> None:
        del delegations(targets)[name]

    return spoil


def rekeying(name: str) -> Callable[[Targets], None]:
    def spoil(targets: Targets) -> None:
        targets.add_key(tuf_key(MALLORY.public), name)

    return spoil


def widening(targets: Targets) -> None:
    delegations(targets)["alice"].paths = ["*/*/*/*"]


def unending(targets: Targets) -> None:
    delegations(targets)["alice"].terminating = False


def by_hash(targets: Targets) -> None:
    delegations(targets)["alice"] = DelegatedRole(
        "alice", [ALICE.public.keyid], 1, terminating=True, path_hash_prefixes=["0"]
    )


def extra(path: str) -> Callable[[Targets], None]:
    def spoil(targets: Targets) -> None:
        targets.targets[path] = TargetFile(1, {"sha256": "0" * 64}, path)

    return spoil


def without_trusted_keys(targets: Targets) -> None:
    targets.targets.clear()


def renamed_trusted_keys(targets: Targets) -> None:
    targets.targets[TRUSTED_KEYS] = TargetFile(1, {"sha256": "0" * 64}, TRUSTED_KEYS)


def reserved(name: str) -> Callable[[Targets], None]:
    """Give a name to mallory that TUF or the operator needs, as a typist could."""

    def spoil(targets: Targets) -> None:
        role = DelegatedRole(name, [], 1, terminating=True, paths=[f"{name}/*/*/*"])
        delegations(targets)[name] = role
        targets.add_key(tuf_key(MALLORY.public), name)

    return spoil


def skipped(targets: Targets) -> None:
    targets.version += 1


def repeated(targets: Targets) -> None:
    targets.version -= 1


def expired(targets: Targets) -> None:
    targets.expires -= timedelta(days=90)


TOP = [
    Refusal("drops a publisher", dropping("alice"), 422, MALFORMED),
    Refusal("drops the yanked", dropping(YANKED), 422, MALFORMED),
    Refusal("yanked by another", rekeying(YANKED), 422, MALFORMED),
    Refusal("wider paths", widening, 422, MALFORMED),
    Refusal("search goes on", unending, 422, MALFORMED),
    Refusal("paths by hash", by_hash, 422, MALFORMED),
    Refusal("a release", extra("alice/digits/1/model.safetensors"), 422, MALFORMED),
    Refusal("a zoo file", extra("zoo/other.json"), 422, MALFORMED),
    Refusal("no trusted keys", without_trusted_keys, 422, MALFORMED),
    Refusal("keys not here", renamed_trusted_keys, 422, MALFORMED),
    Refusal("a publisher called snapshot", reserved("snapshot"), 422, MALFORMED),
    Refusal("a publisher called zoo", reserved("zoo"), 400, "InvalidSpecError"),
    Refusal("a publisher called v2", reserved("v2"), 400, "InvalidSpecError"),
    Refusal("a publisher called login", reserved("login"), 400, "InvalidSpecError"),
    Refusal("a top-level bin", reserved("alice~b-0"), 400, "InvalidSpecError"),
    Refusal("skips one", skipped, 409, "ConflictError"),
    Refusal("same version", repeated, 409, "ConflictError"),
    Refusal("expired", expired, 422, "ExpiredMetadataError"),
    Refusal("key out, role left", lambda it: delegate(
        it, "alice", Role(keys=(MALLORY.public,))), 422, "ThresholdNotMetError"),
]  # fmt: skip


@pytest.mark.parametrize("refusal", TOP, ids=lambda it: it.name)
def test_targets_that_take_or_give_too_much_are_refused(
    zoo: Zoo, refusal: Refusal, tmp_path: Path
) -> None:
    before = current(zoo.get, TARGETS, Targets).signed.version

    response = submit_targets(zoo, refusal.spoil)

    assert_problem(response, refusal.status, refusal.code)
    assert current(zoo.get, TARGETS, Targets).signed.version == before
    assert is_pullable(zoo, tmp_path / "seen")


@pytest.mark.parametrize("name", [YANKED, "zoo~other", "zoo", WITHDRAWN, "bob"])
def test_no_unsigned_role_comes_in_beside_the_targets(zoo: Zoo, name: str) -> None:
    """Who holds no key and sits on the way could add it to the operator's request."""
    role = current(zoo.get, YANKED, Targets)
    role.signed.version += 1
    role.signatures.clear()
    sign(role, MALLORY)

    response = submit_targets(zoo, others={name: to_bytes(role)})

    assert response.status_code in {403, 422}, response.text
    assert zoo.get(f"/tuf/metadata/2.{name}.json").status_code == 404


def test_a_publishers_key_is_rotated_with_his_role_in_one_step(
    zoo: Zoo, tmp_path: Path
) -> None:
    roles = renewed(pending_roles(zoo, "alice", NEW_KEY), now=zoo.clock())
    public = Role(keys=(NEW_KEY.public,))

    response = submit_targets(
        zoo,
        lambda targets: delegate(targets, "alice", public),
        others=sign_roles(roles, NEW_KEY),
    )

    assert response.status_code == 200, response.text
    targets = current(zoo.get, TARGETS, Targets).signed
    role = delegation_of(targets, "alice")
    assert role is not None
    assert keys_of(targets, role) == (NEW_KEY.public,)
    bound = zoo.get("/publishers/alice").json()
    assert bound["keyid"] == NEW_KEY.public.keyid
    assert is_pullable(zoo, tmp_path / "seen")
    second = signed("alice/digits@2", {"model.safetensors": weights(2)}, ALICE)
    response = zoo.publish("alice/digits@2", "0" * 32, second)
    assert_problem(response, 403, "NotPermittedError")


def test_trusted_keys_change_with_the_file_that_lists_them(
    zoo: Zoo, tmp_path: Path
) -> None:
    before = stranger(zoo, tmp_path / "seen").trusted_keys()
    after = before.model_copy(update={"builders": (NEW_KEY.public.to_pem(),)})
    data = after.to_bytes()

    def listing(targets: Targets) -> None:
        sha256 = sha256_bytes(data)
        file = TargetFile(len(data), {"sha256": sha256}, TRUSTED_KEYS)
        targets.targets[TRUSTED_KEYS] = file

    assert_problem(submit_targets(zoo, listing), 422, MALFORMED)
    other = {TRUSTED_KEYS: json.loads(before.to_bytes())}
    assert_problem(submit_targets(zoo, listing, files=other), 422, MALFORMED)
    right = {TRUSTED_KEYS: json.loads(data)}
    assert submit_targets(zoo, listing, files=right).status_code == 200
    assert stranger(zoo, tmp_path / "seen").trusted_keys() == after


def test_trusted_keys_that_are_none_are_refused(zoo: Zoo) -> None:
    wrong = {"format": 1, "log_origin": "x", "builders": ["no key"]}
    data = json.dumps(wrong, sort_keys=True, separators=(",", ":")).encode()

    def listing(targets: Targets) -> None:
        file = TargetFile(len(data), {"sha256": sha256_bytes(data)}, TRUSTED_KEYS)
        targets.targets[TRUSTED_KEYS] = file

    response = submit_targets(zoo, listing, files={TRUSTED_KEYS: wrong})

    assert_problem(response, 422, MALFORMED)


@dataclass
class Withdrawal:
    """An operator's withdrawal, to be handed in as it should be or spoiled."""

    zoo: Zoo
    release: ReleaseName = FIRST

    def role(self) -> Metadata[Targets]:
        before = delegation_of(
            current(self.zoo.get, TARGETS, Targets).signed, WITHDRAWN
        )
        known = None if before is None else current(self.zoo.get, WITHDRAWN, Targets)
        return next_withdrawn(known, {self.release: REASON}, now=self.zoo.clock())

    def hide(self, targets: Targets) -> None:
        keys = Role(keys=(TARGETS_KEY.public,))
        withdraw(targets, [self.release], keys=keys)

    def submit(
        self,
        spoil_targets: Callable[[Targets], object] = lambda _: None,
        spoil_role: Callable[[Targets], object] = lambda _: None,
        key: SigningKey = TARGETS_KEY,
    ) -> httpx.Response:
        role = self.role()
        spoil_role(role.signed)

        def edit(targets: Targets) -> None:
            self.hide(targets)
            spoil_targets(targets)

        others = sign_roles({WITHDRAWN: role}, key)
        return submit_targets(self.zoo, edit, others=others)


def test_a_withdrawn_release_is_gone_for_every_client_and_says_why(
    zoo: Zoo, tmp_path: Path
) -> None:
    zoo.published("alice/digits@2", {"model.safetensors": weights(2)})
    assert is_pullable(zoo, tmp_path / "seen")

    response = Withdrawal(zoo).submit()

    assert response.status_code == 200, response.text
    view = stranger(zoo, tmp_path / "seen")
    assert view.target("alice/digits/1/model.safetensors") is None
    assert view.target("alice/digits/2/model.safetensors") is not None
    with pytest.raises(YankedError, match=REASON):
        is_pullable(zoo, tmp_path / "seen")
    second = Withdrawal(zoo, ReleaseName("alice", "digits", "2")).submit()
    assert second.status_code == 200, second.text
    assert current(zoo.get, WITHDRAWN, Targets).signed.version == 2
    assert stranger(zoo, tmp_path / "seen").target(
        "alice/digits/2/model.safetensors"
    ) is None  # fmt: skip


def not_first(targets: Targets) -> None:
    roles = delegations(targets)
    roles[WITHDRAWN] = roles.pop(WITHDRAWN)


def not_terminating(targets: Targets) -> None:
    delegations(targets)[WITHDRAWN].terminating = False


def more_paths(targets: Targets) -> None:
    role = delegations(targets)[WITHDRAWN]
    role.paths = [*(role.paths or ()), "mallory/m/1/*"]


def holding_a_target(role: Targets) -> None:
    path = "alice/digits/1/model.safetensors"
    role.targets[path] = TargetFile(1, {"sha256": "0" * 64}, path)


def delegating_on(role: Targets) -> None:
    friend = DelegatedRole("friend", [], 1, terminating=True, paths=["alice/*/*/*"])
    role.delegations = Delegations({}, roles={"friend": friend})
    role.add_key(tuf_key(ALICE.public), "friend")


def of_a_later_version(role: Targets) -> None:
    role.version = 7


def without_reasons(role: Targets) -> None:
    del role.unrecognized_fields[WITHDRAWALS]


def with_reasons_that_are_none(role: Targets) -> None:
    role.unrecognized_fields[WITHDRAWALS] = ["alice/digits@1"]


def of_another_release(role: Targets) -> None:
    role.unrecognized_fields[WITHDRAWALS] = {"alice/digits@2": REASON}


WITHDRAWALS_REFUSED = [
    ("not first", not_first, None),
    ("not terminating", not_terminating, None),
    ("more paths than reasons", more_paths, None),
    ("it is not empty", None, holding_a_target),
    ("it delegates on", None, delegating_on),
    ("no reasons", None, without_reasons),
    ("a list of reasons", None, with_reasons_that_are_none),
    ("another release", None, of_another_release),
]


@pytest.mark.parametrize(
    ("spoil_targets", "spoil_role"),
    [pytest.param(t, r, id=name) for name, t, r in WITHDRAWALS_REFUSED],
)
def test_a_withdrawal_that_clients_would_not_obey_is_refused(
    zoo: Zoo,
    tmp_path: Path,
    spoil_targets: Callable[[Targets], object] | None,
    spoil_role: Callable[[Targets], object] | None,
) -> None:
    nothing = lambda _: None  # noqa: E731
    response = Withdrawal(zoo).submit(spoil_targets or nothing, spoil_role or nothing)

    assert_problem(response, 422, MALFORMED)
    assert is_pullable(zoo, tmp_path / "seen")


def test_a_withdrawal_of_another_version_than_the_next_is_refused(
    zoo: Zoo, tmp_path: Path
) -> None:
    response = Withdrawal(zoo).submit(lambda _: None, of_a_later_version)

    assert_problem(response, 409, "ConflictError")
    assert is_pullable(zoo, tmp_path / "seen")


def test_a_withdrawal_by_another_key_is_refused(zoo: Zoo) -> None:
    assert_problem(Withdrawal(zoo).submit(key=ALICE), 422, "ThresholdNotMetError")


def test_a_withdrawal_is_never_taken_back(zoo: Zoo, tmp_path: Path) -> None:
    assert Withdrawal(zoo).submit().status_code == 200

    def showing_again(targets: Targets) -> None:
        role = delegations(targets)[WITHDRAWN]
        role.paths = ["alice/digits/2/*"]

    def forgetting(role: Targets) -> None:
        role.unrecognized_fields[WITHDRAWALS] = {"alice/digits@2": REASON}

    again = Withdrawal(zoo, ReleaseName("alice", "digits", "2"))
    assert_problem(again.submit(showing_again, forgetting), 422, MALFORMED)
    assert_problem(submit_targets(zoo, dropping(WITHDRAWN)), 422, MALFORMED)
    assert_problem(submit_targets(zoo, showing_again), 422, MALFORMED)
    assert stranger(zoo, tmp_path / "s").target("alice/digits/1/release.json") is None


def test_a_withdrawn_name_is_not_published_again(zoo: Zoo) -> None:
    third = ReleaseName("alice", "digits", "3")
    assert Withdrawal(zoo, third).submit().status_code == 200

    files = {"model.safetensors": weights(3)}
    envelope = signed(str(third), files)
    response = zoo.publish(str(third), zoo.upload(files), envelope)

    problem = assert_problem(response, 409, "ConflictError")
    assert "no un-yank" in problem["detail"]


def test_every_change_of_keys_is_in_the_log(zoo: Zoo) -> None:
    size = _log_size(zoo)

    rekey(zoo, "bob", MALLORY)

    assert _log_size(zoo) == size + 2, "the targets' version, and bob's new key"


def _log_size(zoo: Zoo) -> int:
    return int(zoo.get("/log/checkpoint").text.splitlines()[1])
