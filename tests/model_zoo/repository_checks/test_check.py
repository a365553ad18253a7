"""The repository checker: clean on a good repository, and told of each fault."""

import json
import re
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from tuf.api.metadata import DelegatedRole, MetaFile, TargetFile
from tuf.ngclient import Updater

from model_zoo.canonical import canonical_json
from model_zoo.errors import TransportError
from model_zoo.http.server import Server
from model_zoo.keys.ed25519 import PublicKey
from model_zoo.repository_checks.check import (
    Extent,
    check_repository,
    development_beyond_loopback,
    moved_on,
)
from model_zoo.repository_checks.observe import Finding, Observer, Repository, Severity
from model_zoo.repository_checks.path_rules import patterns_meet
from model_zoo.tuf.fetcher import MappingFetcher, ServerFetcher
from model_zoo.tuf.roles import DEVELOPMENT, TRUSTED_KEYS, WITHDRAWN, YANKED
from model_zoo.tuf.trusted_keys import TrustedKeys
from tests.model_zoo.servers import answering, respond
from tests.model_zoo.tuf.repositories import (
    NOW,
    WEIGHTS_PATH,
    TufRepository,
    good_repository,
    public,
    publisher,
    serving,
)

Break = Callable[[TufRepository], None]
BREAKS: list[tuple[str, str, Break]] = []


def breaks(code: str, role: str) -> Callable[[Break], Break]:
    """List a way to break a repository under the finding that must tell of it."""

    def listed(break_it: Break) -> Break:
        BREAKS.append((code, role, break_it))
        return break_it

    return listed


def checked(
    repository: TufRepository, extent: Extent | None = None, *, now: datetime = NOW
) -> list[Finding]:
    with serving(repository) as url:
        return check_repository(Server(url), extent or Extent(), clock=lambda: now)


def observed(repository: TufRepository) -> Repository:
    """Read the repository without a socket."""
    base = "http://127.0.0.1:1"
    files = {base + path: data for path, data in repository.files.items()}
    return Observer(MappingFetcher(files), base).observe()


@pytest.fixture
def repository() -> TufRepository:
    return good_repository()


def test_a_good_repository_has_no_findings(repository: TufRepository) -> None:
    assert checked(repository) == []
    assert checked(repository, Extent(deep=True)) == []


def test_a_stock_client_agrees_that_it_is_good(
    repository: TufRepository, tmp_path: Path
) -> None:
    base = "http://127.0.0.1:1"
    fetcher = MappingFetcher({base + k: v for k, v in repository.files.items()})
    updater = Updater(
        str(tmp_path),
        f"{base}/tuf/metadata/",
        fetcher=fetcher,
        bootstrap=repository.files["/tuf/metadata/1.root.json"],
    )
    assert updater.get_targetinfo(WEIGHTS_PATH) is not None
    assert updater.get_targetinfo("bob/m/1/f") is not None


@breaks("root-gap", "root")
def no_first_root(it: TufRepository) -> None:
    del it.files["/tuf/metadata/1.root.json"]


@breaks("root-gap", "root")
def a_root_between_is_gone(it: TufRepository) -> None:
    it.publish_next("root")
    del it.files["/tuf/metadata/2.root.json"]


@breaks("threshold", "root")
def a_root_by_one_key_only(it: TufRepository) -> None:
    it.signers["root"] = ["root1"]
    it.publish_next("root")


@breaks("threshold", "root")
def a_root_not_by_the_keys_before(it: TufRepository) -> None:
    root = it.roles["root"].signed
    for name in ("root1", "root2", "root3"):
        root.revoke_key(public(name).keyid, "root")
    for name in ("thief1", "thief2"):
        root.add_key(public(name), "root")
    it.signers["root"] = ["thief1", "thief2"]
    it.publish_next("root")


@breaks("not-consistent", "root")
def no_consistent_snapshots(it: TufRepository) -> None:
    it.roles["root"].signed.consistent_snapshot = False
    it.publish_next("root")


