"""A client and a log: what it takes along, and what it refuses to believe."""

import json
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from model_zoo.clock import CLOCK_SKEW
from model_zoo.errors import (
    ExpiredMetadataError,
    InvalidSpecError,
    LocalError,
    MalformedDocumentError,
    NotFoundError,
    PolicyNotMetError,
    RollbackError,
    SplitViewError,
    VerificationError,
)
from model_zoo.keys.ed25519 import SigningKey
from model_zoo.transparency.client import (
    MEMORY_NAME,
    LogEvidence,
    LogTrust,
    gather_evidence,
    verify_evidence,
)
from model_zoo.transparency.tlog import SignedCheckpoint
from tests.model_zoo.logs import NOW, ORIGIN, Log, entry, forked

W1, W2, W3 = (SigningKey.generate() for _ in range(3))
PINNED = (W1.public, W2.public, W3.public)
WANTED = [entry(3), entry(7)]


@pytest.fixture
def log() -> Log:
    return Log.of(10)


def trust_in(log: Log, *, cosignatures: int = 0) -> LogTrust:
    return LogTrust(
        origin=ORIGIN,
        keys=(log.key.public,),
        witnesses=PINNED,
        cosignatures=cosignatures,
    )


def gather(log: Log, cache: Path, *, cosignatures: int = 0) -> LogEvidence:
    trust = trust_in(log, cosignatures=cosignatures)
    return gather_evidence(log.fetch, WANTED, trust=trust, cache=cache, now=NOW)


def test_evidence_proves_offline_what_was_asked(log: Log, tmp_path: Path) -> None:
    log.cosign(W1, W2)
    evidence = gather(log, tmp_path, cosignatures=2)
    stored = json.loads(json.dumps(evidence.to_object()))
    read = LogEvidence.read(stored)
    assert read == evidence
    shown = verify_evidence(read, WANTED, trust=trust_in(log, cosignatures=2), now=NOW)
    assert shown.size == 10
    assert shown.witnesses == {W1.public.keyid, W2.public.keyid}
    assert shown.witnessed_at == NOW


def test_a_log_without_witnesses_proves_no_time(log: Log, tmp_path: Path) -> None:
    shown = verify_evidence(gather(log, tmp_path), WANTED, trust=trust_in(log), now=NOW)
    assert shown.witnessed_at is None
    assert shown.witnesses == frozenset()


def test_the_time_is_one_to_which_as_many_attest_as_are_asked_for(log: Log) -> None:
    log.cosign(W1, now=NOW - timedelta(hours=3))
    log.cosign(W2, now=NOW - timedelta(hours=1))
    evidence = LogEvidence(checkpoint=log.signed().to_text(), entries=())
    times = {}
    for needed in (0, 1, 2):
        trust = trust_in(log, cosignatures=needed)
        shown = verify_evidence(evidence, [], trust=trust, now=NOW)
        times[needed] = shown.witnessed_at
    assert times[0] == times[1] == NOW - timedelta(hours=1)
    assert times[2] == NOW - timedelta(hours=3)


def test_the_next_checkpoint_must_extend_the_one_before(
    log: Log, tmp_path: Path
) -> None:
    gather(log, tmp_path)
    log.append(*(entry(number) for number in range(10, 700)))
    gather(log, tmp_path)
    saved = (tmp_path / MEMORY_NAME).read_bytes()
    kept = SignedCheckpoint.open(saved, [log.key.public])
    assert kept.checkpoint.size == 700


def test_looking_twice_at_the_same_log_is_fine(log: Log, tmp_path: Path) -> None:
    assert gather(log, tmp_path) == gather(log, tmp_path)


@pytest.mark.parametrize("size", [10, 11, 600])
def test_two_histories_are_refused_and_both_notes_are_kept(
    log: Log, tmp_path: Path, size: int
) -> None:
    gather(log, tmp_path)
    before = (tmp_path / MEMORY_NAME).read_bytes()
    other = forked(log, 9, size)
    with pytest.raises(SplitViewError, match="two histories"):
        gather(other, tmp_path)
    assert (tmp_path / MEMORY_NAME).read_bytes() == before
    kept = sorted(tmp_path.glob("*split-view*"))
    notes = [SignedCheckpoint.open(f.read_bytes(), [log.key.public]) for f in kept]
    assert sorted(note.checkpoint.size for note in notes) == [10, size]
    assert {note.note.text for note in notes} == {
        log.signed().text,
        other.signed().text,
    }
    with pytest.raises(SplitViewError):
        gather(other, tmp_path)
    assert len(list(tmp_path.glob("*split-view*"))) == 2


