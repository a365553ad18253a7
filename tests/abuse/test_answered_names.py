"""A server that answers with another name than the one that was asked for.

A mirror stands before a real zoo, passes on all it says and edits one answer: what is
signed holds, so only the question can tell that the answer is to another one.
"""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from tuf.api.metadata import (
    DelegatedRole,
    Delegations,
    Metadata,
    SuccinctRoles,
    Targets,
)

from model_zoo import cli
from model_zoo.client.operate import change_targets, withdraw_releases
from model_zoo.client.zoo import ZooClient
from model_zoo.errors import InvalidSpecError, NotFoundError, VerificationError
from model_zoo.http.server import Server
from model_zoo.http.transport import Transport
from model_zoo.keys.ed25519 import SigningKey
from model_zoo.names import ModelName, ReleaseName
from model_zoo.statements.jobs import NoopSpec
from model_zoo.tuf.publisher_roles import PublisherRoles
from model_zoo.tuf.releases import release_of
from tests.model_zoo.releases import ALICE, BUILDER, MALLORY, write_files
from tests.model_zoo.servers import anchor_of, answering, open_zoo, respond

API = "/api/v1"
Edit = Callable[[str, dict[str, Any]], dict[str, Any]]
FIRST, OTHER, THEFT = "alice/digits@1", "alice/letters@1", "mallory/digits@1"


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("names") / "zoo"


@pytest.fixture(scope="module")
def honest(data_dir: Path) -> Iterator[str]:
    """The zoo itself: two models of alice's, and one of mallory's."""
    with open_zoo(data_dir) as url, ZooClient(url, anchor=anchor_of(data_dir)) as zoo:
        for publisher, key in (("alice", ALICE), ("mallory", MALLORY)):
            zoo.bind_publisher(publisher, key.public)
        zoo.bind_trainer("lab", BUILDER.public)
        for name, key in ((FIRST, ALICE), (OTHER, ALICE), (THEFT, MALLORY)):
            files = write_files(data_dir.with_name(name.replace("/", "-")))
            (files / "config.json").write_text(json.dumps({"release": name}))
            zoo.publish(name, files, key=key)
        yield url


@contextmanager
def mirror(url: str, edit: Edit) -> Iterator[str]:
    """Yield the URL of a server that says what ``url`` says, but for ``edit``."""

    def forward(request: BaseHTTPRequestHandler) -> None:
        length = int(request.headers.get("Content-Length", 0))
        connection = HTTPConnection(urlsplit(url).netloc)
        headers = {"Content-Type": request.headers.get("Content-Type", "text/plain")}
        body = request.rfile.read(length) if length else None
        connection.request(request.command, request.path, body, headers)
        answer = connection.getresponse()
        data = answer.read()
        is_json = answer.headers.get_content_type() == "application/json"
        if data and is_json and request.path.startswith(API):
            said = json.loads(data)
            edited = edit(request.path, said)
            data = data if edited is said else json.dumps(edited).encode()
        kind = {"Content-Type": answer.headers.get("Content-Type", "")}
        respond(request, data, status=answer.status, headers=kind)
        connection.close()

    with answering(forward) as mirrored:
        yield mirrored


def listing(url: str, name: str) -> dict[str, Any]:
    with ZooClient(url) as zoo:
        return zoo.model(ModelName.parse(name)).to_object()


