"""The log in a database: what is appended, what is served, whose word is kept."""

import asyncio
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import event
from sqlalchemy.exc import IntegrityError

from model_zoo.errors import (
    InvalidSpecError,
    MalformedDocumentError,
    NotFoundError,
    NotPermittedError,
    PolicyNotMetError,
    VerificationError,
)
from model_zoo.keys.ed25519 import SigningKey
from model_zoo.transparency.client import LogTrust, gather_evidence, verify_evidence
from model_zoo.transparency.merkle import (
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    verify_consistency,
    verify_inclusion,
)
from model_zoo.transparency.notes import Note, cosign_text, from_base64
from model_zoo.transparency.tlog import (
    Checkpoint,
    LogEntry,
    SignedCheckpoint,
    TileNodes,
    from_bundle,
)
from model_zoo.transparency.witness import Witness
from service.api import transparency
from service.database.engine import Database
from service.database.tables import CheckpointRow, Table
from service.database.transparency import (
    accept_cosignature,
    append,
    log_size,
    newest_checkpoint,
    witnessed_checkpoint,
)
from service.http import errors
from service.settings import Settings
from service.storage.high_water_mark import SERVED_FILE, HighWaterMark

ORIGIN = "verified-model-zoo/0123456789abcdef"
NOW = datetime(2026, 11, 22, 13, 0, tzinfo=UTC)
KEY, W1, W2 = (SigningKey.generate() for _ in range(3))
STEPS = [(0, 3), (3, 256), (256, 300), (300, 1000)]
WITNESSES = [W1.public, W2.public]


def entries(begin: int, end: int) -> list[LogEntry]:
    return [
        LogEntry(kind="metadata", name="alice", version=n, sha256=f"{n:064x}")
        for n in range(begin, end)
    ]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database.open(f"sqlite:///{tmp_path / 'zoo.db'}")
    Table.metadata.create_all(opened.engine)
    yield opened
    opened.close()


def grow(database: Database, begin: int, end: int) -> Checkpoint:
    with database.writing() as session:
        return append(session, entries(begin, end), signer=KEY, origin=ORIGIN, now=NOW)


def newest(database: Database) -> SignedCheckpoint:
    with database.reading() as session:
        note = newest_checkpoint(session)
    return SignedCheckpoint.open(note.to_bytes(), [KEY.public])


def cosign(
    database: Database, *keys: SigningKey, text: str | None = None, late: int = 0
) -> int:
    """Bring the cosignatures of ``keys``, made ``late`` minutes after NOW."""
    text = newest(database).note.text if text is None else text
    when = NOW + timedelta(minutes=late)
    lines = [cosign_text(text, name="w.example", key=key, now=when) for key in keys]
    with database.writing() as session:
        note = Note(text, tuple(lines))
        return accept_cosignature(session, note, witnesses=WITNESSES, now=NOW)


def ask(database: Database, path: str, body: object = None) -> httpx.Response:
    """Ask the two routers alone, in process."""
    app = FastAPI()
    app.include_router(transparency.files)
    app.include_router(transparency.router, prefix="/api/v1")
    errors.install(app)
    app.state.context = Served(database)

    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(
            transport=transport, base_url="http://zoo", trust_env=False
        ) as client:
            if body is None:
                return await client.get(path)
            headers = {"Content-Type": "application/json"}
            content = json.dumps(body).encode()
            return await client.post(path, content=content, headers=headers)

    return asyncio.run(send())