def test_an_old_checkpoint_replayed_is_refused(log: Log, tmp_path: Path) -> None:
    gather(log, tmp_path)
    log.shown = 9
    with pytest.raises(RollbackError, match="9 entries, and had 10"):
        gather(log, tmp_path)


def test_tiles_that_do_not_make_the_checkpoint_s_root_are_refused(
    log: Log, tmp_path: Path
) -> None:
    gather(log, tmp_path)
    log.append(*(entry(number) for number in range(10, 20)))
    liar = forked(log, 5, 20)
    honest = log.fetch

    def fetch(path: str) -> bytes:
        return (liar.fetch if "/tile/" in path else honest)(path)

    with pytest.raises(VerificationError, match="do not make the root") as refused:
        gather_evidence(fetch, WANTED, trust=trust_in(log), cache=tmp_path, now=NOW)
    assert type(refused.value) is VerificationError


def test_a_log_of_another_name_is_refused(log: Log, tmp_path: Path) -> None:
    trust = replace(trust_in(log), origin="another.example")
    with pytest.raises(VerificationError, match=r"expected a checkpoint of 'another"):
        gather_evidence(log.fetch, WANTED, trust=trust, cache=tmp_path, now=NOW)


def test_a_log_signed_by_another_key_is_refused(log: Log, tmp_path: Path) -> None:
    with pytest.raises(VerificationError, match="not signed by the log's key"):
        gather_evidence(
            log.fetch, WANTED, trust=trust_in(Log.of(1)), cache=tmp_path, now=NOW
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "by",
    [
        pytest.param([], id="nobody"),
        pytest.param([W1], id="one of two"),
        pytest.param([W1, W1], id="one twice"),
        pytest.param([W1, SigningKey.generate()], id="one that is not pinned"),
    ],
)
def test_too_few_witnesses_are_refused(
    log: Log, tmp_path: Path, by: list[SigningKey]
) -> None:
    log.cosign(*by)
    note = log.signed()

    def fetch(path: str) -> bytes:
        return note.to_bytes() if "witnessed" in path else log.fetch(path)

    with pytest.raises(PolicyNotMetError, match="2 needed"):
        gather_evidence(
            fetch,
            WANTED,
            trust=trust_in(log, cosignatures=2),
            cache=tmp_path,
            now=NOW,
        )
    assert list(tmp_path.iterdir()) == []


def test_one_witness_under_two_names_counts_once(log: Log, tmp_path: Path) -> None:
    log.cosign(W1)
    twice = log.signed()
    line = twice.signatures[-1]
    renamed = replace(line, name="second.example")
    note = replace(twice, signatures=(*twice.signatures, renamed))
    evidence = LogEvidence(checkpoint=note.to_text(), entries=())
    with pytest.raises(PolicyNotMetError, match="cosigned by 1 of"):
        verify_evidence(evidence, [], trust=trust_in(log, cosignatures=2), now=NOW)
    del tmp_path


def test_without_any_witnessed_checkpoint_a_policy_of_one_is_not_met(
    log: Log, tmp_path: Path
) -> None:
    with pytest.raises(PolicyNotMetError, match="has 1 cosignatures yet"):
        gather(log, tmp_path, cosignatures=1)


def test_a_clock_behind_the_newest_cosignature_is_refused(
    log: Log, tmp_path: Path
) -> None:
    log.cosign(W1)
    log.cosign(W2, now=NOW + CLOCK_SKEW + timedelta(seconds=1))
    with pytest.raises(ExpiredMetadataError, match="set the clock right"):
        gather(log, tmp_path)
    log.cosign(W2, now=NOW + CLOCK_SKEW)
    gather(log, tmp_path)


def test_what_the_log_does_not_have_is_no_evidence(log: Log, tmp_path: Path) -> None:
    trust = trust_in(log)
    with pytest.raises(PolicyNotMetError, match="lack one of metadata 'alice' v"):
        gather_evidence(log.fetch, [entry(99)], trust=trust, cache=tmp_path, now=NOW)
    evidence = gather(log, tmp_path)
    with pytest.raises(PolicyNotMetError, match="no evidence that metadata 'alice'"):
        verify_evidence(evidence, [entry(5)], trust=trust, now=NOW)