def answers(path: str, *, instead: dict[str, Any]) -> Edit:
    """Return the edit by which ``path`` is answered with something else."""

    def edit(asked: str, said: dict[str, Any]) -> dict[str, Any]:
        return instead if asked == API + path else said

    return edit


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    data_dir: Path,
    tmp_path: Path,
) -> Callable[..., tuple[int, str]]:
    """The ``zoo`` command of somebody who pinned alice's key, or the root."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "alice.pub.pem").write_text(ALICE.public.to_pem())
    (tmp_path / "root.json").write_bytes((data_dir / "trust/root.json").read_bytes())
    monkeypatch.chdir(tmp_path)

    def run(*arguments: object) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            cli.main([*map(str, arguments), "--json"])
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out + err

    return run


def test_under_a_root_a_server_that_lists_anothers_release_is_not_asked(
    honest: str, command: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    theft = listing(honest, "mallory/digits") | {"name": "alice/digits"}
    with mirror(honest, answers("/models/alice/digits", instead=theft)) as url:
        root = ("--trust", "root.json", "--url", url)
        code, said = command("pull", "alice/digits", *root, "--to", "pulled")
        assert THEFT not in said
        assert code == 0, said
        assert f"verified {FIRST}" in said
        code, said = command("lock", "alice/digits", *root)
        assert code == 0, said
        assert THEFT not in (tmp_path / "zoo.lock").read_text()


def test_under_a_root_a_server_cannot_hide_a_version_to_choose_another(
    honest: str, command: Callable[..., tuple[int, str]], data_dir: Path, tmp_path: Path
) -> None:
    with ZooClient(honest, anchor=anchor_of(data_dir)) as zoo:
        for version in "12":
            files = tmp_path / version
            write_files(files)
            zoo.publish(f"alice/two@{version}", files, key=ALICE)
    one = listing(honest, "alice/two")
    one["releases"] = one["releases"][:1]
    with mirror(honest, answers("/models/alice/two", instead=one)) as url:
        code, said = command("pull", "alice/two", "--trust", "root.json", "--url", url)
    assert code == 2, said
    assert "alice/two@1, alice/two@2" in said


def test_what_was_withdrawn_is_no_candidate(
    honest: str, data_dir: Path, tmp_path: Path
) -> None:
    with ZooClient(honest, anchor=anchor_of(data_dir)) as zoo:
        files = write_files(tmp_path / "files", count=5)  # withdrawn for good below
        for version in "123":
            zoo.publish(f"alice/three@{version}", files, key=ALICE)
        zoo.yank("alice/three@1", reason="a backdoor", key=ALICE)
        with pytest.raises(
            InvalidSpecError, match="which version: alice/three@2, alice/three@3"
        ):
            zoo.resolve("alice/three")
        zoo.yank("alice/three@3", reason="another one", key=ALICE)
        with ZooClient(honest) as keyed:
            for one in (zoo, keyed):
                found = one.resolve("alice/three")
                assert found == ReleaseName("alice", "three", "2")
            zoo.yank("alice/three@2", reason="the last one", key=ALICE)
            for one in (zoo, keyed):
                with pytest.raises(NotFoundError, match="all were withdrawn"):
                    one.resolve("alice/three")


@pytest.mark.parametrize("asked", ["mallory/digits", "alice/letters"])
def test_under_a_pinned_key_the_answer_is_to_what_was_asked(
    honest: str, command: Callable[..., tuple[int, str]], asked: str, tmp_path: Path
) -> None:
    """Also another model of the very publisher whose key is pinned."""
    for claimed in (asked, "alice/digits"):
        other = listing(honest, asked) | {"name": claimed}
        with mirror(honest, answers("/models/alice/digits", instead=other)) as url:
            pinned = ("--key", "alice.pub.pem", "--url", url)
            for first in (("pull", "--to", "pulled"), ("lock",)):
                code, said = command(*first, "alice/digits", *pinned)
                assert code == 4, said
                assert "verified" not in said.replace("not verified", "")
                assert "WrongReleaseError" in said
    assert not (tmp_path / "pulled").exists()
    assert not (tmp_path / "zoo.lock").exists()


@pytest.mark.parametrize("name", ["no release", "alice/../mallory/x@1", "\x1b[31m"])
def test_a_name_that_is_none_is_the_servers_fault_and_not_the_users(
    honest: str, name: str
) -> None:
    broken = listing(honest, "alice/digits")
    broken["releases"][0]["name"] = name
    models = {"items": [{"name": name, "versions": ["1"]}]}
    for path, instead in (("/models/alice/digits", broken), ("/models", models)):
        with mirror(honest, answers(path, instead=instead)) as url:
            with ZooClient(url) as zoo, pytest.raises(VerificationError) as refused:
                zoo.models() if path == "/models" else zoo.resolve("alice/digits")
            assert "\x1b" not in str(refused.value)


def test_a_release_under_another_name_is_not_shown_as_the_one_asked(
    honest: str, command: Callable[..., tuple[int, str]]
) -> None:
    with ZooClient(honest) as zoo:
        theft = zoo.release(THEFT).to_object()
        path = "/models/alice/digits/releases/1"
    with mirror(honest, answers(path, instead=theft)) as url:
        for name in (FIRST, "alice/digits"):
            code, said = command("show", name, "--url", url)
            if name == FIRST:
                assert code == 4, said
                assert "WrongReleaseError" in said
    other = listing(honest, "mallory/digits")
    with mirror(honest, answers("/models/alice/digits", instead=other)) as url:
        code, said = command("show", "alice/digits", "--url", url)
        assert code == 4, said


def test_who_publishes_is_told_of_his_own_release_or_of_none(
    honest: str, data_dir: Path, tmp_path: Path
) -> None:
    with ZooClient(honest) as zoo:
        theft = zoo.release(THEFT).to_object()
    path = "/models/alice/told/releases/1"
    with (
        mirror(honest, answers(path, instead=theft)) as url,
        ZooClient(url, anchor=anchor_of(data_dir)) as zoo,
        pytest.raises(VerificationError, match="alice/told@1"),
    ):
        zoo.publish("alice/told@1", write_files(tmp_path / "files"), key=ALICE)


def test_a_key_is_told_to_be_bound_to_the_name_that_was_asked(honest: str) -> None:
    with ZooClient(honest) as zoo:
        said = zoo.bind_publisher("alice", ALICE.public).to_object()
    edit = answers("/publishers/alice", instead=said | {"name": "mallory"})
    with (
        mirror(honest, edit) as url,
        ZooClient(url) as zoo,
        pytest.raises(VerificationError, match="mallory"),
    ):
        zoo.bind_publisher("alice", ALICE.public)


def test_another_job_is_no_answer(honest: str) -> None:
    spec, trainer = NoopSpec(note="mine"), "lab"
    with ZooClient(honest) as zoo:
        mine = zoo.submit(spec, trainer=trainer)
        theirs = zoo.submit(NoopSpec(note="theirs"), trainer=trainer).to_object()
    edits: dict[str, Callable[[ZooClient], object]] = {
        f"/jobs/{mine.id}": lambda zoo: zoo.job(mine.id),
        f"/jobs/{mine.id}/cancel": lambda zoo: zoo.cancel(mine.id),
        "/jobs": lambda zoo: zoo.submit(spec, trainer=trainer),
        "/jobs?state=succeeded": lambda zoo: zoo.jobs(state="succeeded"),
    }
    for path, ask in edits.items():
        instead = {"items": [theirs]} if "?" in path else theirs
        with (
            mirror(honest, answers(path, instead=instead)) as url,
            ZooClient(url) as zoo,
            pytest.raises(VerificationError, match="another job"),
        ):
            ask(zoo)


def test_what_the_operator_withdrew_is_no_candidate(
    honest: str, data_dir: Path, tmp_path: Path
) -> None:
    anchor, trust = anchor_of(data_dir), data_dir / "trust"
    passphrase = (trust / "passphrase").read_bytes()
    with ZooClient(honest, anchor=anchor) as zoo, Transport(Server(honest)) as asked:
        files = write_files(tmp_path / "files", count=6)  # withdrawn for good below
        for version in "12":
            zoo.publish(f"mallory/four@{version}", files, key=MALLORY)
        change_targets(
            asked,
            anchor=anchor,
            keys=[SigningKey.load(trust / "targets.pem", passphrase=passphrase)],
            edit=withdraw_releases({ReleaseName("mallory", "four", "1"): "stolen"}),
        )
        assert zoo.resolve("mallory/four") == ReleaseName("mallory", "four", "2")


def test_a_role_with_bins_without_end_is_not_read() -> None:
    """Its publisher signs what it likes, and 2^31 bins would be asked for in turn."""
    bins = SuccinctRoles([ALICE.public.keyid], 1, 31, "alice~b")
    role = Targets(delegations=Delegations({}, succinct_roles=bins))
    roles = PublisherRoles(
        delegation=DelegatedRole(
            "alice", [ALICE.public.keyid], 1, terminating=True, paths=["alice/*/*/*"]
        ),
        keys={},
        role=Metadata(role),
        load_bin=pytest.fail,
    )
    with pytest.raises(VerificationError, match="bins"):
        roles.targets()


def test_names_of_no_release_in_a_role_are_no_candidates() -> None:
    """Nor is what it says of others: a role speaks for its own publisher."""
    assert release_of("alice/digits/1/release.json") == ReleaseName.parse(FIRST)
    for path in (
        "alice/digits/1/model.safetensors",
        "alice/digits/release.json",
        "alice/digits/1/x/release.json",
        "alice/../1/release.json",
        "Alice/digits/1/release.json",
    ):
        assert release_of(path) is None
