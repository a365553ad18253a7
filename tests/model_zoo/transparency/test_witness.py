"""A witness: what it signs, what it never signs, and what it keeps as evidence."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from model_zoo.cli import build
from model_zoo.cli.output import exit_code
from model_zoo.cli.witness import _look_forever
from model_zoo.errors import (
    InvalidSpecError,
    LocalError,
    MalformedDocumentError,
    NotFoundError,
    NotPermittedError,
    RollbackError,
    SplitViewError,
    TransportError,
    VerificationError,
    ZooError,
)
from model_zoo.http.server import Server
from model_zoo.keys.ed25519 import SigningKey
from model_zoo.transparency.client import MAX_ANSWER_BYTES, log_reader
from model_zoo.transparency.tlog import SignedCheckpoint
from model_zoo.transparency.witness import (
    CosignedCheckpoint,
    Witness,
    locked_state,
    witness_name,
)
from model_zoo.tuf.fetcher import ServerFetcher
from tests.model_zoo.logs import NOW, Log, entry, forked
from tests.model_zoo.servers import answering, respond

PASSPHRASE = b"correct horse battery"


@pytest.fixture
def log() -> Log:
    return Log.of(10)


def witness_of(log: Log, folder: Path, name: str = "w") -> Witness:
    return Witness(
        key=SigningKey.generate(),
        log_keys=(log.key.public,),
        state=folder / f"{name}.note",
    )


def look(witness: Witness, log: Log, *, minutes: int = 0) -> CosignedCheckpoint:
    def submit(note: str) -> None:
        log.take(note, witnesses=[witness.key.public])

    return witness.look(log.fetch, submit, now=NOW + timedelta(minutes=minutes))


def remembered(witness: Witness, log: Log) -> int:
    data = witness.state.read_bytes()
    return SignedCheckpoint.open(data, [log.key.public]).checkpoint.size


def test_a_witness_cosigns_what_it_saw_and_when(log: Log, tmp_path: Path) -> None:
    witness = witness_of(log, tmp_path)
    seen = look(witness, log)
    found = log.signed().cosignature(witness.key.public)
    assert found is not None
    assert (seen.size, seen.at) == (10, found.time)
    assert found.signature.name == witness_name(witness.key.public)
    assert found.signature.names(witness.verifier_key)
    assert remembered(witness, log) == 10


def test_it_follows_a_log_that_grows_and_looks_again_at_one_that_does_not(
    log: Log, tmp_path: Path
) -> None:
    witness = witness_of(log, tmp_path)
    look(witness, log)
    assert look(witness, log, minutes=1).size == 10
    found = log.signed().cosignature(witness.key.public)
    assert found is not None
    assert found.time == NOW + timedelta(minutes=1)
    log.append(*(entry(number) for number in range(10, 600)))
    assert look(witness, log, minutes=2).size == 600
    assert remembered(witness, log) == 600


@pytest.mark.parametrize("size", [10, 11, 300])
def test_it_never_cosigns_a_second_history_and_keeps_both_notes(
    log: Log, tmp_path: Path, size: int
) -> None:
    witness = witness_of(log, tmp_path)
    look(witness, log)
    other = forked(log, 4, size)
    with pytest.raises(SplitViewError, match="show it to others") as refused:
        look(witness, other)
    assert exit_code(refused.value) == 4
    assert other.cosigned == {}
    assert remembered(witness, log) == 10
    kept = [path.read_text() for path in tmp_path.glob("w.note.split-view-*.note")]
    assert sorted(kept) == sorted([_as_seen(log), _as_seen(other)])
    assert all(str(path) in str(refused.value) for path in tmp_path.glob("*split*"))


def _as_seen(log: Log) -> str:
    """Return the note as the log alone signed it."""
    bare = Log(key=log.key, entries=log.entries, nodes=log.nodes)
    return bare.signed().to_text()


def test_it_never_cosigns_a_smaller_log(log: Log, tmp_path: Path) -> None:
    witness = witness_of(log, tmp_path)
    look(witness, log)
    log.cosigned.clear()
    log.shown = 9
    with pytest.raises(RollbackError):
        look(witness, log)
    assert log.cosigned == {}


def test_it_remembers_before_anybody_hears_of_it(log: Log, tmp_path: Path) -> None:
    witness = witness_of(log, tmp_path)
    sizes = []

    def submit(_: str) -> None:
        sizes.append(remembered(witness, log))
        msg = "the zoo is away"
        raise TransportError(msg)

    with pytest.raises(TransportError):
        witness.look(log.fetch, submit, now=NOW)
    assert sizes == [10]
    with pytest.raises(SplitViewError):
        look(witness, forked(log, 4, 12))


def test_a_damaged_memory_is_not_forgotten_in_silence(log: Log, tmp_path: Path) -> None:
    witness = witness_of(log, tmp_path)
    look(witness, log)
    witness.state.write_bytes(witness.state.read_bytes()[:-9])
    with pytest.raises(VerificationError):
        look(witness, forked(log, 4, 12))


def test_another_s_log_is_not_cosigned(log: Log, tmp_path: Path) -> None:
    witness = witness_of(log, tmp_path)
    with pytest.raises(VerificationError, match="not signed by the log's key"):
        look(witness, Log.of(3))
    assert not witness.state.exists()


def test_a_second_log_under_the_same_key_is_not_cosigned(
    log: Log, tmp_path: Path
) -> None:
    witness = witness_of(log, tmp_path)
    look(witness, log)
    log.append(entry(10))
    log.origin = "second.example"
    with pytest.raises(VerificationError, match=r"found 'second\.example'"):
        look(witness, log)
    assert remembered(witness, log) == 10


def test_it_goes_on_when_the_logs_key_was_replaced(log: Log, tmp_path: Path) -> None:
    witness, other = witness_of(log, tmp_path), witness_of(log, tmp_path, "other")
    look(witness, log)
    log.append(entry(10))
    look(other, log)  # the newest that is cosigned is by the old key, and not its own
    old, log.key = log.key, SigningKey.generate()
    log.append(entry(11))
    with pytest.raises(VerificationError, match="not signed by the log's key"):
        look(witness, log)
    after = replace(witness, log_keys=(log.key.public,), retired=(old.public,))
    assert look(after, log, minutes=1).size == 12
    assert remembered(after, log) == 12
    assert look(after, log, minutes=2).size == 12


def test_it_never_cosigns_under_a_key_that_has_retired(
    log: Log, tmp_path: Path
) -> None:
    witness = witness_of(log, tmp_path)
    look(witness, log)
    after = replace(
        witness, log_keys=(SigningKey.generate().public,), retired=witness.log_keys
    )
    log.append(entry(10))
    log.cosign(SigningKey.generate())
    for thief in (log, forked(log, 4, 12)):
        thief.cosign(SigningKey.generate())
        with pytest.raises(VerificationError, match="has retired"):
            look(after, thief)
        assert after.key.public.keyid not in thief.cosigned.get(thief.size, {})
    assert remembered(witness, log) == 10


def test_a_second_history_is_found_over_a_change_of_keys(
    log: Log, tmp_path: Path
) -> None:
    witness = witness_of(log, tmp_path)
    look(witness, log)
    other = forked(log, 4, 12)
    other.key = SigningKey.generate()
    after = replace(witness, log_keys=(other.key.public,), retired=(log.key.public,))
    with pytest.raises(SplitViewError):
        look(after, other)
    assert len(list(tmp_path.glob("w.note.split-view-*"))) == 2


def test_three_witnesses_of_a_log_that_never_rests_meet_on_one_checkpoint(
    log: Log, tmp_path: Path
) -> None:
    witnesses = [witness_of(log, tmp_path, name) for name in "abc"]
    number = 10
    for minute in range(4):
        for witness in witnesses:
            log.append(entry(number))
            number += 1
            look(witness, log, minutes=minute)
    together = max(size for size, by in log.cosigned.items() if len(by) == 3)
    assert together >= 10 + 3 * 2


def test_two_processes_cannot_work_with_one_memory(tmp_path: Path) -> None:
    state = tmp_path / "deep" / "w.note"
    with (
        locked_state(state),
        pytest.raises(LocalError, match="another witness"),
        locked_state(state),
    ):
        pass
    with locked_state(state):
        pass


Run = Callable[..., ZooError | None]


@pytest.fixture
def served(log: Log) -> Iterator[str]:
    """The log over a real socket, as a zoo serves it."""

    def answer(request: BaseHTTPRequestHandler) -> None:
        if request.command == "POST":
            length = int(request.headers["Content-Length"])
            body = json.loads(request.rfile.read(length))
            assert request.path == "/zoo/api/v1/log/cosignatures"
            log.posted.append(body["note"])
            respond(request, b'{"size":10}')
            return
        try:
            respond(request, log.fetch(request.path.removeprefix("/zoo")))
        except NotFoundError:
            respond(request, b"{}", status=404)

    with answering(answer) as url:
        yield url + "/zoo"


@pytest.fixture
def run(log: Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, served: str) -> Run:
    key = SigningKey.generate()
    key.save(tmp_path / "witness.pem", passphrase=PASSPHRASE)
    (tmp_path / "log.pub.pem").write_text(log.key.public.to_pem())
    monkeypatch.setenv("ZOO_KEY_PASSPHRASE", PASSPHRASE.decode())
    monkeypatch.setenv("ZOO_URL", served)
    app = build()

    def command(*more: str) -> ZooError | None:
        arguments = [
            *("witness", "--key", str(tmp_path / "witness.pem")),
            *("--log-key", str(tmp_path / "log.pub.pem")),
            *("--state", str(tmp_path / "state.note"), *more),
        ]
        try:
            app(arguments, standalone_mode=False)
        except ZooError as error:
            return error
        return None

    return command


def test_the_command_looks_once_over_a_socket(
    run: Run, log: Log, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--once") is None
    assert "10 entries, cosigned as verified-model-zoo/witness/" in (
        capsys.readouterr().err
    )
    [note] = log.posted
    assert note.startswith(log.signed().text)
    assert (tmp_path / "state.note").exists()


def test_the_command_is_told_which_key_has_retired(
    run: Run, log: Log, tmp_path: Path
) -> None:
    assert run("--once") is None
    (tmp_path / "log.pub.pem").rename(tmp_path / "old.pub.pem")
    log.key = SigningKey.generate()
    (tmp_path / "log.pub.pem").write_text(log.key.public.to_pem())
    log.append(entry(10))
    assert isinstance(run("--once"), VerificationError)
    retired = ("--retired-log-key", str(tmp_path / "old.pub.pem"))
    assert run("--once", *retired) is None
    same = ("--retired-log-key", str(tmp_path / "log.pub.pem"))
    assert isinstance(run("--once", *same), InvalidSpecError)
    assert len(log.posted) == 2


def test_the_command_ends_with_exit_code_4_at_a_second_history(
    run: Run, log: Log, tmp_path: Path
) -> None:
    assert run("--once") is None
    other = forked(log, 4, 12)
    log.entries, log.nodes = other.entries, other.nodes
    error = run("--interval", "1")
    assert isinstance(error, SplitViewError)
    assert exit_code(error) == 4
    assert len(log.posted) == 1
    assert len(list(tmp_path.glob("state.note.split-view-*"))) == 2


def test_the_command_tells_that_there_is_no_log_yet(run: Run, log: Log) -> None:
    log.entries.clear()
    assert isinstance(run("--once"), NotFoundError)


def test_the_command_does_not_take_an_open_key_file(run: Run, tmp_path: Path) -> None:
    (tmp_path / "witness.pem").chmod(0o644)
    assert isinstance(run("--once"), NotPermittedError)


def test_only_what_time_may_cure_is_tried_again() -> None:
    errors = [TransportError("away"), NotFoundError("empty"), LocalError("full disk")]
    left = iter(errors)

    def look() -> object:
        raise next(left)

    with pytest.raises(LocalError, match="full disk"):
        _look_forever(look, interval_seconds=0)


def test_an_answer_without_end_is_not_read_to_its_end() -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        respond(request, b"x" * (MAX_ANSWER_BYTES + 1))

    with answering(answer) as url, closing(ServerFetcher(Server(url))) as fetcher:
        fetch = log_reader(fetcher, url)
        with pytest.raises(MalformedDocumentError, match="longer than any"):
            fetch("/log/checkpoint")