def test_what_is_logged_after_the_witnessed_checkpoint_has_to_wait(
    log: Log, tmp_path: Path
) -> None:
    log.cosign(W1)
    log.append(entry(10))
    trust = trust_in(log, cosignatures=1)
    with pytest.raises(PolicyNotMetError, match="try again"):
        gather_evidence(log.fetch, [entry(10)], trust=trust, cache=tmp_path, now=NOW)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"[]",
        b"{}",
        b"\xff",
        b'{"items":[]}',
        b'{"items":[{"index":-1,"proof":[]},{"index":7,"proof":[]}]}',
        b'{"items":[{"index":true,"proof":[]},{"index":7,"proof":[]}]}',
        b'{"items":[{"index":3,"proof":["!"]},{"index":7,"proof":[]}]}',
        b'{"items":[{"index":3,"proof":["%s"]}]}' % (b"A" * 1_000_000),
    ],
)
def test_an_answer_without_proofs_is_refused(
    log: Log, tmp_path: Path, answer: bytes
) -> None:
    def fetch(path: str) -> bytes:
        return answer if "/proofs" in path else log.fetch(path)

    with pytest.raises(MalformedDocumentError):
        gather_evidence(fetch, WANTED, trust=trust_in(log), cache=tmp_path, now=NOW)


def test_proofs_of_other_entries_are_found_out(log: Log, tmp_path: Path) -> None:
    def fetch(path: str) -> bytes:
        asked = path.replace(WANTED[0].leaf_hash().hex(), entry(4).leaf_hash().hex())
        return log.fetch(asked)

    with pytest.raises(VerificationError, match="another root"):
        gather_evidence(fetch, WANTED, trust=trust_in(log), cache=tmp_path, now=NOW)


def test_many_entries_are_asked_for_some_at_a_time(tmp_path: Path) -> None:
    log, asked = Log.of(150), []

    def fetch(path: str) -> bytes:
        asked.append(path)
        return log.fetch(path)

    wanted = [entry(number) for number in (*range(150), 3)]
    evidence = gather_evidence(
        fetch, wanted, trust=trust_in(log), cache=tmp_path, now=NOW
    )
    assert len(evidence.entries) == 150
    assert len(asked) == 1 + 3


def test_a_proof_of_another_entry_is_no_proof(log: Log, tmp_path: Path) -> None:
    value = gather(log, tmp_path).to_object()
    value["entries"][0]["entry"] = entry(5).to_object()
    forged = LogEvidence.read(value)
    with pytest.raises(VerificationError, match="another root"):
        verify_evidence(forged, [entry(5)], trust=trust_in(log), now=NOW)


def test_proofs_do_not_hold_under_another_checkpoint(log: Log, tmp_path: Path) -> None:
    value = gather(log, tmp_path).to_object()
    log.append(entry(10))
    value["checkpoint"] = log.signed().to_text()
    with pytest.raises(VerificationError):
        verify_evidence(LogEvidence.read(value), WANTED, trust=trust_in(log), now=NOW)


@pytest.mark.parametrize(
    "value",
    [None, [], {}, {"format": 2, "checkpoint": "", "entries": []}, "\ud800"],
)
def test_evidence_that_is_none_is_refused(value: object) -> None:
    with pytest.raises(MalformedDocumentError, match="not evidence of a log"):
        LogEvidence.read(value)


def test_a_damaged_memory_is_put_aside(log: Log, tmp_path: Path) -> None:
    gather(log, tmp_path)
    memory = tmp_path / MEMORY_NAME
    memory.write_bytes(memory.read_bytes()[:-9])
    gather(log, tmp_path)
    healed = SignedCheckpoint.open(memory.read_bytes(), [log.key.public])
    assert healed.checkpoint.size == 10
    assert len(list(tmp_path.glob("*.damaged"))) == 1


def test_a_cache_that_cannot_be_written_is_a_local_failure(
    log: Log, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LocalError):
        gather(log, tmp_path / "file")


def test_an_empty_log_has_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError):
        gather(Log(), tmp_path)


def test_trust_that_can_never_be_met_or_is_none_cannot_be_built() -> None:
    key = SigningKey.generate().public
    with pytest.raises(InvalidSpecError, match="without a key"):
        LogTrust(origin=ORIGIN, keys=())
    with pytest.raises(InvalidSpecError, match="listed twice"):
        LogTrust(origin=ORIGIN, keys=(key,), witnesses=(key, key))
    with pytest.raises(InvalidSpecError, match="can never be had"):
        LogTrust(origin=ORIGIN, keys=(key,), witnesses=(key,), cosignatures=2)
    with pytest.raises(InvalidSpecError, match="can never be had"):
        LogTrust(origin=ORIGIN, keys=(key,), witnesses=(key,), cosignatures=-1)