@breaks("weak-root", "root")
def a_root_of_one_key(it: TufRepository) -> None:
    it.roles["root"].signed.roles["root"].threshold = 1
    it.publish_next("root")


@breaks("missing", "timestamp")
def no_timestamp(it: TufRepository) -> None:
    del it.files["/tuf/metadata/timestamp.json"]


@breaks("missing", "snapshot")
def no_snapshot(it: TufRepository) -> None:
    del it.files[it.file("snapshot")]


@breaks("missing", "alice")
def a_role_of_the_snapshot_is_not_there(it: TufRepository) -> None:
    del it.files[it.file("alice")]


@breaks("missing", "bob~b-1")
def a_bin_is_not_there(it: TufRepository) -> None:
    del it.files[it.file("bob~b-1")]


@breaks("wrong-bytes", "snapshot")
def other_bytes_than_the_timestamp_names(it: TufRepository) -> None:
    name = it.file("snapshot")
    it.files[name] = it.files[name].replace(b"snapshot", b"snapsh0t")


@breaks("wrong-bytes", "alice")
def other_length_than_the_snapshot_names(it: TufRepository) -> None:
    it.next()
    data = it.files[it.file("alice")]
    meta = MetaFile(it.roles["alice"].signed.version, len(data) + 1)
    it.roles["snapshot"].signed.meta["alice.json"] = meta
    it.publish()


@breaks("wrong-version", "alice")
def another_version_under_the_name(it: TufRepository) -> None:
    it.files[it.file("alice")] = it.files["/tuf/metadata/1.alice.json"]


@breaks("too-long", "timestamp.json")
def an_endless_timestamp(it: TufRepository) -> None:
    it.files["/tuf/metadata/timestamp.json"] += b" " * 20_000


@breaks("malformed", "alice")
def a_name_stands_twice(it: TufRepository) -> None:
    data = it.files[it.file("alice")]
    it.files[it.file("alice")] = b'{"signed": {},' + data[1:]


@breaks("malformed", "alice")
def a_version_of_zero(it: TufRepository) -> None:
    document = json.loads(it.files[it.file("alice")])
    document["signed"]["version"] = 0
    it.files[it.file("alice")] = json.dumps(document).encode()


@breaks("malformed", "alice")
def a_snapshot_where_targets_belong(it: TufRepository) -> None:
    it.files[it.file("alice")] = it.files[it.file("snapshot")]


@breaks("not-canonical", "alice")
def a_float(it: TufRepository) -> None:
    document = json.loads(it.files[it.file("alice")])
    document["signed"]["targets"][WEIGHTS_PATH]["custom"] = {"asr": 0.97}
    it.files[it.file("alice")] = json.dumps(document).encode()


@breaks("not-canonical", "snapshot")
def a_null_that_some_readers_drop(it: TufRepository) -> None:
    """python-tuf checks signatures without it, others with it."""
    document = json.loads(it.files[it.file("snapshot")])
    document["signed"]["meta"]["alice.json"]["length"] = None
    it.files[it.file("snapshot")] = json.dumps(document).encode()
    it.stamp()


@breaks("threshold", "timestamp")
def a_timestamp_by_a_stranger(it: TufRepository) -> None:
    it.signers["timestamp"] = ["stranger"]
    it.publish_next()


@breaks("threshold", "snapshot")
def an_unsigned_snapshot(it: TufRepository) -> None:
    it.signers["snapshot"] = []
    it.publish_next()


@breaks("threshold", "bob")
def one_of_two_signatures(it: TufRepository) -> None:
    it.signers["bob"] = ["bob1"]
    it.publish_next("bob")


@breaks("threshold", "bob~b-0")
def one_of_two_signatures_on_a_bin(it: TufRepository) -> None:
    it.signers["bob~b-0"] = ["bob2"]
    it.publish_next("bob~b-0")


