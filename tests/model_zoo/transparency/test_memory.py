"""What a party remembers of a log, over a change of the log's key."""

from pathlib import Path

import pytest
from tuf.api.metadata import Targets

from model_zoo.digests import sha256_bytes
from model_zoo.errors import (
    InvalidSpecError,
    MalformedDocumentError,
    RollbackError,
    SplitViewError,
    VerificationError,
)
from model_zoo.keys.ed25519 import PublicKey, SigningKey
from model_zoo.keys.p256 import P256Key
from model_zoo.transparency.client import MEMORY_NAME, LogTrust, gather_evidence
from model_zoo.transparency.memory import LogMemory, opened
from model_zoo.tuf.trusted_keys import (
    TrustedKeys,
    list_trusted_keys,
    named_trusted_keys,
    with_online_keys,
)
from tests.model_zoo.logs import NOW, ORIGIN, Log, entry, forked

OLD, NEW, OTHER, WITNESS = (SigningKey.generate() for _ in range(4))


@pytest.fixture
def log() -> Log:
    return Log.of(10, key=OLD)


@pytest.fixture
def path(log: Log, tmp_path: Path) -> Path:
    """A memory of the log's ten entries under its old key."""
    path = tmp_path / MEMORY_NAME
    LogMemory(path, [OLD.public]).accept(log.checkpoint(), log.fetch)
    return path


def grown(log: Log) -> Log:
    """Let the log go on under its new key."""
    log.key = NEW
    log.append(*(entry(number) for number in range(10, 300)))
    return log


def trust(*retired: PublicKey, cosignatures: int = 0) -> LogTrust:
    return LogTrust(
        origin=ORIGIN,
        keys=(NEW.public,),
        retired=retired,
        witnesses=(WITNESS.public,),
        cosignatures=cosignatures,
    )


def test_what_is_remembered_under_a_retired_key_is_extended_under_the_new(
    log: Log, path: Path
) -> None:
    memory = LogMemory(path, [NEW.public], [OLD.public])
    memory.accept(grown(log).checkpoint(), log.fetch)
    assert LogMemory(path, [NEW.public]).last() == log.checkpoint()


def test_a_key_that_neither_signs_nor_retired_is_not_believed_for_memory(
    path: Path,
) -> None:
    for memory in (
        LogMemory(path, [NEW.public]),
        LogMemory(path, [NEW.public], [OTHER.public]),
    ):
        with pytest.raises(VerificationError, match="not signed by the log's key"):
            memory.last()


def test_rollback_and_a_second_history_are_caught_over_the_change(
    log: Log, path: Path
) -> None:
    memory = LogMemory(path, [NEW.public], [OLD.public])
    other = forked(log, 4, 12)
    other.key = log.key = NEW
    log.shown = 9
    with pytest.raises(RollbackError):
        memory.accept(log.checkpoint(), log.fetch)
    with pytest.raises(SplitViewError, match="two histories"):
        memory.accept(other.checkpoint(), other.fetch)
    kept = [file.read_bytes() for file in path.parent.glob("*split-view*")]
    assert len([opened(note, [OLD.public, NEW.public], []) for note in kept]) == 2


def test_what_is_brought_is_never_believed_under_a_retired_key(log: Log) -> None:
    note = log.signed().to_bytes()
    with pytest.raises(VerificationError, match="has retired"):
        opened(note, [NEW.public], [OLD.public])
    with pytest.raises(VerificationError, match="not signed by the log's key"):
        opened(note, [NEW.public], [OTHER.public])
    with pytest.raises(MalformedDocumentError):
        opened(b"no note", [NEW.public], [OLD.public])
    assert opened(note, [OLD.public], []) == log.checkpoint()


@pytest.mark.parametrize("cosignatures", [0, 1])
def test_a_client_refuses_the_old_keys_checkpoint_and_goes_on_under_the_new(
    log: Log, path: Path, cosignatures: int
) -> None:
    def gather() -> None:
        gather_evidence(
            log.fetch,
            [entry(3)],
            trust=trust(OLD.public, cosignatures=cosignatures),
            cache=path.parent,
            now=NOW,
        )

    before = path.read_bytes()
    log.cosign(WITNESS)
    with pytest.raises(VerificationError, match="has retired"):
        gather()
    assert path.read_bytes() == before
    grown(log).cosign(WITNESS)
    gather()
    assert LogMemory(path, [NEW.public]).last() is not None
    assert not path.with_suffix(".damaged").exists()


def test_a_key_is_never_current_and_retired(tmp_path: Path) -> None:
    both = [NEW.public, OLD.public]
    with pytest.raises(InvalidSpecError, match="as retired"):
        LogMemory(tmp_path / "seen", both, [OLD.public])
    with pytest.raises(InvalidSpecError, match="as retired"):
        trust(NEW.public)
    respelt = OLD.public.to_pem().replace("\n", "\r\n")
    document = TrustedKeys(log=(OLD.public.to_pem(),), log_retired=(respelt,))
    with pytest.raises(MalformedDocumentError, match="as retired"):
        TrustedKeys.read(document.to_bytes())


def test_trusted_keys_of_before_there_were_retired_ones_are_read() -> None:
    trusted = TrustedKeys.read(b'{"format":1,"log_origin":"x"}')
    assert trusted.retired_log_keys() == ()


def test_trusted_keys_are_the_ones_that_targets_name_or_none() -> None:
    data, other = (TrustedKeys(log_origin=it).to_bytes() for it in ("one", "two"))
    targets = Targets()
    with pytest.raises(MalformedDocumentError, match="not the file"):
        named_trusted_keys(targets, data)
    list_trusted_keys(targets, data)
    assert named_trusted_keys(targets, data).log_origin == "one"
    for wrong in (other, data + b" "):
        with pytest.raises(MalformedDocumentError, match="not the file"):
            named_trusted_keys(targets, wrong)


def test_the_log_key_retires_and_the_bundles_key_is_struck_out() -> None:
    first, second = (P256Key.generate().public_pem() for _ in range(2))
    before = TrustedKeys(
        log_origin=ORIGIN,
        log=(OLD.public.to_pem(),),
        log_retired=(OTHER.public.to_pem(),),
        witnesses=(WITNESS.public.to_pem(),),
        oms=(first,),
    )
    after = with_online_keys(before, log_key=NEW.public, oms=second)
    assert after.log_keys() == (NEW.public,)
    assert after.retired_log_keys() == (OTHER.public, OLD.public)
    assert after.oms == (second,)
    assert (after.log_origin, after.witnesses) == (ORIGIN, before.witnesses)
    assert with_online_keys(before, oms=second).log == before.log
    assert with_online_keys(before, log_key=OLD.public) == before
    with pytest.raises(InvalidSpecError, match="make a new one"):
        with_online_keys(after, log_key=OLD.public)
    with pytest.raises(InvalidSpecError, match="expected a P-256 public key"):
        with_online_keys(before, oms=NEW.public.to_pem())
    with pytest.raises(InvalidSpecError, match="expected a P-256 public key"):
        with_online_keys(before, oms=f"no key {sha256_bytes(b'')}")
