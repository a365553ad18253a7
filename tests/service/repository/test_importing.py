"""A start with other online keys: what is taken over, and what does not start."""

import json
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from tuf.api.metadata import Targets

from model_zoo.digests import sha256_bytes
from model_zoo.errors import ZooError
from model_zoo.keys.ed25519 import SigningKey
from model_zoo.keys.p256 import P256Key
from model_zoo.statements.dsse import Role
from model_zoo.transparency.tlog import LogEntry, SignedCheckpoint
from model_zoo.tuf.ceremony import delegate, next_targets
from model_zoo.tuf.publisher_roles import sign_roles
from model_zoo.tuf.roles import TARGETS, TRUSTED_KEYS, YANKED, parse, tuf_key
from model_zoo.tuf.trusted_keys import TrustedKeys, list_trusted_keys, with_online_keys
from tests.service.operator import stranger, submit_targets
from tests.service.roles import TARGETS_KEY, make_real_root
from tests.service.zoo import ALICE, MALLORY, Clock, Zoo, assert_problem, open_zoo

NOW = Clock().now
NEW_LOG, NEW_OMS = SigningKey.generate(), P256Key.generate()
MALFORMED = "MalformedDocumentError"


@dataclass
class Folder:
    """The server's folder of keys, and the next files as an operator puts them there.

    Attributes:
        edit: changes the next trusted keys.
        spoil: changes the next targets before they are signed.
        key: signs them.
    """

    path: Path
    edit: Callable[[TrustedKeys], TrustedKeys] = lambda trusted: trusted
    spoil: Callable[[Targets], object] = lambda _: None
    key: SigningKey = TARGETS_KEY

    @property
    def passphrase(self) -> bytes:
        return (self.path / "passphrase").read_bytes()

    def trusted(self) -> TrustedKeys:
        return TrustedKeys.read((self.path / "trusted-keys.json").read_bytes())

    def replace(self, log: SigningKey = NEW_LOG, oms: P256Key = NEW_OMS) -> None:
        for key, name in ((log, "log.pem"), (oms, "oms.pem")):
            (self.path / name).unlink()
            key.save(self.path / name, passphrase=self.passphrase)

    def write(self, *, trusted_keys: bool = True) -> None:
        """Put targets 2, and what they name, beside the keys."""
        current = parse((self.path / "targets.json").read_bytes(), Targets)
        data = self.edit(self.next_keys()).to_bytes()
        following = next_targets(current, now=NOW)
        list_trusted_keys(following.signed, data)
        self.spoil(following.signed)
        signed = sign_roles({TARGETS: following}, self.key)[TARGETS]
        (self.path / "2.targets.json").write_bytes(signed)
        if trusted_keys:
            (self.path / "2.trusted-keys.json").write_bytes(data)

    def next_keys(self) -> TrustedKeys:
        return with_online_keys(
            self.trusted(), log_key=NEW_LOG.public, oms=NEW_OMS.public_pem()
        )

    def start(self) -> AbstractContextManager[Zoo]:
        return open_zoo(self.path.parent / "zoo", trust_dir=self.path)

    def refuses(self, told: str) -> None:
        with pytest.raises(ZooError, match=told), self.start():
            pytest.fail("it started")


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """A zoo that ran once, and is off."""
    folder = Folder(make_real_root(tmp_path / "trust", now=NOW))
    with folder.start():
        """It has seeded its database."""
    return folder


def entries(zoo: Zoo) -> list[LogEntry]:
    size = int(zoo.get("/log/checkpoint").text.splitlines()[1])
    bundle = zoo.get(f"/log/tile/entries/000.p/{size}").content
    texts = bundle.split(b"{")[1:]
    return [
        LogEntry.from_object(json.loads(b"{" + text.partition(b"}")[0] + b"}"))
        for text in texts
    ]


def test_targets_alone_bring_the_new_keys_in_one_step(
    folder: Folder, tmp_path: Path
) -> None:
    folder.replace()
    folder.write()
    with folder.start() as zoo:
        trusted = stranger(zoo, tmp_path / "seen").trusted_keys()
        assert trusted == folder.next_keys()
        note = zoo.get("/log/checkpoint").content
        assert SignedCheckpoint.open(note, [NEW_LOG.public]).checkpoint.size > 0
        told = LogEntry(
            kind="key",
            name=TRUSTED_KEYS,
            version=2,
            sha256=sha256_bytes(trusted.to_bytes()),
        )
        assert entries(zoo)[-1] == told
    with folder.start() as again:
        assert again.get("/log/checkpoint").content == note, "nothing is left to do"


def test_targets_that_change_no_key_are_taken_over_too(folder: Folder) -> None:
    folder.edit = lambda _: folder.trusted()
    public = Role(keys=(ALICE.public,))
    folder.spoil = lambda targets: delegate(targets, "alice", public)
    folder.write(trusted_keys=False)
    with folder.start() as zoo:
        bound = zoo.get("/publishers/alice")
        assert bound.json()["keyid"] == ALICE.public.keyid
        assert entries(zoo)[-1].name == "alice"