class Served:
    """The parts of a service that the log's routes ask for."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.settings = Settings(data_dir=Path("unused"))
        beside = Path(str(database.engine.url.database))
        self.served = HighWaterMark(beside.with_name(SERVED_FILE))


def tile_nodes(database: Database, size: int) -> TileNodes:
    def fetch(path: str) -> bytes:
        response = ask(database, f"/log/{path}")
        assert response.status_code == 200, response.text
        return response.content

    return TileNodes(size, fetch)


def test_an_entry_is_in_the_log_that_is_signed(database: Database) -> None:
    made = grow(database, 0, 1)
    signed = newest(database)
    assert signed.checkpoint == made
    assert made.root == entries(0, 1)[0].leaf_hash()
    assert (made.origin, made.size) == (ORIGIN, 1)


def test_appending_in_steps_or_at_once_gives_one_tree(
    database: Database, tmp_path: Path
) -> None:
    sizes = [1, 2, 5, 6, 13, 64, 300, 301]
    for begin, end in zip([0, *sizes], sizes, strict=False):
        grow(database, begin, end)
    other = Database.open(f"sqlite:///{tmp_path / 'other.db'}")
    Table.metadata.create_all(other.engine)
    assert grow(other, 0, 301) == newest(database).checkpoint
    other.close()


def test_served_tiles_prove_every_entry_and_every_step(database: Database) -> None:
    roots = {end: grow(database, begin, end).root for begin, end in STEPS}
    size = max(roots)
    nodes = tile_nodes(database, size)
    for index in (0, 255, 256, 700, size - 1):
        leaf = entries(index, index + 1)[0].leaf_hash()
        verify_inclusion(
            leaf,
            inclusion_proof(index, size, nodes),
            index=index,
            size=size,
            root=roots[size],
        )
    for old, root in roots.items():
        verify_consistency(
            consistency_proof(old, size, nodes),
            old=old,
            new=size,
            old_root=root,
            new_root=roots[size],
        )


def test_an_append_reads_as_many_nodes_as_the_tree_has_peaks(
    database: Database,
) -> None:
    grow(database, 0, 511)
    rows = []

    def count(*arguments: object) -> None:
        statement = str(arguments[2])
        if statement.startswith("SELECT") and "log_nodes" in statement:
            rows.append(arguments[3])

    event.listen(database.engine, "before_cursor_execute", count)
    grow(database, 511, 512)
    [parameters] = rows
    assert isinstance(parameters, tuple)
    assert len(parameters) == 2 * (511).bit_count()


def test_what_is_not_committed_was_never_logged(database: Database) -> None:
    grow(database, 0, 3)

    def append_and_fail() -> None:
        with database.writing() as session:
            append(session, entries(3, 9), signer=KEY, origin=ORIGIN, now=NOW)
            raise NotFoundError(str(log_size(session)))

    with pytest.raises(NotFoundError, match="9"):
        append_and_fail()
    assert newest(database).checkpoint.size == 3
    assert grow(database, 3, 4).size == 4


def test_a_log_signs_no_two_checkpoints_of_one_size(database: Database) -> None:
    """Also where two writers could begin at once: the primary key decides."""
    grow(database, 0, 3)
    other = Checkpoint(ORIGIN, 3, bytes(32)).signed(KEY).to_text()
    with pytest.raises(IntegrityError), database.writing() as session:
        session.add(CheckpointRow(size=3, note=other, created_at=NOW))


def test_nothing_is_signed_for_nothing(database: Database) -> None:
    with (
        database.writing() as session,
        pytest.raises(ValueError, match="nothing to append"),
    ):
        append(session, [], signer=KEY, origin=ORIGIN, now=NOW)


def test_the_same_entry_twice_is_found_where_it_was_first(database: Database) -> None:
    grow(database, 0, 4)
    grow(database, 2, 3)
    leaf = entries(2, 3)[0].leaf_hash().hex()
    assert ask(database, f"/api/v1/log/entries/{leaf}").json() == {"index": 2}


def test_an_empty_log_has_no_checkpoint(database: Database) -> None:
    for path in ("/log/checkpoint", "/log/witnessed", "/log/tile/0/000"):
        response = ask(database, path)
        assert response.status_code == 404
        assert response.json()["code"] == "NotFoundError"


def test_a_checkpoint_is_text_that_caches_ask_about(database: Database) -> None:
    grow(database, 0, 3)
    response = ask(database, "/log/checkpoint")
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert response.headers["cache-control"] == "no-cache"
    assert SignedCheckpoint.open(response.content, [KEY.public]).checkpoint.size == 3


def test_tiles_and_bundles_are_kept_for_good(database: Database) -> None:
    grow(database, 0, 300)
    full = ask(database, "/log/tile/0/000")
    assert full.headers["content-type"] == "application/octet-stream"
    assert full.headers["cache-control"] == "public, max-age=31536000, immutable"
    assert len(full.content) == 256 * 32
    part = ask(database, "/log/tile/0/001.p/44").content
    leaves = [entry.leaf_hash() for entry in entries(0, 300)]
    assert full.content + part == b"".join(leaves)
    assert ask(database, "/log/tile/1/000.p/1").status_code == 200
    bundle = from_bundle(ask(database, "/log/tile/entries/001.p/44").content, width=44)
    assert [leaf_hash(data) for data in bundle] == leaves[256:]


@pytest.mark.parametrize(
    "path",
    [
        "0/001",
        "0/001.p/45",
        "0/002",
        "1/000",
        "1/000.p/2",
        "2/000.p/1",
        "63/000.p/1",
        "entries/001",
        "entries/001.p/45",
        "entries/x999/x999/x999/x999/x999/999",
        "0/x999/x999/x999/x999/x999/999.p/255",
        "0/000.p/0",
        "0/000.p/256",
        "0/0",
        "%2e%2e/checkpoint",
        "0/%2e%2e/000",
        "",
    ],
)
def test_a_tile_that_the_log_does_not_fill_is_not_found(
    database: Database, path: str
) -> None:
    grow(database, 0, 300)
    response = ask(database, f"/log/tile/{path}")
    assert response.status_code == 404, response.text


def test_proofs_are_of_the_size_and_the_entries_asked_for(database: Database) -> None:
    grow(database, 0, 200)
    root = grow(database, 200, 300).root
    grow(database, 300, 310)
    wanted = [entries(index, index + 1)[0].leaf_hash() for index in (299, 0, 128)]
    leaves = "".join(f"&leaf={leaf.hex()}" for leaf in wanted)
    answer = ask(database, f"/api/v1/log/proofs?size=300{leaves}").json()
    for leaf, item in zip(wanted, answer["items"], strict=True):
        proof = [from_base64(text) for text in item["proof"]]
        verify_inclusion(leaf, proof, index=item["index"], size=300, root=root)


@pytest.mark.parametrize(
    ("query", "status"),
    [
        (f"size=3&leaf={entries(2, 3)[0].leaf_hash().hex()}", 200),
        (f"size=2&leaf={entries(2, 3)[0].leaf_hash().hex()}", 404),
        (f"size=4&leaf={entries(2, 3)[0].leaf_hash().hex()}", 404),
        (f"size=3&leaf={'0' * 64}", 404),
        (f"size=0&leaf={'0' * 64}", 400),
        (f"size={2**63}&leaf={'0' * 64}", 400),
        (f"size={2**63 - 1}&leaf={'0' * 64}", 404),
        ("size=3&leaf=x", 400),
        ("size=3", 400),
        ("size=3" + f"&leaf={'0' * 64}" * 65, 400),
    ],
)
def test_no_proof_is_given_of_what_is_not_there(
    database: Database, query: str, status: int
) -> None:
    grow(database, 0, 3)
    response = ask(database, f"/api/v1/log/proofs?{query}")
    assert response.status_code == status, response.text


@pytest.mark.parametrize("leaf", ["0" * 64, "x", "0" * 4000, "'; --"])
def test_an_entry_that_was_never_logged_is_not_found(
    database: Database, leaf: str
) -> None:
    grow(database, 0, 3)
    assert ask(database, f"/api/v1/log/entries/{leaf}").status_code == 404


def test_cosignatures_come_with_the_checkpoint_that_they_are_of(
    database: Database,
) -> None:
    grow(database, 0, 3)
    assert cosign(database, W1) == 3
    assert cosign(database, W2) == 3
    grow(database, 3, 5)
    with database.reading() as session:
        witnessed = witnessed_checkpoint(session, cosignatures=2)
        assert newest_checkpoint(session).cosignature(W1.public) is None
    assert Checkpoint.parse(witnessed.text).size == 3
    for key in WITNESSES:
        assert witnessed.cosignature(key) is not None
    response = ask(database, "/log/witnessed")
    assert response.content == witnessed.to_bytes()
    cosign(database, W1)
    newer = Note.parse(ask(database, "/log/witnessed").content)
    assert Checkpoint.parse(newer.text).size == 5
    by_two = ask(database, "/log/witnessed?cosignatures=2").content
    assert by_two == witnessed.to_bytes()
    assert ask(database, "/log/witnessed?cosignatures=3").status_code == 404
    assert ask(database, "/log/witnessed?cosignatures=0").status_code == 400


def test_a_witness_that_looks_again_replaces_its_line_by_the_newer(
    database: Database,
) -> None:
    grow(database, 0, 3)
    for late in (0, 3, 1):
        cosign(database, W1, late=late)
    note = newest(database).note
    found = note.cosignature(W1.public)
    assert found is not None
    assert found.time == NOW + timedelta(minutes=3)
    assert len(note.signatures) == 2


def test_a_stranger_s_cosignature_is_not_kept(database: Database) -> None:
    grow(database, 0, 3)
    with pytest.raises(NotPermittedError, match="none of this zoo's witnesses"):
        cosign(database, SigningKey.generate())
    with pytest.raises(NotPermittedError):
        cosign(database)
    assert len(newest(database).note.signatures) == 1


def test_a_stranger_s_line_beside_a_witness_s_is_dropped(database: Database) -> None:
    grow(database, 0, 3)
    cosign(database, W1, SigningKey.generate())
    assert len(newest(database).note.signatures) == 2


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(Checkpoint(ORIGIN, 3, bytes(32)).to_text(), id="another root"),
        pytest.param(Checkpoint(ORIGIN, 4, bytes(32)).to_text(), id="another size"),
        pytest.param(
            Checkpoint(ORIGIN, 2**63 - 1, bytes(32)).to_text(), id="a huge size"
        ),
        pytest.param(Checkpoint("other", 3, bytes(32)).to_text(), id="another log"),
    ],
)
def test_a_checkpoint_that_the_log_never_signed_is_not_cosigned(
    database: Database, text: str
) -> None:
    grow(database, 0, 3)
    with pytest.raises(NotFoundError, match="signed no such checkpoint"):
        cosign(database, W1, text=text)


def test_a_cosignature_from_the_future_is_refused(database: Database) -> None:
    grow(database, 0, 3)
    with pytest.raises(InvalidSpecError, match="yet to come"):
        cosign(database, W1, late=6)
    assert len(newest(database).note.signatures) == 1
    cosign(database, W1, late=5)


def test_a_line_that_lies_about_its_key_spoils_the_whole_note(
    database: Database,
) -> None:
    grow(database, 0, 3)
    text = newest(database).note.text
    good = cosign_text(text, name="w", key=W1, now=NOW)
    bad = cosign_text(text + "x\n", name="w", key=W2, now=NOW)
    note = Note(text, (good, bad))
    with pytest.raises(VerificationError), database.writing() as session:
        accept_cosignature(session, note, witnesses=WITNESSES, now=NOW)
    assert len(newest(database).note.signatures) == 1


def test_a_text_that_is_no_checkpoint_is_refused(database: Database) -> None:
    grow(database, 0, 3)
    with pytest.raises(MalformedDocumentError):
        cosign(database, W1, text="hello\n")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"note": "hello"}, 422),
        ({"note": "\udc80"}, 400),
        ({"note": 3}, 400),
        ({}, 400),
        ({"note": "x", "more": 1}, 400),
        ({"note": "x" * 70_000}, 400),
    ],
)
def test_a_post_that_is_no_note_is_refused(
    database: Database, body: object, status: int
) -> None:
    response = ask(database, "/api/v1/log/cosignatures", body)
    assert response.status_code == status, response.text


def test_witness_client_and_service_fit_together(
    database: Database, tmp_path: Path
) -> None:
    def fetch(path: str) -> bytes:
        response = ask(database, path)
        if response.status_code == 404:
            raise NotFoundError(path)
        assert response.status_code == 200, response.text
        return response.content

    def submit(note: str) -> None:
        with database.writing() as session:
            parsed = Note.parse(note.encode())
            accept_cosignature(session, parsed, witnesses=WITNESSES, now=NOW)

    witnesses = [
        Witness(key=key, log_keys=[KEY.public], state=tmp_path / f"{name}.note")
        for name, key in (("one", W1), ("two", W2))
    ]
    trust = LogTrust(
        origin=ORIGIN,
        keys=(KEY.public,),
        witnesses=tuple(WITNESSES),
        cosignatures=2,
    )
    for begin, end in STEPS:
        grow(database, begin, end)
        for witness in witnesses:
            witness.look(fetch, submit, now=NOW)
        wanted = entries(begin, end)[:3]
        evidence = gather_evidence(
            fetch, wanted, trust=trust, cache=tmp_path / "cache", now=NOW
        )
        shown = verify_evidence(evidence, wanted, trust=trust, now=NOW)
        assert (shown.size, shown.witnessed_at) == (end, NOW)
    grow(database, 1000, 1001)
    with pytest.raises(PolicyNotMetError, match="try again in a minute"):
        gather_evidence(
            fetch,
            entries(1000, 1001),
            trust=trust,
            cache=tmp_path / "cache",
            now=NOW,
        )
