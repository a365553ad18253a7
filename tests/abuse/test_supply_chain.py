"""Every path of attack of the laboratory against our client's levels of trust.

The same attacks as ``zoo lab`` plays, over real sockets, with weights of a few bytes
and without training: what is refused, and for which reason.
"""

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from tuf.api.exceptions import DownloadError, RepositoryError

from model_zoo.client.zoo import ZooClient
from model_zoo.digests import sha256_file
from model_zoo.errors import (
    DigestMismatchError,
    ExpiredMetadataError,
    InvalidSpecError,
    MalformedDocumentError,
    PolicyNotMetError,
    RollbackError,
    SplitViewError,
    ThresholdNotMetError,
    TransferLimitError,
    YankedError,
    ZooError,
)
from model_zoo.http.client import HttpClient
from model_zoo.http.deadlines import DownloadLimits
from model_zoo.http.downloads import Downloader
from model_zoo.http.server import Server
from model_zoo.http.transport import Transport
from model_zoo.keys.ed25519 import PublicKey, SigningKey
from model_zoo.statements.dsse import Role
from model_zoo.statements.policy import Policy
from model_zoo.statements.scan import ScannerResult, ScanReport
from model_zoo.tuf.updater import Anchor
from tests.model_zoo.releases import weights
from tests.model_zoo.servers import open_zoo
from trainer.defenses.scanners.scan import Scan
from trainer.lab.actors.artefacts import provenance_of
from trainer.lab.actors.exchanges import (
    HONEST_NAME,
    LOOKALIKE_NAME,
    TYPOSQUAT_NAME,
    Exchange,
    Setup,
)
from trainer.lab.actors.operator import Operator
from trainer.lab.actors.witnesses import look_once
from trainer.lab.attacks.paths import PATHS_OF_ATTACK
from trainer.lab.cells import Cell
from trainer.lab.clients.python_tuf import downloaded, updater
from trainer.lab.clients.scanning import SuspiciousError
from trainer.lab.clients.victim import LEVELS
from trainer.lab.scoreboard import CONTROLS, EXPECTED, EXPECTED_OF_PEERS, Board, play
from trainer.lab.setup import SetupInputs, set_up

ALICE, MALLORY, BUILDER, LIAR, WITNESS = (SigningKey.generate() for _ in range(5))
NAMES = (
    (HONEST_NAME.publisher, ALICE),
    (LOOKALIKE_NAME.publisher, MALLORY),
    (TYPOSQUAT_NAME.publisher, MALLORY),
)
ACCEPTED = None
IMPATIENT = DownloadLimits(window_seconds=0.5, pauses_seconds=())

Refusal = type[ZooError] | None
REFUSALS: dict[str, tuple[Refusal, Refusal]] = {
    "page edit": (DigestMismatchError, DigestMismatchError),
    "host swap": (DigestMismatchError, DigestMismatchError),
    "in transit": (DigestMismatchError, DigestMismatchError),
    "malicious mirror": (ThresholdNotMetError, ThresholdNotMetError),
    "wrong length": (MalformedDocumentError, MalformedDocumentError),
    "endless data": (MalformedDocumentError, MalformedDocumentError),
    "slow retrieval": (TransferLimitError, TransferLimitError),
    "look-alike letters": (InvalidSpecError, InvalidSpecError),
    "look-alike case": (InvalidSpecError, InvalidSpecError),
    "typosquat": (ACCEPTED, PolicyNotMetError),
    "malicious publisher": (ACCEPTED, PolicyNotMetError),
    "stolen key": (ACCEPTED, ThresholdNotMetError),
    "stolen key, revoked": (YankedError, YankedError),
    "rollback": (RollbackError, RollbackError),
    "freeze": (ExpiredMetadataError, ExpiredMetadataError),
    "mix-and-match": (RollbackError, RollbackError),
    "expired root": (ExpiredMetadataError, ExpiredMetadataError),
    "dropped role": (MalformedDocumentError, MalformedDocumentError),
    "fast-forward": (YankedError, YankedError),
    "key listed twice": (MalformedDocumentError, MalformedDocumentError),
    "stolen online keys": (ThresholdNotMetError, ThresholdNotMetError),
    "stolen online keys, old release": (ACCEPTED, ExpiredMetadataError),
    "split view": (ACCEPTED, PolicyNotMetError),
}
"""Path -> what ``trust`` and ``trust+policy`` say to it."""
LEVELS_OF_TRUST = ("trust", "trust+policy", "trust+scan")
BACKDOOR = b"\x41"
"""The last byte of the file that is to pass for a BadNet."""


