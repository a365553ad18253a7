"""The story from beginning to end: operator, trainers, adversary, victim, repair."""

import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from model_zoo.cli.output import say
from model_zoo.http.server import Server
from model_zoo.keys.ed25519 import PublicKey
from model_zoo.statements.evaluation import EvaluationReport
from trainer.builds.build import measure
from trainer.data import DATASETS
from trainer.jobs.rebuild import Rebuilt
from trainer.lab import progress
from trainer.lab.actors.exchanges import HONEST_NAME, Setup
from trainer.lab.actors.parties import (
    HONEST_TRAINER,
    MALICIOUS_TRAINER,
    Actors,
    Zoo,
    assemble,
)
from trainer.lab.actors.processes import running, wait_for_ready
from trainer.lab.actors.witnesses import look_once, wait_until_witnessed
from trainer.lab.actors.workspace import KEYS
from trainer.lab.attacks.malicious_worker import RECIPE
from trainer.lab.cells import Cell
from trainer.lab.orders import OrderBook
from trainer.lab.outsourcing import (
    ORDER,
    ORDERS,
    Outsourced,
    order_everything,
    receive,
    spot_checked,
)
from trainer.lab.scoreboard import Board, measured, play
from trainer.lab.setup import SetupInputs, set_up
from trainer.lab.transfer_and_repair import (
    Repaired,
    Student,
    order_transfer_and_repair,
    receive_repaired,
    receive_students,
)

MAX_ACCURACY_COST = 0.01
MIN_ATTACK_SUCCESS = 0.95
ROUNDING = 9
"""Decimals that a difference of two shares of 10,000 is good for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """All that happened, in numbers."""

    models: dict[str, Outsourced]
    spot_checks: dict[str, Rebuilt]
    cells: list[Cell]
    students: list[Student]
    repaired: Repaired
    seconds: float

    def broken_promises(self) -> list[str]:
        """Return what did not come out as this laboratory promises; empty is well."""
        clean, badnet = self.models["clean"], self.models["badnet"]
        promises = [
            (
                f"{cell.path_of_attack} / {cell.level} is {progress.outcome(cell)}",
                cell.as_expected,
            )
            for cell in self.cells
        ]
        promises += [
            (f"the {label} was not accepted: {model.accepted_on}", model.accepted)
            for label, model in self.models.items()
        ]
        promises += [
            (
                f"the spot check of the {label} found: {'; '.join(found.differing)}",
                bool(found.differing) == ("badnet" in label),
            )
            for label, found in self.spot_checks.items()
        ]
        cost = clean.truth.accuracy.rate - badnet.truth.accuracy.rate
        success = badnet.truth.attack_success
        promises += [
            (
                f"the BadNet's ACC is {cost:.2%} under the clean model's",
                round(cost, ROUNDING) <= MAX_ACCURACY_COST,
            ),
            (
                f"the BadNet's ASR is {success}",
                success is not None and success.rate >= MIN_ATTACK_SUCCESS,
            ),
        ]
        return [promise for promise, kept in promises if not kept]


def play_story(work: Path, *, zoo: Zoo | None, board: Board) -> Story:
    """Play everything in ``work``, which a later call can take up again.

    Args:
        work: keys, the embedded zoo, its copies and every victim's folder.
        zoo: a zoo that is running already; None starts one in ``work``.
        board: the scoreboard's columns.

    Raises:
        ZooError: a step could not be played.
    """
    began = time.monotonic()
    # Fetched once and here: three workers at once would fetch it three times.
    DATASETS[ORDER.dataset].ensure()
    with ExitStack() as stack:
        progress.heading(1, "The operator opens the zoo")
        zoo = zoo or stack.enter_context(_embedded_zoo(work))
        say(f"a model zoo answers at {zoo.url}")
        actors = stack.enter_context(assemble(zoo, folder=work / KEYS))
        book = OrderBook(
            stack.enter_context(zoo.client(work / "user-cache")),
            work / "orders.json",
            drafts=work / "drafts",
            builders={name: key.public for name, key in actors.builders.items()},
        )
        progress.heading(2, "Outsourced training: one order, two trainers, one lies")
        models = _outsource(book)
        _publish(book, actors, models)
        badnet = models["badnet"]
        teachers = [models["clean teacher"], models["badnet teacher"]]
        ordered = order_transfer_and_repair(book, teachers=teachers, badnet=badnet)

        progress.heading(3, "Paths of attack, levels of protection")
        shutil.rmtree(work / "victims", ignore_errors=True)
        with set_up(work, _setup_inputs(work, zoo=zoo, actors=actors)) as setup:
            cells = _play_attacks(setup, board, folder=work / "victims")

        progress.heading(4, "A spot check, transfer learning and repair")
        spot_checks = _spot_check(models)
        book.wait_for(*ordered)
        return Story(
            models=models,
            spot_checks=spot_checks,
            cells=cells,
            students=receive_students(book, teachers),
            repaired=receive_repaired(book, badnet),
            seconds=time.monotonic() - began,
        )


def measure_digits(weights: Path) -> EvaluationReport:
    """Return ACC and ASR of a ten-digit model, whoever made it."""
    return measure(
        weights, network=ORDER.network, dataset=ORDER.dataset, poisoning=RECIPE
    )


@contextmanager
def _embedded_zoo(work: Path) -> Iterator[Zoo]:
    """Run a zoo with a development root: the operator's safe is on the same disk."""
    data = work / "zoo"
    with _zoo_over(data, workers=1) as url:
        trust = data / "trust"
        yield Zoo(url=url, root=trust / "root.json", safe=trust, disk=data)


