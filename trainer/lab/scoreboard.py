"""Every path of attack against every level of protection, each cell played."""

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from model_zoo.digests import sha256_file
from model_zoo.errors import (
    InvalidSpecError,
    NotFoundError,
    TransportError,
    VerificationError,
)
from model_zoo.statements.evaluation import EvaluationReport
from trainer.lab.actors.exchanges import Exchange, Setup
from trainer.lab.attacks.paths import (
    AFTER_A_THEFT,
    NEVER_ENDS,
    PATHS_OF_ATTACK,
    UNHARMED,
)
from trainer.lab.cells import ANYTHING, Cell
from trainer.lab.clients.peers import PEERS, PeerRefusedError
from trainer.lab.clients.victim import LEVELS

EXPECTED = {
    "page edit": "AAARRRR",
    "host swap": "AARRRRR",
    "in transit": "ARRRRRR",
    "malicious mirror": "AAARRRR",
    "wrong length": "AARRRRR",
    "endless data": "AAARRRR",
    "slow retrieval": "AAARRRR",
    "look-alike letters": "AAARRRR",
    "look-alike case": "AAARRRR",
    "typosquat": "AAAAARR",
    "malicious publisher": "AAAAARR",
    "stolen key": "AAAAARR",
    "stolen key, revoked": "AAAARRR",
    "rollback": "AAAARRR",
    "freeze": "AAAARRR",
    "mix-and-match": "AAAARRR",
    "expired root": "AAAARRR",
    "dropped role": "AAAARRR",
    "fast-forward": "AAAARRR",
    "key listed twice": "AAAARRR",
    "stolen online keys": "AAARRRR",
    "stolen online keys, old release": "AAAAARR",
    "split view": "AAAAARR",
}
"""A accepted, R refused, in the order of LEVELS: the promise of this laboratory."""

EXPECTED_OF_PEERS = {
    "page edit": "AARR",
    "host swap": "RARR",
    "in transit": "RARR",
    "malicious mirror": "AARR",
    "wrong length": "RRRR",
    "endless data": "AAAR",
    "slow retrieval": "AAAA",
    "look-alike letters": "ARAR",
    "look-alike case": "AAAR",
    "typosquat": "AAAA",
    "malicious publisher": "AAAA",
    "stolen key": "AAAA",
    "stolen key, revoked": "AAAR",
    "rollback": "AAAR",
    "freeze": "AAAR",
    "mix-and-match": "AAAR",
    "expired root": "AAAR",
    "dropped role": "AAAR",
    "fast-forward": "AAAR",
    "key listed twice": "AAAR",
    "stolen online keys": "AAAR",
    "stolen online keys, old release": "AAAA",
    "split view": "AAAA",
}
"""The same of stock clients, in the order of PEERS."""

Level = Callable[[Exchange, Path], Path]
"""Goes for what a scene offers, in a folder of its own; returns the weights."""


@dataclass(frozen=True, slots=True)
class Board:
    """The columns to play, and what is promised: path -> one letter a column."""

    levels: Mapping[str, Level]
    expected: Mapping[str, str]


OWN = Board(LEVELS, EXPECTED)
"""The script, and our client at each of its levels."""
FULL = Board(
    {**LEVELS, **PEERS},
    {path: row + EXPECTED_OF_PEERS[path] for path, row in EXPECTED.items()},
)
"""Stock clients beside them."""
CONTROLS = Board(
    LEVELS, {"honest release": "AAAAAAA", "copy of the honest release": "AAAAARA"}
)
"""Nobody hands out a backdoor: what is refused here is refused for something else."""


def unpromised(board: Board, level: str) -> Board:
    """Return the board with nothing promised of one of its columns."""
    column = list(board.levels).index(level)
    return Board(
        board.levels,
        {
            path: f"{row[:column]}{ANYTHING}{row[column + 1 :]}"
            for path, row in board.expected.items()
        },
    )