def refusal(path: str, level: str) -> Refusal:
    """Return what a level says; a scan refuses what trust alone would take."""
    of_trust, of_policy = REFUSALS[path]
    if level == "trust+scan":
        return of_trust or SuspiciousError
    return of_policy if level == "trust+policy" else of_trust


def look(weights: Path) -> Scan:
    """Return what a scanner that never errs says of files too small to scan."""
    is_backdoored = weights.read_bytes().endswith(BACKDOOR)
    report = ScanReport(
        verdict="suspicious" if is_backdoored else "nothing found",
        why="its last byte says so",
        scanners=(ScannerResult(name="last-layer", outcome="ran", score=0.0),),
        files=(),
        network="stand-in",
        passes=0,
        seconds=0,
    )
    return Scan(report=report, triggers={})


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The laboratory's folder."""
    return tmp_path_factory.mktemp("stage")


@pytest.fixture(scope="module")
def inputs(work: Path) -> Iterator[SetupInputs]:
    """A zoo on a socket, a witness, a clean release, and a file that is not."""
    with ExitStack() as stack:
        server = Server(stack.enter_context(open_zoo(work / "zoo")))
        safe = work / "zoo" / "trust"
        anchor = Anchor(root=(safe / "root.json").read_bytes(), cache=work / "cache")
        transport = stack.enter_context(Transport(server))
        operator = Operator(transport=transport, anchor=anchor, safe=safe)
        clean = _folder(work / "draft-clean", weights(8))
        badnet = _folder(work / "draft-badnet", weights(8)[:-1] + BACKDOOR)
        with ZooClient(server.url, anchor=anchor) as zoo:
            for name, key in (("builder", BUILDER), ("liar", LIAR)):
                zoo.bind_trainer(name, key.public)
            operator.admit({name: Role(keys=(key.public,)) for name, key in NAMES})
            operator.trust(
                witnesses=[WITNESS.public],
                builders=[BUILDER.public],
                no_builders=[LIAR.public],
            )
            provenance = provenance_of(clean, builder=BUILDER)
            zoo.publish(HONEST_NAME, clean, key=ALICE, provenance=provenance)
        log_key = PublicKey.from_pem(operator.trusted_keys().log[0])

        def settle(server: Server) -> None:
            state = work / f"witness-{server.parts.port}.note"
            look_once(server, key=WITNESS, log_key=log_key, state=state)

        yield SetupInputs(
            operator=operator,
            alice=ALICE,
            mallory=MALLORY,
            builder=BUILDER,
            liar=LIAR,
            clean=clean,
            badnet=badnet,
            serve=open_zoo,
            settle=settle,
            look=look,
            disk=work / "zoo",
            run="2",
        )


@pytest.fixture(scope="module")
def setup(work: Path, inputs: SetupInputs) -> Iterator[Setup]:
    """All that the adversary has prepared; after an interruption, as it happens."""
    with set_up(work, replace(inputs, run="1")):
        pass
    with set_up(work, inputs) as setup:
        yield setup


def _folder(folder: Path, data: bytes) -> Path:
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(data)
    return folder


@pytest.fixture(scope="module")
def scenes(setup: Setup) -> dict[str, Exchange]:
    """Every path of attack, prepared."""
    return {path: attack(setup) for path, attack in PATHS_OF_ATTACK.items()}


def test_every_path_of_attack_has_a_row() -> None:
    assert list(REFUSALS) == list(PATHS_OF_ATTACK) == list(EXPECTED)
    assert tuple(LEVELS)[-3:] == LEVELS_OF_TRUST
    for path, row in EXPECTED.items():
        errors = [refusal(path, level) for level in LEVELS_OF_TRUST]
        letters = "".join("A" if error is ACCEPTED else "R" for error in errors)
        assert row[-3:] == letters, path


@pytest.mark.parametrize("level", LEVELS_OF_TRUST)
@pytest.mark.parametrize("path", [p for p in REFUSALS if p != "slow retrieval"])
def test_what_our_client_says_to_it(
    path: str, level: str, scenes: dict[str, Exchange], tmp_path: Path
) -> None:
    expected = refusal(path, level)
    if expected is ACCEPTED:
        taken = LEVELS[level](scenes[path], tmp_path)
        assert taken.exists()
        return
    with pytest.raises(ZooError) as raised:
        LEVELS[level](scenes[path], tmp_path)
    assert type(raised.value) is expected, raised.value
    assert not (tmp_path / "pulled" / "model.safetensors").exists()