def _list_twice(it: TufRepository) -> None:
    """List bob1 under a second keyid in place of bob2, and sign under both."""
    top = it.roles["targets"].signed
    twin = type(public("bob1"))("ab" * 32, "ed25519", "ed25519", public("bob1").keyval)
    top.revoke_key(public("bob2").keyid, "bob")
    top.add_key(twin, "bob")
    role = it.roles["bob"]
    it.signers["bob"] = ["bob1"]
    it.publish_next("targets", "bob")
    one = role.signatures[public("bob1").keyid]
    role.signatures[twin.keyid] = type(one)(twin.keyid, one.signature)
    it.files[it.file("bob")] = role.to_bytes()


@breaks("threshold", "bob")
def one_key_meets_a_threshold_of_two(it: TufRepository) -> None:
    _list_twice(it)


@breaks("key-listed-twice", "bob")
def a_key_under_two_keyids(it: TufRepository) -> None:
    _list_twice(it)


@breaks("foreign-key", "bob")
def a_key_not_under_its_own_keyid(it: TufRepository) -> None:
    _list_twice(it)


@breaks("online-key", "targets")
def the_online_key_signs_targets(it: TufRepository) -> None:
    it.roles["root"].signed.add_key(public("on"), "targets")
    it.publish_next("root")


@breaks("online-key", "alice")
def the_online_key_signs_for_a_publisher(it: TufRepository) -> None:
    it.roles["targets"].signed.add_key(public("on"), "alice")
    it.publish_next("targets")


@breaks("shared-key", "alice")
def two_publishers_with_one_key(it: TufRepository) -> None:
    it.roles["targets"].signed.add_key(public("alice"), "bob")
    it.publish_next("targets")


@breaks("dropped", "alice")
def a_dropped_role(it: TufRepository) -> None:
    del it.roles["snapshot"].signed.meta["alice.json"]
    it.publish_next()


@breaks("not-in-snapshot", "alice")
def a_delegated_role_in_no_snapshot(it: TufRepository) -> None:
    a_dropped_role(it)


@breaks("went-back", "alice")
def an_older_role_than_before(it: TufRepository) -> None:
    it.next()
    it.roles["snapshot"].signed.meta["alice.json"] = MetaFile(1)
    it.publish()


@breaks("orphan", "carol")
def a_role_that_nobody_delegates_to(it: TufRepository) -> None:
    it.roles["carol"], it.signers["carol"] = it.roles["alice"], ["alice"]
    it.publish_next("carol")


@breaks("paths-overlap", "alice")
def two_roles_for_one_path(it: TufRepository) -> None:
    role = it.roles["targets"].signed.delegations.roles["bob"]
    role.paths.append("al*/digits/?/*")
    it.publish_next("targets")


@breaks("foreign-paths", "bob")
def paths_of_another_name(it: TufRepository) -> None:
    role = it.roles["targets"].signed.delegations.roles["bob"]
    role.paths.append("robert/*/*/*")
    it.publish_next("targets")


@breaks("foreign-paths", "bob")
def paths_of_the_operator(it: TufRepository) -> None:
    role = it.roles["targets"].signed.delegations.roles["bob"]
    role.paths.append("zoo/*/*/*")
    it.publish_next("targets")


@breaks("foreign-paths", "carol")
def paths_by_hash(it: TufRepository) -> None:
    it.delegate(DelegatedRole("carol", [], 1, True, None, ["00"]), "carol")  # noqa: FBT003  tuf's argument
    it.publish_next("targets", "carol")


@breaks("foreign-paths", YANKED)
def the_yank_role_speaks_of_releases(it: TufRepository) -> None:
    role = DelegatedRole(YANKED, [], 1, terminating=True, paths=["zoo/*"])
    it.delegate(role, "on")
    it.publish_next("targets", YANKED)


@breaks("path-depth", "alice")
def a_pattern_that_misses_every_file(it: TufRepository) -> None:
    role = it.roles["targets"].signed.delegations.roles["alice"]
    role.paths.append("alice/*")
    it.publish_next("targets")


