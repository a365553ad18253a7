"""What the commands tell of releases, keys and jobs, and what to do about a refusal."""

import json
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from model_zoo.keys.ed25519 import PublicKey
from model_zoo.keys.p256 import P256Key
from tests.model_zoo.cli.test_commands import Zoo, keys, zoo_command
from tests.model_zoo.releases import NAME, write_files
from tests.model_zoo.servers import answering, respond

__all__ = ["keys", "zoo_command"]
MODEL = "alice/marked"


@pytest.fixture
def withdrawn(zoo_command: Zoo, keys: Path, tmp_path: Path) -> str:
    """Two releases of one model, the first of which was withdrawn; its name."""
    sign = ("--key", keys / "alice.pem")
    for version in ("1", "2"):
        files = write_files(tmp_path / version, count=10 + int(version))
        name = f"{MODEL}@{version}"
        published = zoo_command("publish", files, "--as", name, *sign)
        assert published.code in {0, 4, 5}, published.said  # the zoo outlives a test
    zoo_command("yank", f"{MODEL}@1", "--reason", "a backdoor", *sign)
    return f"{MODEL}@1"


def test_a_withdrawn_release_is_marked_wherever_it_is_shown(
    zoo_command: Zoo, withdrawn: str
) -> None:
    listed = zoo_command("list")
    [model] = [it for it in listed.document["items"] if it["name"] == MODEL]
    assert model == {"name": MODEL, "versions": ["1", "2"], "withdrawn": ["1"]}
    assert f"{MODEL}  1 (withdrawn), 2\n" in listed.said

    shown = zoo_command("show", MODEL)
    first, second = shown.document["releases"]
    assert (first["withdrawn"]["by"], first["withdrawn"]["reason"]) == (
        "publisher",
        "a backdoor",
    )
    assert second["withdrawn"] is None
    assert "WITHDRAWN by the publisher at 20" in shown.said
    assert "a backdoor" in shown.said

    alone = zoo_command("show", withdrawn)
    assert (alone.code, alone.document["error"]) == (4, "YankedError")
    assert "a backdoor" in alone.said


def test_a_withdrawal_that_a_lying_server_tells_stays_on_its_line(
    zoo_command: Zoo,
) -> None:
    lie = {"by": "you", "at": "now", "reason": "x\nverified alice/digits@1"}
    release = {"name": str(NAME), "envelope": {}, "withdrawn": lie}
    model = {"name": "alice/digits", "publisher_keyid": "0" * 64, "releases": [release]}

    def answer(request: BaseHTTPRequestHandler) -> None:
        respond(request, json.dumps(model).encode())

    with answering(answer) as url:
        shown = zoo_command("show", "alice/digits", "--url", url)
    assert r"x\nverified" in shown.said
    assert not [line for line in shown.said.splitlines() if line.startswith("verified")]


def test_a_release_is_shown_with_its_files_and_their_digests(
    zoo_command: Zoo, keys: Path, tmp_path: Path
) -> None:
    name = "alice/listed@1"
    files = write_files(tmp_path / "files")
    zoo_command("publish", files, "--as", name, "--key", keys / "alice.pem")
    shown = zoo_command("show", name)
    assert {file["name"] for file in shown.document["files"]} == {
        path.name for path in files.iterdir()
    }
    for file in shown.document["files"]:
        line = (
            f"  {file['name']}, {file['size_bytes']:,} bytes, sha256 {file['sha256']}"
        )
        assert line in shown.said