@dataclass(frozen=True, slots=True)
class _Victim:
    """A victim under way: the scene he was given, and what will come of him."""

    exchange: Exchange
    outcome: Future[Path]


def play(
    setup: Setup,
    board: Board,
    *,
    folder: Path,
    on_cell: Callable[[Cell], None],
) -> list[tuple[Cell, Path | None]]:
    """Play all cells, each victim in a folder of its own; return them as they stand.

    The victims of one path go at the same time; those of a path that never ends are
    waited for last, since only patience is spent on them.

    Args:
        setup: the zoo, the mirror and the actors' keys.
        board: how each column's victims go about it, and what is promised.
        folder: takes one folder a victim; must be empty.
        on_cell: called with each cell as it ends.

    Returns:
        Each cell, with the weights its victim ended up with.
    """
    levels, expected = board.levels, board.expected
    paths = [path for path in expected if setup.stolen or path not in AFTER_A_THEFT]
    first = [path for path in paths if path in NEVER_ENDS]
    with ThreadPoolExecutor(len(levels) * (1 + len(first))) as pool:
        running = {
            path: _started(pool, setup, levels, path=path, folder=folder)
            for path in first
        }
        played: dict[str, list[tuple[Cell, Path | None]]] = {}
        for path in sorted(paths, key=NEVER_ENDS.__contains__):
            row = running.get(path) or _started(
                pool, setup, levels, path=path, folder=folder
            )
            outcomes = zip(levels, expected[path], row, strict=True)
            played[path] = [
                _outcome(
                    Cell(path_of_attack=path, level=level, expected=letter), it, on_cell
                )
                for level, letter, it in outcomes
            ]
    return [outcome for path in paths for outcome in played[path]]


def measured(
    outcomes: list[tuple[Cell, Path | None]],
    measure: Callable[[Path], EvaluationReport],
) -> Iterator[Cell]:
    """Yield the cells with what each accepted model costs its user.

    Args:
        outcomes: what ``play`` returned.
        measure: weights -> ACC and ASR over the whole test set.
    """
    costs: dict[str, EvaluationReport] = {}
    for cell, weights in outcomes:
        if weights is None:
            yield cell
            continue
        sha256 = sha256_file(weights)
        if sha256 not in costs:
            costs[sha256] = measure(weights)
        yield replace(cell, sha256=sha256, cost=costs[sha256])


def _started(
    pool: ThreadPoolExecutor,
    setup: Setup,
    levels: Mapping[str, Level],
    *,
    path: str,
    folder: Path,
) -> list[_Victim]:
    attack = (PATHS_OF_ATTACK | UNHARMED)[path]
    shared = None if path in NEVER_ENDS else attack(setup)
    started = []
    for name, level in levels.items():
        # Absolute: a stock client is started in his folder, and given its path.
        here = folder.resolve() / path.replace(" ", "-") / name
        here.mkdir(parents=True)
        # Each victim of an attack that only lasts is outlasted by himself, or not.
        exchange = shared or attack(setup)
        started.append(_Victim(exchange, pool.submit(level, exchange, here)))
    return started


def _outcome(
    cell: Cell, victim: _Victim, on_cell: Callable[[Cell], None]
) -> tuple[Cell, Path | None]:
    weights = None
    try:
        weights = victim.outcome.result()
    except PeerRefusedError as error:
        cell = replace(cell, error=error.kind, message=str(error))
    except (
        VerificationError,
        TransportError,
        InvalidSpecError,
        NotFoundError,
    ) as error:
        cell = replace(cell, error=type(error).__name__, message=str(error))
    failure = victim.outcome.exception()
    if any(it.has_beaten(failure) for it in victim.exchange.attritions):
        # What came of it afterwards is the adversary's mercy, and no defence.
        cell = replace(cell, hung=True, error="", message="reading to the very last")
        weights = None
    on_cell(cell)
    return cell, weights