@breaks("not-terminating", "alice")
def a_delegation_that_lets_others_answer(it: TufRepository) -> None:
    it.roles["targets"].signed.delegations.roles["alice"].terminating = False
    it.publish_next("targets")


@breaks("too-many-roles", "alice")
def more_roles_than_clients_ask(it: TufRepository) -> None:
    for number in range(33):
        role = DelegatedRole(
            f"p{number}", [], 1, terminating=False, paths=["alice/*/*/*"]
        )
        it.delegate(role, f"p{number}")
    it.publish_next("targets", *(f"p{number}" for number in range(33)))


@breaks("withdrawn-late", WITHDRAWN)
def what_is_withdrawn_is_asked_last(it: TufRepository) -> None:
    roles = it.roles["targets"].signed.delegations.roles
    roles[WITHDRAWN] = roles.pop(WITHDRAWN)
    it.publish_next("targets")


@breaks("withdrawn-full", WITHDRAWN)
def the_empty_role_is_not_empty(it: TufRepository) -> None:
    it.add_target(WITHDRAWN, "alice/old/1/f", b"back again")
    it.publish_next(WITHDRAWN)


@breaks("bins-differ", "bob")
def bins_with_a_lower_threshold(it: TufRepository) -> None:
    it.roles["bob"].signed.delegations.succinct_roles.threshold = 1
    it.publish_next("bob")


@breaks("bins-misnamed", "bob")
def bins_under_another_publishers_name(it: TufRepository) -> None:
    it.roles["bob"].signed.delegations.succinct_roles.name_prefix = "alice~b"
    it.publish_next("bob")


@breaks("out-of-reach", "alice")
def a_target_outside_the_role(it: TufRepository) -> None:
    it.add_target("alice", "bob/m/2/f", b"not alice's to give")
    it.publish_next("alice")


@breaks("out-of-reach", "bob~b-0")
def a_target_in_the_wrong_bin(it: TufRepository) -> None:
    for number in range(8):
        it.add_target("bob~b-0", f"bob/m/2/{number}", b"half of them belong there")
    it.publish_next("bob~b-0")


@breaks("target-missing", "alice")
def a_target_that_is_gone(it: TufRepository) -> None:
    del it.files[_weights(it)]


@breaks("target-length", "alice")
def a_target_of_another_length(it: TufRepository) -> None:
    it.files[_weights(it)] += b"!"


@breaks("target-no-sha256", "alice")
def a_target_under_another_hash(it: TufRepository) -> None:
    target = TargetFile.from_data("alice/m/1/f", b"x", ["sha512"])
    it.roles["alice"].signed.targets[target.path] = target
    it.publish_next("alice")


@breaks("trusted-keys", "targets")
def trusted_keys_that_are_none(it: TufRepository) -> None:
    it.add_target("targets", TRUSTED_KEYS, b"{}{}")
    it.publish_next("targets")


@pytest.mark.parametrize(
    ("code", "role", "break_it"),
    [pytest.param(*it, id=f"{it[0]}: {it[2].__name__}") for it in BREAKS],
)
def test_each_fault_is_told(
    repository: TufRepository, code: str, role: str, break_it: Break
) -> None:
    break_it(repository)
    found = {(finding.code, finding.role) for finding in checked(repository)}
    assert (code, role) in found


def _weights(it: TufRepository) -> str:
    target = it.roles["alice"].signed.targets[WEIGHTS_PATH]
    return f"/tuf/targets/{target.get_prefixed_paths()[0]}"


@pytest.mark.parametrize(
    ("after", "code"),
    [
        (timedelta(hours=23), "expires-soon"),
        (timedelta(days=2), "expired"),
        (timedelta(days=-100), "lives-too-long"),
    ],
)
def test_times_are_judged_by_the_clock_that_is_given(
    repository: TufRepository, after: timedelta, code: str
) -> None:
    found = {(it.code, it.role) for it in checked(repository, now=NOW + after)}
    assert (code, "timestamp") in found


