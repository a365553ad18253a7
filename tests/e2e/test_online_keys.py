"""Log, bundle and all online keys replaced by command, as the runbooks have it."""

import base64
import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from model_zoo.errors import LocalError, NotFoundError
from model_zoo.keys.ed25519 import PublicKey, SigningKey
from model_zoo.statements.dsse import pre_authentication_encoding
from model_zoo.transparency.tlog import LogEntry, SignedCheckpoint, Tile, from_bundle
from tests.e2e.desk import Desk, Ran
from tests.model_zoo.logs import Log, entry, forked
from tests.model_zoo.servers import NO_AUTHORITY, answering, open_zoo, respond

FIRST, SECOND = "alice/digits@1", "alice/digits@2"


@dataclass
class Stage:
    """A zoo with a publisher, a witness and a user who has seen it under the old keys.

    The witness has cosigned and the user has pulled. ``thief`` has the old log key.
    """

    desk: Desk
    server: Path
    thief: SigningKey

    @contextmanager
    def running(self) -> Iterator[str]:
        with open_zoo(self.desk.folder / "data", trust_dir=self.server) as url:
            self.desk.at(url)
            yield url

    def witness(self, *more: object) -> Ran:
        return self.desk.run(
            "witness", "--once", "--key", self.desk.folder / "witness.pem",
            "--state", self.desk.folder / "witness.note", *more,
        )  # fmt: skip

    def witness_after(self) -> Ran:
        return self.witness(
            "--log-key", self.server / "log.pub.pem",
            "--retired-log-key", self.desk.folder / "old-log.pub.pem",
        )  # fmt: skip

    def pull_cosigned(self, name: str, to: str) -> Ran:
        policy = self.desk.folder / "policy.json"
        policy.write_text(json.dumps({"cosignatures": 1}))
        return self.desk.run(
            "pull", name, "--to", self.desk.folder / to, "--policy", policy
        )

    def newest(self, name: str) -> Path:
        """Return a new folder of what the zoo vouches for now."""
        self.desk.done("trust", "show", "--out", self.desk.folder / name)
        return self.desk.folder / name

    def make(self, *names: str) -> None:
        """Make new keys in the server's folder, in the place of the old ones."""
        for name in names:
            (self.server / f"{name}.pem").unlink()
            (self.server / f"{name}.pub.pem").unlink(missing_ok=True)
            kind = ("--p256",) if name == "oms" else ()
            self.desk.done(
                "keys", "generate", self.server / f"{name}.pem", *kind,
                "--passphrase-file", self.server / "passphrase",
            )  # fmt: skip

    def rekey(self, newest: Path, *more: object) -> Path:
        """Write and sign the next targets with the new log and P-256 keys."""
        version = json.loads((newest / "targets.json").read_bytes())["signed"]
        out = self.server / f"{version['version'] + 1}.targets.json"
        self.desk.done(
            "trust", "rekey", newest / "targets.json",
            "--trusted-keys", newest / "trusted-keys.json",
            "--log-key", self.server / "log.pub.pem",
            "--oms-key", self.server / "oms.pub.pem", *more, "--out", out,
        )  # fmt: skip
        self.desk.sign(out, "targets")
        return out

    def remembered(self) -> list[bytes]:
        """Return what user and witness remember of the log."""
        files = [
            *(self.desk.folder / "cache").rglob("log-checkpoint.note"),
            self.desk.folder / "witness.note",
        ]
        assert len(files) == 2
        return [file.read_bytes() for file in files]


@pytest.fixture
def stage(desk: Desk, server: Path) -> Stage:
    passphrase = (server / "passphrase").read_bytes()
    thief = SigningKey.load(server / "log.pem", passphrase=passphrase)
    stage = Stage(desk, server, thief)
    shown = desk.done(
        "keys", "show", server / "log.pem", "--passphrase-file", server / "passphrase"
    )
    old = desk.folder / "old-log.pub.pem"
    old.write_text(shown.document["public_key"])
    desk.key("witness")
    with stage.running():
        desk.delegate("alice", "alice")
        desk.done(
            "trust", "keys", "--add-witness", desk.public("witness"),
            "--targets-key", desk.folder / "targets.pem",
        )  # fmt: skip
        assert desk.publish(FIRST, "alice").code == 0
        assert stage.witness("--log-key", old).code == 0
        assert stage.pull_cosigned(FIRST, "before").code == 0
        stage.newest("newest")
    return stage