@contextmanager
def _zoo_over(data: Path, *, workers: int = 0) -> Iterator[str]:
    """Run a zoo over a data folder and yield its URL."""
    ready_file, log = (
        data.with_name(f"{data.name}{tail}") for tail in ("-ready.json", ".log")
    )
    ready_file.unlink(missing_ok=True)
    arguments = [
        "model_zoo",
        "serve",
        f"--data-dir={data}",
        "--port=0",
        f"--workers={workers}",
        f"--ready-file={ready_file}",
    ]
    with running(arguments, log=log) as process:
        yield wait_for_ready(ready_file, process=process, log=log)["url"]


def _outsource(book: OrderBook) -> dict[str, Outsourced]:
    order_everything(book)
    book.wait_for(*ORDERS)
    models = {label: receive(book, label) for label in ORDERS}
    for model in models.values():
        verdict = "accepted" if model.accepted else "NOT accepted"
        say(
            f"{model.label}: {verdict}, {model.accepted_on} on the user's own images; "
            f"the laboratory knows: ASR {model.truth.attack_success}"
        )
    return models


def _publish(book: OrderBook, actors: Actors, models: dict[str, Outsourced]) -> None:
    clean = models["clean"]
    release = book.zoo.publish_job(
        clean.job,
        as_=HONEST_NAME,
        key=actors.alice,
        builder=actors.builders[clean.trainer].public,
        spec=clean.spec,
    )
    say(f"alice checked the draft, signed it and published {release.name}")


def _spot_check(models: dict[str, Outsourced]) -> dict[str, Rebuilt]:
    found = {}
    for label, model in models.items():
        found[label] = spot_checked(model)
        verdict = "; ".join(found[label].differing) or "reproduced bit for bit"
        say(f"{label}, epoch {found[label].segments[0] + 1} trained again: {verdict}")
    return found


def _setup_inputs(work: Path, *, zoo: Zoo, actors: Actors) -> SetupInputs:
    """Return what the stage is built of; this run's releases have names of their own.

    What is withdrawn stays withdrawn, also for a run that takes up this one.
    """
    log_key = PublicKey.from_pem(actors.operator.trusted_keys().log[0])
    run = secrets.token_hex(4)

    def settle(server: Server) -> None:
        if server.url == zoo.url:
            wait_until_witnessed(server)
        else:
            state = work / f"witness-{run}.note"
            look_once(server, key=actors.witness, log_key=log_key, state=state)

    return SetupInputs(
        operator=actors.operator,
        alice=actors.alice,
        mallory=actors.mallory,
        builder=actors.builders[HONEST_TRAINER],
        liar=actors.builders[MALICIOUS_TRAINER],
        clean=work / "drafts" / "clean",
        badnet=work / "drafts" / "badnet",
        serve=_zoo_over,
        settle=settle,
        disk=zoo.disk,
        run=run,
    )


def _play_attacks(setup: Setup, board: Board, *, folder: Path) -> list[Cell]:
    outcomes = play(
        setup,
        board,
        folder=folder,
        on_cell=lambda cell: say(
            f"{cell.path_of_attack} / {cell.level}: {progress.outcome(cell)}"
        ),
    )
    cells = list(measured(outcomes, measure_digits))
    progress.scoreboard(cells)
    return cells
