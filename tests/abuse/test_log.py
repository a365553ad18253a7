"""Everything that reads a log is shown what nobody honest would write."""

import json
import tempfile
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_zoo.errors import (
    InvalidSpecError,
    MalformedDocumentError,
    PolicyNotMetError,
    RollbackError,
    SplitViewError,
    VerificationError,
)
from model_zoo.keys.ed25519 import SigningKey
from model_zoo.transparency.client import (
    LogEvidence,
    LogTrust,
    gather_evidence,
    verify_evidence,
)
from model_zoo.transparency.memory import LogMemory, require_extension
from model_zoo.transparency.merkle import (
    EMPTY_ROOT,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    verify_consistency,
    verify_inclusion,
)
from model_zoo.transparency.notes import Note, VerifierKey, to_base64
from model_zoo.transparency.tlog import (
    Checkpoint,
    SignedCheckpoint,
    Tile,
    from_bundle,
    to_bundle,
)
from tests.model_zoo.logs import NOW, ORIGIN, Log, entry, forked

WITNESS = SigningKey.generate()
SIZE = 300
LOG = Log.of(SIZE)
LOG.cosign(WITNESS)
TRUST = LogTrust(
    origin=ORIGIN,
    keys=(LOG.key.public,),
    witnesses=(WITNESS.public,),
    cosignatures=1,
)
NOTE = LOG.signed().to_bytes()
ROOT = LOG.checkpoint().checkpoint.root
SHORTER = Log.of(100, key=LOG.key).checkpoint()
WANTED = [entry(3), entry(299)]

hashes = st.binary(min_size=32, max_size=32)
proofs = st.lists(hashes | st.binary(max_size=40), max_size=12)
sizes = st.integers(-2, 2**64)


def evidence_of(log: Log) -> LogEvidence:
    with tempfile.TemporaryDirectory() as cache:
        return gather_evidence(
            log.fetch, WANTED, trust=TRUST, cache=Path(cache), now=NOW
        )


EVIDENCE = evidence_of(LOG)


def opens_or_refuses(data: bytes) -> None:
    try:
        signed = SignedCheckpoint.open(data, [LOG.key.public])
    except VerificationError:
        return
    assert signed.note.text.encode() == NOTE[: len(signed.note.text.encode())]


def cosigned_or_refused(data: bytes) -> None:
    try:
        found = Note.parse(data).cosignature(WITNESS.public)
    except VerificationError:
        return
    assert found is None or found.time == NOW


@given(data=st.binary(max_size=500))
def test_any_bytes_are_a_checkpoint_or_are_refused(data: bytes) -> None:
    opens_or_refuses(data)
    cosigned_or_refused(data)


@given(text=st.text(alphabet="\n\u2014 +=Aa0\t", max_size=60))
def test_any_text_of_a_note_s_own_letters_is_one_or_is_refused(text: str) -> None:
    try:
        note = Note.parse(text.encode())
    except MalformedDocumentError:
        return
    assert note.to_text() == text


@given(data=st.data())
def test_a_changed_checkpoint_is_the_same_one_or_is_refused(
    data: st.DataObject,
) -> None:
    changed = bytearray(NOTE)
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(0, len(NOTE) - 1))] = data.draw(
            st.integers(0, 255)
        )
    opens_or_refuses(bytes(changed))
    cosigned_or_refused(bytes(changed))


@given(text=st.text(max_size=80))
def test_any_text_is_a_checkpoint_or_is_refused(text: str) -> None:
    try:
        checkpoint = Checkpoint.parse(text)
    except MalformedDocumentError:
        return
    assert text.startswith(checkpoint.to_text())


@given(path=st.from_regex(r"tile/(entries|[0-9]{1,2})/[x0-9/.p]{0,30}") | st.text())
def test_any_path_is_a_tile_s_only_spelling_or_is_refused(path: str) -> None:
    try:
        tile = Tile.parse(path)
    except MalformedDocumentError:
        return
    assert tile.path == path


@given(data=st.binary(max_size=60), width=st.integers(0, 8))
def test_any_bundle_is_the_only_spelling_of_its_entries(
    data: bytes, width: int
) -> None:
    try:
        entries = from_bundle(data, width=width)
    except MalformedDocumentError:
        return
    assert to_bundle(entries) == data