def test_a_file_that_is_not_the_next_is_left_alone(folder: Folder) -> None:
    folder.write()
    (folder.path / "2.targets.json").rename(folder.path / "3.targets.json")
    with folder.start() as zoo:
        assert zoo.get("/tuf/metadata/2.targets.json").status_code == 404


def test_keys_that_the_current_targets_do_not_list_do_not_start(folder: Folder) -> None:
    folder.replace()
    folder.refuses(r"log\.pem is not listed")


def test_another_oms_key_alone_does_not_start(folder: Folder) -> None:
    passphrase = folder.passphrase
    (folder.path / "oms.pem").unlink()
    NEW_OMS.save(folder.path / "oms.pem", passphrase=passphrase)
    folder.refuses(r"oms\.pem is not listed")


def test_a_retired_key_does_not_start(folder: Folder) -> None:
    folder.write()
    folder.refuses(r"log\.pem has retired")


Edit = Callable[[TrustedKeys], TrustedKeys]


def _with(**changes: object) -> Edit:
    return lambda trusted: TrustedKeys.from_object({**trusted.to_object(), **changes})


NEW_PEM = NEW_LOG.public.to_pem()
TRUSTED_REFUSED: list[tuple[str, Edit, str]] = [
    ("a key in both lists", _with(log_retired=[NEW_PEM]), "as retired"),
    ("the old key is forgotten", _with(log_retired=[]), "not in log_retired"),
    ("a retired key twice", lambda it: it.model_copy(
        update={"log_retired": it.log_retired * 2}), "listed twice"),
    ("a retired key that is none", lambda it: it.model_copy(
        update={"log_retired": (*it.log_retired, "no key")}), "expected"),
    ("another log", _with(log_origin="verified-model-zoo/another"), "for good"),
    ("an oms key of another kind", _with(oms=[NEW_PEM]), "P-256"),
    ("an oms key twice", _with(oms=[NEW_OMS.public_pem()] * 2), "listed twice"),
    ("no oms key", _with(oms=[]), r"oms\.pem is not listed"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("edit", "told"),
    [pytest.param(edit, told, id=name) for name, edit, told in TRUSTED_REFUSED],
)
def test_trusted_keys_that_clients_could_not_follow_are_refused(
    folder: Folder, edit: Edit, told: str
) -> None:
    folder.replace()
    folder.edit = edit
    folder.write()
    folder.refuses(told)


def test_a_key_that_retired_once_stays_retired(folder: Folder) -> None:
    folder.replace()
    folder.write()
    with folder.start() as zoo:
        for log in ([NEW_PEM], [NEW_PEM, *folder.trusted().log]):
            data = _with(log=log, log_retired=[])(folder.next_keys()).to_bytes()
            response = submit_targets(
                zoo,
                partial(list_trusted_keys, data=data),
                files={TRUSTED_KEYS: json.loads(data)},
            )
            problem = assert_problem(response, 422, MALFORMED)
            assert "stays retired" in problem["detail"]


def test_the_first_trusted_keys_cannot_be_named_again(folder: Folder) -> None:
    """Their bytes are in the database: that makes them known, and not current."""
    folder.replace()
    folder.write()
    first = folder.trusted().to_bytes()
    with folder.start() as zoo:
        response = submit_targets(zoo, lambda it: list_trusted_keys(it, first))
        assert_problem(response, 422, MALFORMED)


def test_a_running_zoo_is_not_told_to_sign_with_keys_that_it_lacks(
    folder: Folder,
) -> None:
    data = folder.next_keys().to_bytes()
    with folder.start() as zoo:
        response = submit_targets(
            zoo,
            lambda targets: list_trusted_keys(targets, data),
            files={TRUSTED_KEYS: json.loads(data)},
        )
        problem = assert_problem(response, 403, "NotPermittedError")
        assert "zoo trust rekey" in problem["detail"]


def test_the_trusted_keys_must_be_there_and_be_the_named_ones(folder: Folder) -> None:
    folder.replace()
    folder.write(trusted_keys=False)
    folder.refuses("did not come with the targets")
    (folder.path / "2.trusted-keys.json").write_bytes(folder.trusted().to_bytes())
    folder.refuses("not the file that the targets name")
    folder.write()
    with folder.start() as zoo:
        assert zoo.get("/tuf/metadata/2.targets.json").status_code == 200


def test_targets_that_a_stranger_signed_are_refused(folder: Folder) -> None:
    folder.replace()
    folder.key = MALLORY
    folder.write()
    folder.refuses("signed by 0")


def test_targets_that_give_the_online_role_away_are_refused(folder: Folder) -> None:
    def spoil(targets: Targets) -> None:
        targets.add_key(tuf_key(MALLORY.public), YANKED)

    folder.replace()
    folder.spoil = spoil
    folder.write()
    folder.refuses("another key than the snapshot key here")
