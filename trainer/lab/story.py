"""The story from beginning to end: operator, trainers, adversary, victim, repair."""

import secrets
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from model_zoo.cli.output import say
from model_zoo.client.zoo import ZooClient
from model_zoo.http.server import Server
from model_zoo.keys.ed25519 import PublicKey
from model_zoo.statements.jobs import NoopSpec, foreign_names
from trainer.data import DATASETS
from trainer.jobs.attempt import MODEL
from trainer.jobs.rebuild import Rebuilt
from trainer.lab import progress
from trainer.lab.actors.exchanges import HONEST_NAME, Look, Setup
from trainer.lab.actors.parties import (
    HONEST_TRAINER,
    MALICIOUS_TRAINER,
    WORKERS,
    Actors,
    Zoo,
    assemble,
)
from trainer.lab.actors.processes import running, wait_for_ready
from trainer.lab.actors.witnesses import look_once, wait_until_witnessed
from trainer.lab.actors.workspace import KEYS
from trainer.lab.cells import Cell
from trainer.lab.clients.victim import SCAN_LEVEL
from trainer.lab.orders import Order, OrderBook
from trainer.lab.outsourcing import Outsourced, receive, spot_checked
from trainer.lab.promises import Story
from trainer.lab.scenario import Scenario
from trainer.lab.scoreboard import CONTROLS, Board, measured, play, unpromised
from trainer.lab.setup import SetupInputs, set_up
from trainer.lab.transfer_and_repair import (
    Examined,
    Repaired,
    Student,
    order_repair_of_the_student,
    order_transfer_and_repair,
    receive_repairs,
    receive_students,
)


def play_story(
    work: Path, *, scenario: Scenario, zoo: Zoo | None, board: Board
) -> Story:
    """Play everything in ``work``, which a later call can take up again.

    Args:
        work: keys, the embedded zoo, its copies and every victim's folder.
        scenario: what is trained.
        zoo: a zoo that is running already; None starts one in ``work``.
        board: the scoreboard's columns.

    Raises:
        ZooError: a step could not be played.
    """
    began = time.monotonic()
    # Fetched once and here: three workers at once would fetch it three times.
    DATASETS[scenario.order.dataset].ensure()
    with ExitStack() as stack:
        progress.heading(1, "The operator opens the zoo")
        zoo = zoo or stack.enter_context(_embedded_zoo(work))
        say(f"a model zoo answers at {zoo.url}")
        cast = assemble(zoo, folder=work / KEYS, lies=scenario.lies)
        actors = stack.enter_context(cast)
        client = stack.enter_context(zoo.client(work / "user-cache"))
        book = _order_book(work, client, actors)
        progress.heading(2, "Outsourced training: one order, two trainers, one lies")
        models = _outsource(book, scenario)
        _publish(book, actors, models)
        ordered = order_transfer_and_repair(book, models, scenario=scenario)

        progress.heading(3, "Paths of attack, levels of protection")
        inputs = _setup_inputs(work, zoo=zoo, actors=actors, look=scenario.scanning())
        with set_up(work, inputs) as setup:
            cells, controls = _play_attacks(setup, board, scenario, work=work)

        progress.heading(4, "A spot check, transfer learning, scans and repairs")
        spot_checks = _spot_check(models) if scenario.order.checkpoints else {}
        book.wait_for(*ordered)
        scanned, students, repairs = _examine(book, models, scenario, inputs.look)
        return Story(
            scenario=scenario,
            models=models,
            spot_checks=spot_checks,
            cells=cells,
            controls=controls,
            scanned=scanned,
            students=students,
            repairs=repairs,
            seconds=time.monotonic() - began,
        )


def _order_book(work: Path, client: ZooClient, actors: Actors) -> OrderBook:
    return OrderBook(
        client,
        work / "orders.json",
        drafts=work / "drafts",
        builders={name: key.public for name, key in actors.builders.items()},
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


def _outsource(book: OrderBook, scenario: Scenario) -> dict[str, Outsourced]:
    if foreign_names(scenario.order):
        _wait_for_offers(book)
    for label, (trainer, spec) in scenario.orders.items():
        book.place(label, Order(trainer, spec))
    book.wait_for(*scenario.orders)
    models = {
        label: receive(book, label, order, recipe=scenario.backdoor_of(order[1]))
        for label, order in scenario.orders.items()
    }
    for model in models.values():
        verdict = _verdict(model, scenario.min_accuracy)
        say(
            f"{model.label}: {verdict}{model.accepted_on} on the user's own images; "
            f"the laboratory knows: ASR {model.truth.attack_success}"
        )
    return models


def _verdict(model: Outsourced, min_accuracy: float | None) -> str:
    """Return what the user says of a model, who may not know what to ask for."""
    if min_accuracy is None:
        return ""
    return "accepted, " if model.reaches(min_accuracy) else "NOT accepted, "


def _wait_for_offers(book: OrderBook) -> None:
    """Wait until every trainer has done something.

    A zoo refuses names of other packages that no worker of the trainer has offered,
    and a worker offers what it has when it asks for work.
    """
    labels = {f"first word of {trainer}": trainer for trainer in WORKERS}
    for label, trainer in labels.items():
        book.place(label, Order(trainer, NoopSpec()))
    book.wait_for(*labels)


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


def _examine(
    book: OrderBook, models: Mapping[str, Outsourced], scenario: Scenario, look: Look
) -> tuple[dict[str, Examined], list[Student], list[Repaired]]:
    """Scan the models of the order, the students and what repairs made of both.

    Teachers are scanned as their students. The student is repaired meanwhile.
    """
    repaired_last = order_repair_of_the_student(book, scenario=scenario)
    scanned = {
        label: Examined(truth=model.truth, found=look(model.folder / MODEL))
        for label, model in models.items()
        if model.spec == scenario.order
    }
    for label, examined in scanned.items():
        say(f"the scan of the {label}: {progress.scanned(examined.found.report)}")
    students = receive_students(book, scenario, look=look)
    if repaired_last:
        book.wait_for(*repaired_last)
    repairs = receive_repairs(
        book, scenario, badnet=scanned["badnet"], students=students, look=look
    )
    return scanned, students, repairs


def _setup_inputs(work: Path, *, zoo: Zoo, actors: Actors, look: Look) -> SetupInputs:
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
        look=look,
        disk=zoo.disk,
        run=run,
    )


def _play_attacks(
    setup: Setup, board: Board, scenario: Scenario, *, work: Path
) -> tuple[list[Cell], list[Cell]]:
    """Return the cells of the scoreboard, and those of the controls."""
    played = []
    for columns, folder in ((board, "victims"), (CONTROLS, "controls")):
        shutil.rmtree(work / folder, ignore_errors=True)
        outcomes = play(
            setup,
            columns if scenario.is_own else unpromised(columns, SCAN_LEVEL),
            folder=work / folder,
            on_cell=lambda cell: say(
                f"{cell.path_of_attack} / {cell.level}: {progress.outcome(cell)}"
            ),
        )
        played.append(list(measured(outcomes, scenario.measure)))
    cells, controls = played
    progress.scoreboard(cells)
    return cells, controls