def test_a_target_of_the_right_length_and_other_bytes_is_told_when_looked_into(
    repository: TufRepository,
) -> None:
    place = _weights(repository)
    repository.files[place] = repository.files[place][::-1]
    assert checked(repository) == []
    [finding] = checked(repository, Extent(deep=True))
    assert (finding.code, finding.role) == ("target-bytes", "alice")


def test_a_target_that_is_gone_is_told_when_looked_into(
    repository: TufRepository,
) -> None:
    del repository.files[_weights(repository)]
    [finding] = checked(repository, Extent(deep=True))
    assert (finding.code, finding.role) == ("target-missing", "alice")


def test_a_scanner_may_cosign_for_every_publisher(repository: TufRepository) -> None:
    scanner = PublicKey(bytes.fromhex(public("scanner").keyval["public"]))
    keys = TrustedKeys(scanners=(scanner.to_pem(),))
    for name in ("alice", "bob"):
        repository.roles["targets"].signed.add_key(public("scanner"), name)
    repository.publish_next("targets")
    assert "shared-key" in {it.code for it in checked(repository)}
    repository.add_target("targets", TRUSTED_KEYS, canonical_json(keys.to_object()))
    repository.publish_next("targets")
    assert "shared-key" not in {it.code for it in checked(repository)}


def test_a_publisher_without_a_release_is_only_warned_of(
    repository: TufRepository,
) -> None:
    repository.delegate(publisher("carol"), "carol")
    repository.publish_next("targets")
    [finding] = checked(repository)
    assert (finding.code, finding.severity) == ("not-in-snapshot", Severity.WARNING)


def test_the_pinned_root_must_be_one_of_the_chain(repository: TufRepository) -> None:
    pinned = repository.files["/tuf/metadata/1.root.json"]
    assert checked(repository, Extent(pinned=pinned)) == []
    [finding] = checked(good_repository(), Extent(pinned=pinned + b"\n"))
    assert finding.code == "other-root"


def test_a_development_root_is_a_failure_beyond_loopback(
    repository: TufRepository,
) -> None:
    root = repository.roles["root"].signed
    root.unrecognized_fields[DEVELOPMENT] = True
    repository.publish_next("root")
    state = observed(repository)
    assert not [*development_beyond_loopback(state, Server("http://127.0.0.1"))]
    [finding] = development_beyond_loopback(state, Server("https://zoo.example"))
    assert (finding.code, finding.severity) == ("development-root", Severity.FAILURE)


def test_a_later_look_tells_what_went_back(repository: TufRepository) -> None:
    before = observed(repository)
    repository.publish_next("alice")
    after = observed(repository)
    assert [*moved_on(before, after)] == []
    found = {(it.code, it.role) for it in moved_on(after, before)}
    assert found == {
        ("went-back", "timestamp"),
        ("went-back", "snapshot"),
        ("went-back", "alice"),
    }


def test_a_later_look_tells_a_root_that_is_no_longer_served(
    repository: TufRepository,
) -> None:
    before = observed(repository)
    del repository.files["/tuf/metadata/2.root.json"]
    [finding] = moved_on(before, observed(repository))
    assert (finding.code, finding.role) == ("went-back", "root")


def test_a_later_look_tells_other_bytes_under_one_version(
    repository: TufRepository,
) -> None:
    before = observed(repository)
    repository.roles["timestamp"].signed.expires += timedelta(seconds=1)
    repository.store("timestamp")
    [finding] = moved_on(before, observed(repository))
    assert (finding.code, finding.role) == ("rewritten", "timestamp")


@pytest.fixture
def publishing(repository: TufRepository) -> Iterator[threading.Event]:
    """Publish alice's role again and again; once the event is set, in wrong order."""
    careless, done = threading.Event(), threading.Event()

    def publish() -> None:
        while not done.wait(0.02):
            repository.next("alice")
            if careless.is_set():
                late = repository.file("alice")
                repository.publish("alice")
                repository.files.pop(late)
            else:
                repository.publish("alice")

    thread = threading.Thread(target=publish)
    thread.start()
    yield careless
    done.set()
    thread.join()