@pytest.fixture
def replaced(stage: Stage) -> Stage:
    """The log's and the bundles' keys are new; the zoo is off."""
    stage.make("log", "oms")
    stage.rekey(stage.desk.folder / "newest")
    return stage


def is_by(note: bytes, key: PublicKey) -> bool:
    return SignedCheckpoint.open(note, [key]).checkpoint.size > 0


def test_log_and_bundle_keys_are_replaced_and_everybody_goes_on(
    replaced: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    desk, new = replaced.desk, PublicKey.load(replaced.server / "log.pub.pem")
    with replaced.running() as url:
        assert desk.pull(FIRST, "after").code == 0
        assert desk.publish(SECOND, "alice").code == 0
        early = replaced.pull_cosigned(FIRST, "early")
        assert early.code == 4, "no witness has looked under the new key"
        assert "has retired" in early.said
        alone = replaced.witness("--log-key", replaced.server / "log.pub.pem")
        assert alone.code == 4, "it must be told whose signature its own memory bears"
        assert replaced.witness_after().code == 0
        assert replaced.pull_cosigned(SECOND, "cosigned").code == 0
        assert all(is_by(note, new) for note in replaced.remembered())
        assert desk.done("verify", desk.folder / "before").code == 0
        assert desk.run("trust", "check", url).code == 0
        with monkeypatch.context() as elsewhere:
            elsewhere.setenv("XDG_CACHE_HOME", str(desk.folder / "another"))
            assert replaced.pull_cosigned(SECOND, "fresh").code == 0
        trusted = json.loads((replaced.newest("now") / "trusted-keys.json").read_text())
        assert trusted["log_retired"] == [replaced.thief.public.to_pem()]
        bundle = httpx.get(
            f"{url}/api/v1/models/alice/digits/releases/1/model.sig",
            verify=NO_AUTHORITY,
        )
        [pem] = trusted["oms"]
        verify(bundle.json()["dsseEnvelope"], pem)
        with pytest.raises(InvalidSignature):
            verify(bundle.json()["dsseEnvelope"], old_oms(desk))


def test_a_second_start_with_the_same_files_changes_nothing(replaced: Stage) -> None:
    seen = []
    for _ in range(2):
        with replaced.running() as url:
            checkpoint = httpx.get(f"{url}/log/checkpoint", verify=NO_AUTHORITY).text
            shown = replaced.desk.done("trust", "show").document
            seen.append((checkpoint, shown["targets"]["version"]))
    assert seen[0] == seen[1]


@pytest.mark.parametrize("more", [0, 50])
@pytest.mark.parametrize("fork", [False, True])
def test_what_the_thief_of_the_old_log_key_signs_is_believed_by_nobody(
    replaced: Stage, monkeypatch: pytest.MonkeyPatch, *, fork: bool, more: int
) -> None:
    desk = replaced.desk
    with replaced.running() as url:
        assert desk.pull(FIRST, "after").code == 0
        assert replaced.witness_after().code == 0
        before = replaced.remembered()
        log = copied(url, key=replaced.thief)
        size = log.size + more
        if fork:
            log = forked(log, 4, size)
            log.origin = before[0].decode().splitlines()[0]
        else:
            log.append(*(entry(number) for number in range(more)))
        with answering(beside(url, log)) as liar:
            desk.at(liar)
            refused = [desk.pull(FIRST, "lied"), replaced.witness_after()]
            monkeypatch.setenv("XDG_CACHE_HOME", str(desk.folder / "another"))
            refused.append(desk.pull(FIRST, "fresh"))
        for ran in refused:
            assert ran.code == 4
            assert "has retired" in ran.said
        monkeypatch.setenv("XDG_CACHE_HOME", str(desk.folder / "cache"))
        assert replaced.remembered() == before


def test_who_was_shown_a_fork_by_the_thief_finds_out_after_the_change(
    stage: Stage,
) -> None:
    with stage.running() as url:
        honest = copied(url, key=stage.thief)
        lie = forked(honest, 4, honest.size)
        lie.origin = honest.origin
        note = next((stage.desk.folder / "cache").rglob("log-checkpoint.note"))
        note.write_bytes(lie.signed().to_bytes())
    stage.make("log", "oms")
    stage.rekey(stage.desk.folder / "newest")
    with stage.running():
        refused = stage.desk.pull(FIRST, "after")
        assert refused.code == 4
        assert "signed two histories" in refused.said
        assert len(list(note.parent.glob("*split-view*"))) == 2


def test_all_four_online_keys_are_replaced_at_once(stage: Stage) -> None:
    desk, server = stage.desk, stage.server
    stage.make("snapshot", "timestamp", "log", "oms")
    root = desk.folder / "newest" / "root.json"
    for number, role in ((2, "snapshot"), (3, "timestamp")):
        following = server / f"{number}.root.json"
        desk.done(
            "trust", "rotate", root, "--role", role,
            "--key", server / f"{role}.pub.pem", "--out", following,
        )  # fmt: skip
        desk.sign(following, "ann", "cat")
        root = following
    stage.rekey(desk.folder / "newest", "--key", server / "snapshot.pub.pem")
    with stage.running() as url:
        assert desk.pull(FIRST, "after").code == 0
        assert desk.publish(SECOND, "alice").code == 0
        assert stage.witness_after().code == 0
        assert stage.pull_cosigned(SECOND, "cosigned").code == 0
        assert desk.done("trust", "show").document["root"]["version"] == 3
        assert desk.run("trust", "check", url).code == 0


def test_new_keys_that_no_targets_list_do_not_start(stage: Stage) -> None:
    shutil.copytree(stage.server, stage.desk.folder / "old")
    stage.make("log", "oms")
    for name, told in (("log", "log.pem is not listed"), ("oms", "oms.pem is not")):
        with pytest.raises(LocalError, match=told), stage.running():
            pytest.fail("it started with a key that no client believes")
        shutil.copy(stage.desk.folder / "old" / f"{name}.pem", stage.server)
    with stage.running():
        assert stage.desk.pull(FIRST, "after").code == 0


def test_rekey_tells_what_it_lacks(stage: Stage) -> None:
    desk, newest = stage.desk, stage.desk.folder / "newest"
    key, out = desk.public("ann"), desk.folder / "next.json"
    rekey = ("trust", "rekey", newest / "targets.json", "--out", out)
    assert desk.run(*rekey).code == 2, "nothing is replaced"
    assert desk.run(*rekey, "--log-key", key).code == 2, "no trusted keys"
    (newest / "trusted-keys.json").write_text('{"format":1}')
    trusted = ("--trusted-keys", newest / "trusted-keys.json")
    other = desk.run(*rekey, "--log-key", key, *trusted)
    assert (other.code, "not the file" in other.said) == (4, True)
    first = ("--trusted-keys", stage.server / "trusted-keys.json")
    assert desk.run(*rekey, "--log-key", key, *first).code == 4, "of older targets"
    assert not out.exists()
    with stage.running():
        again = desk.run("trust", "show", "--out", newest)
        assert (again.code, "not overwritten" in again.said) == (5, True)


def verify(envelope: dict[str, Any], pem: str) -> None:
    """Check a bundle's signature as its verifiers do."""
    [signature] = envelope["signatures"]
    key = serialization.load_pem_public_key(pem.encode())
    assert isinstance(key, ec.EllipticCurvePublicKey)
    payload = base64.b64decode(envelope["payload"])
    message = pre_authentication_encoding(envelope["payloadType"], payload)
    key.verify(base64.b64decode(signature["sig"]), message, ec.ECDSA(hashes.SHA256()))


def old_oms(desk: Desk) -> str:
    newest = json.loads((desk.folder / "newest" / "trusted-keys.json").read_text())
    [pem] = newest["oms"]
    return str(pem)


def copied(url: str, *, key: SigningKey) -> Log:
    """Return the zoo's whole log, to be signed with another key."""
    lines = httpx.get(f"{url}/log/checkpoint", verify=NO_AUTHORITY).text.splitlines()
    origin, size = lines[0], int(lines[1])
    bundle = httpx.get(
        f"{url}/log/{Tile(None, 0, size).path}", verify=NO_AUTHORITY
    ).content
    log = Log(key=key, origin=origin)
    log.append(
        *(
            LogEntry.from_object(json.loads(it))
            for it in from_bundle(bundle, width=size)
        )
    )
    return log


def beside(url: str, log: Log) -> Callable[[BaseHTTPRequestHandler], None]:
    """Return a mirror that tells the truth but for the log."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        path = request.path
        if path.startswith(("/log/", "/api/v1/log/")):
            assert request.command == "GET", "nothing is to be cosigned"
            try:
                respond(request, log.fetch(path))
            except NotFoundError:
                respond(request, b"{}", status=404)
            return
        found = httpx.get(url + path, verify=NO_AUTHORITY)
        respond(request, found.content, status=found.status_code)

    return answer