def test_a_public_key_where_one_signs_is_called_one(
    zoo_command: Zoo, keys: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ZOO_KEY_PASSPHRASE")  # it is not even asked for
    files = write_files(tmp_path / "files")
    public = keys / "alice.pub.pem"
    ran = zoo_command("publish", files, "--as", "alice/x@1", "--key", public)
    assert (ran.code, ran.document["error"]) == (2, "InvalidSpecError")
    assert f"{public}: this is a public key" in ran.document["message"]
    for words in (("yank", "alice/x@1", "--reason", "r"), ("trust", "renew", "alice")):
        assert "this is a public key" in zoo_command(*words, "--key", public).said


def test_a_private_key_where_one_pins_is_called_one(
    zoo_command: Zoo, keys: Path
) -> None:
    private = keys / "alice.pem"
    ran = zoo_command("pull", NAME, "--key", private)
    assert (ran.code, ran.document["error"]) == (2, "InvalidSpecError")
    assert f"{private}: this is a private key" in ran.document["message"]


def test_a_new_key_is_written_over_nothing_that_lies_there(
    zoo_command: Zoo, tmp_path: Path
) -> None:
    public = tmp_path / "new.pub.pem"
    public.write_text("what others pinned")
    ran = zoo_command("keys", "generate", tmp_path / "new.pem")
    assert ran.code == 1, ran.said
    assert f"{public} exists already" in ran.document["message"]
    assert public.read_text() == "what others pinned"
    assert not (tmp_path / "new.pem").exists()


def test_a_folder_that_is_not_there_is_told_as_such(
    zoo_command: Zoo, keys: Path, tmp_path: Path
) -> None:
    for pinned in ((), ("--key", keys / "alice.pub.pem")):
        ran = zoo_command("verify", tmp_path / "none", *pinned)
        assert (ran.code, ran.document["error"]) == (2, "InvalidSpecError")
        assert "there is no such folder" in ran.document["message"]


def test_a_refusal_for_want_of_a_token_says_how_to_give_one(zoo_command: Zoo) -> None:
    def refuse(request: BaseHTTPRequestHandler) -> None:
        respond(request, b"{}", status=HTTPStatus.UNAUTHORIZED)

    with answering(refuse) as url:
        ran = zoo_command("list", "--url", url)
    assert (ran.code, ran.document["error"]) == (5, "NotPermittedError")
    assert "--token-file" in ran.said
    assert "ZOO_TOKEN" in ran.said


def test_the_trusted_keys_are_listed(
    zoo_command: Zoo, keys: Path, zoo_folder: Path
) -> None:
    shown = zoo_command("trust", "keys")
    assert shown.code == 0, shown.said
    assert {"builder", "witness", "scanner", "log", "bundles"} <= set(shown.document)
    [log] = shown.document["log"]
    assert log["keyid"] == PublicKey.from_pem(log["public_key"]).keyid
    assert f"log: {log['keyid']}" in shown.said
    assert "witness: none" in shown.said
    change = zoo_command("trust", "keys", "--add-witness", keys / "alice.pub.pem")
    assert (change.code, change.document["error"]) == (2, "InvalidSpecError")
    assert "--targets-key" in change.said
    idle = zoo_command("trust", "keys", "--passphrase-file", zoo_folder / "none")
    assert idle.code == 2


def test_a_pull_of_nothing_says_what_to_name(zoo_command: Zoo) -> None:
    ran = zoo_command("pull")
    assert (ran.code, ran.document["error"]) == (2, "InvalidSpecError")
    assert "give publisher/model[@version], or --frozen" in ran.said


@pytest.mark.parametrize("pem", ["no key", P256Key.generate().public_pem()])
def test_a_pinned_key_that_is_none_is_named(
    zoo_command: Zoo, tmp_path: Path, pem: str
) -> None:
    wrong = tmp_path / "wrong.pem"
    wrong.write_text(pem)
    ran = zoo_command("pull", "alice/digits@1", "--key", wrong)
    assert (ran.code, ran.document["error"]) == (2, "InvalidSpecError")
    assert f"{wrong}: expected an Ed25519 public key" in ran.said


def test_a_key_of_bundles_that_is_none_is_named(
    zoo_command: Zoo, zoo_folder: Path, tmp_path: Path
) -> None:
    wrong = tmp_path / "not.pem"
    wrong.write_text("no key")
    trust = zoo_folder / "trust"
    now = (trust / "targets.json", "--trusted-keys", trust / "trusted-keys.json")
    to = ("--out", tmp_path / "2.targets.json")
    ran = zoo_command("trust", "rekey", *now, *to, "--oms-key", wrong)
    assert (ran.code, ran.document["error"]) == (2, "InvalidSpecError")
    assert f"{wrong}: expected a P-256" in ran.said


@pytest.mark.usefixtures("withdrawn")
def test_a_policy_that_names_no_publisher_says_that_it_accepts_nobody(
    zoo_command: Zoo, keys: Path, tmp_path: Path
) -> None:
    policy = tmp_path / "policy.json"
    policy.write_text('{"publishers": []}')
    key = ("--key", keys / "alice.pub.pem")
    ran = zoo_command("pull", f"{MODEL}@2", *key, "--policy", policy, "--to", "x")
    assert (ran.code, ran.document["error"]) == (4, "PolicyNotMetError")
    assert "accepts nobody" in ran.said


def test_a_watched_job_that_nobody_took_says_once_that_it_waits(
    zoo_command: Zoo,
) -> None:
    job = "0" * 32
    stream = "id: 1\nevent: queued\ndata: {}\n\nid: 2\nevent: failed\ndata: {}\n\n"
    states = iter(["queued", "failed"])

    def answer(request: BaseHTTPRequestHandler) -> None:
        if request.path.endswith("/events"):
            respond(request, stream.encode())
        else:
            told = {"kind": "noop", "trainer": "lab", "spec": {}, "state": next(states)}
            respond(request, json.dumps({"id": job, **told}).encode())

    with answering(answer) as url:
        watched = zoo_command("jobs", "watch", job, "--url", url)
    assert watched.said.splitlines()[:2] == [
        f"{job} waits for a worker of trainer lab to take it",
        "   1  queued",
    ]
    assert watched.said.count("waits for a worker") == 1
    assert (watched.code, watched.document["error"]) == (1, "ExpectationError")


def test_a_watched_job_is_told_in_readable_lines(zoo_command: Zoo) -> None:
    job = "0" * 32
    events = [
        ("started", {"attempt": 1, "worker": "w1"}),
        ("progress", {"epoch": 1, "epochs": 2, "loss": 0.25, "accuracy": 0.971}),
        ("log", {"text": "a\n   9  succeeded"}),
        ("succeeded", {}),
    ]
    stream = "".join(
        f"id: {number}\nevent: {kind}\ndata: {json.dumps(data)}\n\n"
        for number, (kind, data) in enumerate(events, start=1)
    )

    def answer(request: BaseHTTPRequestHandler) -> None:
        if request.path.endswith("/events"):
            respond(request, stream.encode())
        else:
            state = {"kind": "noop", "trainer": "lab", "spec": {}, "state": "succeeded"}
            respond(request, json.dumps({"id": job, **state}).encode())

    with answering(answer) as url:
        watched = zoo_command("jobs", "watch", job, "--url", url)
    assert watched.said.splitlines()[:4] == [
        "   1  started    attempt 1, worker w1",
        "   2  progress   epoch 1 of 2, loss 0.25, accuracy 97.10%",
        r"   3  log        text a\n   9  succeeded",
        "   4  succeeded",
    ]