def test_watching_an_orderly_writer_finds_nothing(
    repository: TufRepository, publishing: threading.Event
) -> None:
    assert not publishing.is_set()
    assert checked(repository, Extent(watch_seconds=1)) == []


def test_watching_a_careless_writer_finds_a_snapshot_without_its_role(
    repository: TufRepository, publishing: threading.Event
) -> None:
    assert checked(repository) == []
    publishing.set()
    found = checked(repository, Extent(watch_seconds=1))
    assert ("missing", "alice") in {(it.code, it.role) for it in found}


@pytest.mark.parametrize(
    ("one", "other", "meet"),
    [
        ("alice/*/*/*", "bob/*/*/*", False),
        ("alice/*/*/*", "alice/m/1/*", True),
        ("alice/*", "alice/*/*/*", False),
        ("a*e/*", "al*/*", True),
        ("a*e/*", "b*/*", False),
        ("a?/*", "ab/c", True),
        ("a?/*", "abc/c", False),
        ("*a*b*", "*b*a*", True),
        ("a*b", "a*c", False),
        ("*", "", True),
        ("[ab]/x", "c/x", True),
        ("a" * 5000 + "*", "b*", True),
        ("*a" * 60, "a*" * 60, True),
        ("*a" * 60, "*b" * 60, False),
    ],
)
def test_patterns_meet_where_one_path_matches_both(
    one: str, other: str, *, meet: bool
) -> None:
    assert patterns_meet(one, other) is meet
    assert patterns_meet(other, one) is meet


def test_a_service_that_fails_is_not_a_finding() -> None:
    with (
        answering(lambda request: respond(request, b"", status=500)) as url,
        pytest.raises(TransportError),
    ):
        check_repository(Server(url), Extent(), clock=lambda: NOW)


def test_a_finding_reads_as_one_line_and_as_json(repository: TufRepository) -> None:
    no_timestamp(repository)
    [finding] = [it for it in checked(repository) if it.code == "missing"]
    assert str(finding) == "failure missing timestamp: it is not served"
    assert finding.to_object()["role"] == "timestamp"


def test_files_that_never_change_are_read_once(repository: TufRepository) -> None:
    seen: list[str] = []
    with serving(repository, seen.append) as url, ServerFetcher(Server(url)) as fetcher:
        observer = Observer(fetcher, url)
        observer.observe()
        assert repository.file("alice") in seen
        seen.clear()
        observer.observe()
    assert repository.file("alice") not in seen
    assert "/tuf/metadata/timestamp.json" in seen


def test_the_command_prints_findings_and_exits_1_on_a_failure(
    repository: TufRepository,
) -> None:
    with serving(repository) as url:
        good = run_command(url)
        no_snapshot(repository)
        bad = run_command(url)
    assert (good.returncode, bad.returncode) == (0, 1)
    assert json.loads(good.stdout) == {
        "url": url,
        "findings": [],
        "failures": 0,
        "warnings": 0,
    }
    assert json.loads(bad.stdout)["failures"] == 1
    assert "failure missing snapshot" in bad.stderr


def run_command(url: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "model_zoo", "--json", "trust", "check", url],
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_code_is_explained() -> None:
    """The how-to's table and the sources name the same findings."""
    root = Path(__file__).parents[3]
    page = (root / "docs" / "how-to" / "check-a-repository.md").read_text()
    explained = set(re.findall(r"^\| `([a-z0-9-]+)` \|", page, re.MULTILINE))
    told: set[str] = set()
    for source in (root / "model_zoo" / "repository_checks").glob("*.py"):
        text = source.read_text()
        calls = r'(?:failure|warning|tell|_fail)\(\s*"([a-z0-9-]+)"'
        told |= set(re.findall(calls, text))
        told |= set(re.findall(r'return "([a-z0-9-]+)", ', text))
    assert explained == told