@given(leaf=hashes | st.binary(max_size=3), proof=proofs, index=sizes, size=sizes)
def test_any_proof_of_inclusion_is_refused(
    leaf: bytes, proof: list[bytes], index: int, size: int
) -> None:
    with pytest.raises(VerificationError):
        verify_inclusion(leaf, proof, index=index, size=size, root=ROOT)


@given(proof=proofs, old=sizes, new=sizes)
def test_any_proof_of_consistency_is_refused(
    proof: list[bytes], old: int, new: int
) -> None:
    with pytest.raises(VerificationError):
        verify_consistency(proof, old=old, new=new, old_root=EMPTY_ROOT, new_root=ROOT)


@given(data=st.data())
def test_a_true_proof_proves_nothing_else(data: st.DataObject) -> None:
    size = data.draw(st.integers(2, SIZE))
    index = data.draw(st.integers(0, size - 1))
    proof = inclusion_proof(index, size, LOG.nodes.__getitem__)
    leaf = leaf_hash(LOG.entries[index])
    root = Checkpoint.parse(LOG.signed(size).text).root
    verify_inclusion(leaf, proof, index=index, size=size, root=root)
    at = data.draw(st.integers(0, len(proof) - 1))
    byte = data.draw(st.integers(0, 31))
    bad = bytearray(proof[at])
    bad[byte] ^= 1 << data.draw(st.integers(0, 7))
    forgeries = [
        [*proof[:at], bytes(bad), *proof[at + 1 :]],
        proof[:-1],
        proof[1:],
        [*proof, proof[-1]],
        [*proof, EMPTY_ROOT],
    ]
    for forged in forgeries:
        with pytest.raises(VerificationError):
            verify_inclusion(leaf, forged, index=index, size=size, root=root)
    other = data.draw(st.integers(0, size - 1).filter(lambda n: n != index))
    with pytest.raises(VerificationError):
        verify_inclusion(leaf, proof, index=other, size=size, root=root)


def test_an_inner_node_does_not_pass_for_an_entry() -> None:
    """Else half a tree could be shown as if it were the log."""
    size, inner = 256, LOG.nodes[1, 0]
    root = Checkpoint.parse(LOG.signed(size).text).root
    proof = inclusion_proof(0, size, LOG.nodes.__getitem__)
    verify_inclusion(leaf_hash(LOG.entries[0]), proof, index=0, size=size, root=root)
    verify_inclusion(inner, proof[1:], index=0, size=size // 2, root=root)
    both = LOG.nodes[0, 0] + LOG.nodes[0, 1]
    assert leaf_hash(both) != inner, "no entry hashes to an inner node"
    with pytest.raises(VerificationError):
        verify_inclusion(inner, proof[1:], index=0, size=size, root=root)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ["format", "checkpoint", "entries", "entry", "index", "proof"]
            ),
            inner,
        )
    ),
    max_leaves=12,
)


def shows_or_refuses(value: object) -> None:
    try:
        shown = verify_evidence(LogEvidence.read(value), WANTED, trust=TRUST, now=NOW)
    except VerificationError:
        return
    assert (shown.size, shown.witnessed_at) == (SIZE, NOW)


@given(value=json_values)
def test_any_json_is_evidence_or_is_refused(value: object) -> None:
    shows_or_refuses(value)


