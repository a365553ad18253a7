"""Orders of the laboratory, sent to a real zoo whose workers are killed."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from model_zoo.client.worker import WorkClient
from model_zoo.client.zoo import ZooClient
from model_zoo.errors import ExpectationError
from model_zoo.statements.jobs import NoopSpec
from tests.model_zoo.releases import BUILDER
from tests.model_zoo.servers import open_zoo
from trainer.lab.orders import Order, OrderBook

ORDER = Order("lab", NoopSpec(note="an order of the laboratory"))


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    with open_zoo(tmp_path / "zoo") as url:
        with ZooClient(url) as zoo:
            zoo.bind_trainer("lab", BUILDER.public)
        yield url


def ordered(zoo: ZooClient, folder: Path) -> OrderBook:
    """Be a run of the laboratory that has sent its order."""
    book = OrderBook(
        zoo=zoo,
        path=folder / "orders.json",
        drafts=folder / "drafts",
        builders={"lab": BUILDER.public},
    )
    book.place("clean", ORDER)
    return book


def lose_the_job(url: str) -> None:
    """Be the workers whose runs were killed: no attempt of the job is left."""
    with WorkClient(url) as work:
        lease = work.lease("lab", worker="killed", kinds=["noop"], lease_seconds=60)
        assert lease is not None
        work.fail(lease.attempt, error="stopped answering", retry=False)


def test_what_a_killed_run_cost_a_job_is_ordered_again_and_once(
    url: str, tmp_path: Path
) -> None:
    with ZooClient(url) as zoo:
        first = ordered(zoo, tmp_path).jobs["clean"]
        again = ordered(zoo, tmp_path)
        assert again.jobs["clean"] == first
        lose_the_job(url)
        with ThreadPoolExecutor() as pool:
            waiting = pool.submit(again.wait_for, "clean")
            while again.jobs["clean"] == first:
                assert not waiting.done(), waiting.result()
                time.sleep(0.05)
            lose_the_job(url)
            with pytest.raises(ExpectationError, match="stopped answering"):
                waiting.result()
        assert len(zoo.jobs()) == 2