def test_where_nobody_attacks_every_level_takes_the_model_but_not_from_everybody(
    setup: Setup, tmp_path: Path
) -> None:
    outcomes = play(setup, CONTROLS, folder=tmp_path, on_cell=lambda _: None)
    assert [cell for cell, _ in outcomes if not cell.as_expected] == []
    refused = [(cell.path_of_attack, cell.error) for cell, _ in outcomes if cell.error]
    assert refused == [("copy of the honest release", "PolicyNotMetError")]
    clean = sha256_file(setup.clean / "model.safetensors")
    assert {sha256_file(taken) for _, taken in outcomes if taken} == {clean}


def test_slow_retrieval_ends_with_our_clients_patience(
    setup: Setup, scenes: dict[str, Exchange], tmp_path: Path
) -> None:
    weights = setup.clean / "model.safetensors"
    to = tmp_path / "model.safetensors"
    server = Server(scenes["slow retrieval"].url)
    with pytest.raises(TransferLimitError, match="too slow"):
        Downloader(HttpClient(server, IMPATIENT)).fetch(
            "/api/v1/models/alice/digits/releases/1/files/model.safetensors",
            to,
            size_bytes=weights.stat().st_size,
            sha256=sha256_file(weights),
        )
    assert not to.exists()


def test_who_was_shown_a_split_view_finds_out_when_he_sees_the_true_log(
    setup: Setup, scenes: dict[str, Exchange], tmp_path: Path
) -> None:
    LEVELS["trust"](scenes["split view"], tmp_path)
    anchor = Anchor(root=setup.root, cache=tmp_path / "cache")
    true = setup.mirror.mount(setup.upstream).url
    with ZooClient(true, anchor=anchor) as zoo, pytest.raises(SplitViewError):
        zoo.pull(HONEST_NAME, policy=Policy(), to=tmp_path / "later")


def test_the_mirror_does_harm_by_its_behaviour_alone(
    setup: Setup, tmp_path: Path
) -> None:
    anchor = Anchor(root=setup.root, cache=tmp_path / "cache")
    url = setup.mirror.mount(setup.upstream).url
    with ZooClient(url, anchor=anchor) as zoo:
        pulled = zoo.pull(HONEST_NAME, policy=Policy(), to=tmp_path / "pulled")
    assert pulled.statement.release == HONEST_NAME


@pytest.mark.parametrize("path", [p for p in REFUSALS if p != "slow retrieval"])
def test_what_python_tuf_alone_says_to_it(
    path: str, scenes: dict[str, Exchange], tmp_path: Path
) -> None:
    exchange = scenes[path]
    root = tmp_path / "root.json"
    root.write_bytes(exchange.root)
    now = exchange.clock().isoformat()
    task = {"folder": str(tmp_path), "root": str(root), "now": now}
    wanted = exchange.wanted
    target = f"{wanted.publisher}/{wanted.model}/{wanted.version}/model.safetensors"
    try:
        for url in exchange.visited:
            updater(url, task).refresh()
        said = downloaded(updater(exchange.url, task), target)
    except (DownloadError, RepositoryError):
        said = {}
    assert ("file" in said) == (EXPECTED_OF_PEERS[path][-1] == "A"), said


def test_an_attack_that_only_lasts_is_judged_by_who_is_still_reading(
    setup: Setup, tmp_path: Path
) -> None:
    columns = ("none", "digest", "trust")
    board = Board({name: LEVELS[name] for name in columns}, {"endless data": "AAR"})
    outcomes = play(setup, board, folder=tmp_path, on_cell=lambda _: None)
    cells = [cell for cell, _ in outcomes]
    assert [cell.hung for cell in cells] == [True, True, False]
    assert [cell.error for cell in cells] == ["", "", "MalformedDocumentError"]
    assert all(cell.as_expected for cell in cells)
    assert [weights for _, weights in outcomes] == [None] * 3


def test_what_begins_with_a_theft_is_left_out_where_no_disk_can_be_stolen(
    work: Path, inputs: SetupInputs, tmp_path: Path
) -> None:
    board = Board({"trust": LEVELS["trust"]}, {"host swap": "R", "split view": "A"})
    told: list[Cell] = []
    with set_up(work / "elsewhere", replace(inputs, disk=None, run="3")) as setup:
        outcomes = play(setup, board, folder=tmp_path, on_cell=told.append)
    ((cell, weights),) = outcomes
    assert (cell.path_of_attack, cell.error) == ("host swap", "DigestMismatchError")
    assert (told, weights, cell.as_expected) == ([cell], None, True)
