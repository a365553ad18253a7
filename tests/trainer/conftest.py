"""Real digits for the trainer's tests, and a quiet CPU runtime."""

import os
import time
from collections.abc import Iterator
from functools import lru_cache

import pytest
import torch

from model_zoo.errors import TransportError
from trainer.data import LabelledImages
from trainer.data.dataset import Split
from trainer.data.mnist import MNIST, load_mnist
from trainer.training.fit import Runtime


def _mnist(split: str) -> LabelledImages:
    try:
        return load_mnist("train" if split == "train" else "test")
    except TransportError as error:
        pytest.skip(f"needs MNIST: {error}")


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """As workers do: threads of parallel tests would only wait for each other."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _digits_are_read_once() -> Iterator[None]:
    """Each build reads MNIST and checks every byte: here once a process and folder."""

    @lru_cache(maxsize=4)
    def read(split: Split, _given: str | None, _cache: str | None) -> LabelledImages:
        return load_mnist(split)

    def load(split: Split) -> LabelledImages:
        given = os.environ.get("ZOO_DATA_DIR")
        cache = None if given else os.environ.get("XDG_CACHE_HOME")
        kept = read(split, given, cache)
        return LabelledImages(images=kept.images.clone(), labels=kept.labels.clone())

    object.__setattr__(MNIST, "load", load)  # it is frozen
    yield
    object.__setattr__(MNIST, "load", load_mnist)


@pytest.fixture(scope="session")
def digits() -> LabelledImages:
    """The first 2,000 training images."""
    return _mnist("train").select(torch.arange(2000))


@pytest.fixture(scope="session")
def test_digits() -> LabelledImages:
    """The first 2,000 test images."""
    return _mnist("test").select(torch.arange(2000))


@pytest.fixture
def runtime() -> Runtime:
    return Runtime(
        device=torch.device("cpu"),
        precision="fp32",
        deadline=time.monotonic() + 300,
        on_epoch=lambda _: None,
    )