@given(data=st.data())
def test_changed_evidence_shows_the_same_or_is_refused(data: st.DataObject) -> None:
    text = bytearray(json.dumps(EVIDENCE.to_object()).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        text[data.draw(st.integers(0, len(text) - 1))] = data.draw(
            st.integers(0x20, 0x7E)
        )
    try:
        value = json.loads(text)
    except ValueError:
        return
    shows_or_refuses(value)


def _answer(items: object) -> bytes:
    return json.dumps({"items": items}).encode()


items = st.fixed_dictionaries(
    {"index": sizes, "proof": st.lists(hashes.map(to_base64), max_size=12)}
)


@given(answer=st.binary(max_size=64) | st.lists(items, max_size=3).map(_answer))
def test_any_answer_makes_no_evidence(answer: bytes) -> None:
    def fetch(path: str) -> bytes:
        return answer if "/proofs" in path else LOG.fetch(path)

    with tempfile.TemporaryDirectory() as cache, pytest.raises(VerificationError):
        gather_evidence(fetch, WANTED, trust=TRUST, cache=Path(cache), now=NOW)


@given(tile=st.binary(max_size=64) | hashes.map(lambda value: value * 100))
def test_any_tiles_make_no_longer_log(tile: bytes) -> None:
    with pytest.raises(VerificationError, match=r"tiles do not|expected"):
        require_extension(SHORTER, LOG.checkpoint(), lambda _: tile)


@given(at=st.integers(0, 39), old=st.integers(1, 40), new=st.integers(1, 40))
def test_two_histories_never_pass_whatever_their_sizes(
    at: int, old: int, new: int
) -> None:
    log = Log.of(old)
    other = forked(log, min(at, old), new)
    seen, shown = log.checkpoint(), other.checkpoint()
    is_prefix = other.entries[:old] == log.entries
    try:
        require_extension(seen, shown, other.fetch)
    except RollbackError:
        assert new < old
    except SplitViewError:
        assert not is_prefix
    else:
        assert is_prefix


@pytest.mark.parametrize(
    ("shown", "error"),
    [
        pytest.param(forked(LOG, 0, SIZE), SplitViewError, id="another, as long"),
        pytest.param(forked(LOG, 299, 600), SplitViewError, id="the last one changed"),
        pytest.param(forked(LOG, 0, 600), SplitViewError, id="another, longer"),
        pytest.param(forked(LOG, 0, 10), RollbackError, id="another, shorter"),
        pytest.param(forked(LOG, 10, 10), RollbackError, id="an old one again"),
    ],
)
def test_a_log_that_changed_its_past_is_found_out(
    tmp_path: Path, shown: Log, error: type[VerificationError]
) -> None:
    memory = LogMemory(tmp_path / "seen.note", [LOG.key.public])
    memory.accept(LOG.checkpoint(), LOG.fetch)
    with pytest.raises(error):
        memory.accept(shown.checkpoint(), shown.fetch)
    last = memory.last()
    assert last is not None
    assert last.note.text == LOG.signed().text


def test_a_truncated_tree_cannot_be_proved_to_extend_the_whole() -> None:
    proof = consistency_proof(200, SIZE, LOG.nodes.__getitem__)
    cut = Checkpoint.parse(LOG.signed(200).text).root
    with pytest.raises(VerificationError):
        verify_consistency(proof, old=SIZE, new=200, old_root=ROOT, new_root=cut)


def cosigned(*lines: tuple[SigningKey, str, datetime]) -> LogEvidence:
    bare = Log(key=LOG.key, entries=LOG.entries, nodes=LOG.nodes)
    note = bare.signed()
    for key, name, now in lines:
        log = Log(key=LOG.key, entries=LOG.entries, nodes=LOG.nodes)
        log.cosign(key, now=now)
        line = replace(log.signed().signatures[-1], name=name)
        note = replace(note, signatures=(*note.signatures, line))
    return LogEvidence(checkpoint=note.to_text(), entries=())


SECOND = SigningKey.generate()
NAME = "witness.example"
LATER = NOW + timedelta(minutes=1)


@pytest.mark.parametrize(
    "evidence",
    [
        pytest.param(cosigned(), id="nobody"),
        pytest.param(cosigned((WITNESS, NAME, NOW)), id="one of two"),
        pytest.param(
            cosigned((WITNESS, NAME, NOW), (WITNESS, NAME, NOW)), id="one line twice"
        ),
        pytest.param(
            cosigned((WITNESS, NAME, NOW), (WITNESS, NAME, LATER)),
            id="one witness at two times",
        ),
        pytest.param(
            cosigned((WITNESS, NAME, NOW), (SigningKey.generate(), NAME, NOW)),
            id="one that is not pinned",
        ),
        pytest.param(
            cosigned((WITNESS, NAME, NOW), (SECOND, "renamed", NOW)),
            id="a line under a name that was not its own",
        ),
        pytest.param(cosigned((LOG.key, NAME, NOW)), id="the log itself"),
    ],
)
def test_two_witnesses_are_two_keys(evidence: LogEvidence) -> None:
    trust = replace(TRUST, witnesses=(WITNESS.public, SECOND.public), cosignatures=2)
    with pytest.raises(PolicyNotMetError, match="2 needed"):
        verify_evidence(evidence, [], trust=trust, now=NOW)


@given(text=st.text(max_size=80))
def test_any_text_is_a_verifier_key_or_is_refused(text: str) -> None:
    try:
        key = VerifierKey.from_text(text)
    except InvalidSpecError:
        return
    assert key.to_text() == text
