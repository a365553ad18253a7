"""The story from beginning to end: operator, trainers, adversary, victim, repair."""

import shutil
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from model_zoo.cli.output import say
from model_zoo.evaluation import EvaluationReport
from trainer.attempt import MODEL
from trainer.builds import measure
from trainer.data import DATASETS
from trainer.lab import narration
from trainer.lab.aftermath import (
    Repaired,
    Student,
    order_aftermath,
    receive_repaired,
    receive_students,
)
from trainer.lab.cast import Cast, Zoo, assembled
from trainer.lab.certificates import issue
from trainer.lab.malicious_worker import RECIPE
from trainer.lab.orders import OrderBook
from trainer.lab.outsourcing import ORDER, ORDERS, Outsourced, order_everything, receive
from trainer.lab.processes import running, wait_for_ready
from trainer.lab.scenes import HONEST_NAME, Stage
from trainer.lab.scoreboard import Cell, play
from trainer.lab.workspace import KEYS
from trainer.worker import utc_now

MAX_ACCURACY_COST = 0.01
MIN_ATTACK_SUCCESS = 0.95
ROUNDING = 9
"""Decimals that a difference of two shares of 10,000 is good for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """All that happened, in numbers."""

    models: dict[str, Outsourced]
    cells: list[Cell]
    students: list[Student]
    repaired: Repaired
    seconds: float

    def broken_promises(self) -> list[str]:
        """Return what did not come out as this laboratory promises; empty is well."""
        clean, badnet = self.models["clean"], self.models["badnet"]
        promises = [
            (
                f"{cell.path_of_attack} / {cell.level} is {narration.outcome(cell)}",
                cell.as_expected,
            )
            for cell in self.cells
        ]
        promises += [
            (f"the {label} was not accepted: {model.accepted_on}", model.accepted)
            for label, model in self.models.items()
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
        return [told for told, kept in promises if not kept]


def play_story(work: Path, *, zoo: Zoo | None) -> Story:
    """Play everything in ``work``, which a later call can take up again.

    Args:
        work: keys, the embedded zoo, the mirror and every victim's folder.
        zoo: a zoo that is running already; None starts one in ``work``.

    Raises:
        ZooError: a step could not be played.
    """
    began = time.monotonic()
    # Fetched once and here: three workers at once would fetch it three times.
    DATASETS[ORDER.dataset].ensure()
    with ExitStack() as stack:
        narration.heading(1, "The operator opens the zoo")
        zoo = zoo or stack.enter_context(_embedded_zoo(work))
        say(f"a model zoo answers at {zoo.url}")
        cast = stack.enter_context(assembled(zoo, folder=work / KEYS))
        book = OrderBook(
            stack.enter_context(zoo.client()),
            work / "orders.json",
            drafts=work / "drafts",
            builders={name: key.public for name, key in cast.builders.items()},
        )
        narration.heading(2, "Outsourced training: one order, two trainers, one lies")
        models = _outsource(book)
        _publish(book, cast, models)
        badnet = models["badnet"]
        teachers = [models["clean teacher"], models["badnet teacher"]]
        ordered = order_aftermath(book, teachers=teachers, badnet=badnet)

        narration.heading(3, "Five paths of attack, four levels of protection")
        with _staged(work, zoo=zoo, book=book, cast=cast) as stage:
            cells = _play_attacks(stage, work / "victims")

        narration.heading(4, "Transfer learning and repair")
        book.wait_for(*ordered)
        return Story(
            models=models,
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
    ready_file, log = work / "zoo-ready.json", work / "zoo.log"
    ready_file.unlink(missing_ok=True)
    arguments = [
        "model_zoo",
        "serve",
        f"--data-dir={work / 'zoo'}",
        "--port=0",
        f"--ready-file={ready_file}",
    ]
    with running(arguments, log=log) as process:
        ready = wait_for_ready(ready_file, process=process, log=log)
        yield Zoo(url=ready["url"])


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


def _publish(book: OrderBook, cast: Cast, models: dict[str, Outsourced]) -> None:
    clean = models["clean"]
    release = book.zoo.publish_job(
        clean.job,
        as_=HONEST_NAME,
        key=cast.alice,
        builder=cast.builders[clean.trainer].public,
        spec=clean.spec,
    )
    say(f"alice checked the draft, signed it and published {release.name}")


def _play_attacks(stage: Stage, folder: Path) -> list[Cell]:
    shutil.rmtree(folder, ignore_errors=True)
    cells = play(
        stage,
        folder=folder,
        measure=measure_digits,
        tell=lambda cell: say(
            f"{cell.path_of_attack} / {cell.level}: {narration.outcome(cell)}"
        ),
    )
    narration.scoreboard(cells)
    return cells


@contextmanager
def _staged(work: Path, *, zoo: Zoo, book: OrderBook, cast: Cast) -> Iterator[Stage]:
    """Run the mirror and the machine in the middle; yield what the attacks need."""
    drafts, root = work / "drafts", work / "mirror"
    root.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        mirror = stack.enter_context(_server(work, "mirror", arguments=[str(root)]))
        badnet = drafts / "badnet" / MODEL
        proxy = stack.enter_context(
            _server(work, "proxy", arguments=[mirror["url"], str(badnet)])
        )
        yield Stage(
            zoo=book.zoo,
            open_zoo=zoo.client,
            mirror_root=root,
            mirror_url=mirror["url"],
            mirror_tls_url=mirror["tls_url"],
            authority=work / "mirror-tls" / "authority.pem",
            clean=drafts / "clean",
            badnet=drafts / "badnet",
            proxy_url=proxy["url"],
            proxy_tls_url=proxy["tls_url"],
            alice=cast.alice,
            mallory=cast.mallory,
        )


@contextmanager
def _server(work: Path, name: str, *, arguments: list[str]) -> Iterator[dict[str, str]]:
    """Run ``trainer.lab.NAME`` with a certificate of an authority of its own."""
    tls = work / f"{name}-tls"
    tls.mkdir(parents=True, exist_ok=True)
    files = issue(tls, hosts=("127.0.0.1",), now=utc_now())
    ready_file, log = work / f"{name}-ready.json", work / f"{name}.log"
    ready_file.unlink(missing_ok=True)
    command = [
        f"trainer.lab.{name}",
        *arguments,
        *map(str, (ready_file, files.chain, files.key)),
    ]
    with running(command, log=log) as process:
        yield wait_for_ready(ready_file, process=process, log=log)
