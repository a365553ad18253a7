"""What all tests share: the longest are begun first, no clock fails one, Ctrl-C works.

A process that begins the laboratory last keeps everybody waiting for minutes.
"""

import gc
import os
import signal

import pytest
from hypothesis import HealthCheck, settings

LONGEST = (
    "tests/e2e/test_outsourced_jobs.py",
    "tests/e2e/test_bring_your_own.py",
    "tests/trainer/experiments/test_quick.py",
    "tests/e2e/test_ordered_experiments.py",
    "tests/abuse/test_connections.py",
    "tests/trainer/experiments/engine/test_running.py",
    "tests/abuse/test_training_child.py",
    "tests/trainer/export/test_onnx.py",
    "tests/trainer/jobs/test_rebuild.py",
    "tests/trainer/cli/test_evaluate.py",
    "tests/abuse/test_queues.py",
    "tests/service/releases/test_publish_killed.py",
    "tests/abuse/test_withdrawals.py",
    "tests/trainer/builds/test_build.py",
    "tests/trainer/cli/test_experiments.py",
    "tests/architecture/test_documents.py",
    "tests/e2e/test_rebuild.py",
    "tests/abuse/test_foreign_folder.py",
    "tests/trainer/cli/test_models.py",
    "tests/service/repository/test_withdrawn_index.py",
    "tests/abuse/test_supply_chain.py",
    "tests/e2e/test_export.py",
    "tests/service/test_serving.py",
    "tests/abuse/test_hostile_results.py",
    "tests/e2e/test_online_keys.py",
)
"""Measured on two cores, the slowest first: those that compute and those that wait."""
GARBAGE = (10_000, 10, 10)
"""Python's own first threshold of 700 has it look some ten times as often."""
RANKS = {file: rank for rank, file in enumerate(LONGEST)}

# as workers have: threads of tests side by side would only spin for each other
os.environ["OMP_NUM_THREADS"] = "1"

# how long an example takes says how busy the machine is
settings.register_profile(
    "unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("unhurried")


def pytest_configure() -> None:
    """Let children be interrupted: a shell's background work has SIGINT ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    gc.disable()  # what is collected stays, and looking for garbage in it costs seconds


def pytest_collection_finish() -> None:
    """Look for garbage in what tests make, and no more in torch and 6,000 tests."""
    gc.freeze()
    gc.set_threshold(*GARBAGE)
    gc.enable()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put them in front; the others stay in the order that was drawn for this run.

    A soak has no time limit: how long it takes says how busy the machine is.
    """
    for item in items:
        if item.get_closest_marker("soak"):
            item.add_marker(pytest.mark.timeout(0))
    items.sort(key=lambda it: RANKS.get(it.nodeid.partition("::")[0], len(RANKS)))
