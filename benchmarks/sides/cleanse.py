"""What all sides of ``scanning`` are given, and what each answers."""

import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from trainer.data import DATASETS, LabelledImages
from trainer.networks import SplitNetwork
from trainer.networks.checkpoints import from_bytes
from trainer.training.fit import seeded_globals

DEVIATION = 1.4826
"""Of a normal distribution, in median absolute deviations."""


def answer(
    search: Callable[[SplitNetwork, LabelledImages, dict[str, Any]], tuple[float, int]],
) -> None:
    """Print what ``search`` finds on the task's network, and what it cost.

    Args:
        search: network, clean images and task -> anomaly index and image passes.
    """
    task = json.loads(sys.argv[1])
    torch.set_num_threads(task["threads"])
    images = DATASETS["mnist"].load("train").last(task["images"])
    network = from_bytes(Path(task["weights"]).read_bytes(), network="badnets-cnn")
    started, started_cpu = time.perf_counter(), _cpu_seconds()
    with seeded_globals(0):  # peers draw from the global generators
        index, passes = search(network.eval(), images, task)
    said = {
        "seconds": time.perf_counter() - started,
        "cpu_seconds": _cpu_seconds() - started_cpu,
        "passes": passes,
        "index": index,
    }
    print(json.dumps(said))


def index_of(norms: Sequence[float]) -> float:
    """Return how far the smallest norm is below the median, in deviations."""
    values = np.array(norms)
    median = np.median(values)
    spread = DEVIATION * np.median(np.abs(values - median))
    return float((median - values.min()) / max(spread, 1e-9))


def _cpu_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system
