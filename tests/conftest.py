"""What all tests share: the files that take longest are begun first, and Ctrl-C works.

A process that begins the laboratory last keeps everybody waiting for minutes.
"""

import signal

import pytest

LONGEST = (
    "tests/e2e/test_lab.py",
    "tests/e2e/test_outsourced_jobs.py",
    "tests/service/test_publish_killed.py",
    "tests/service/test_many_publishers.py",
    "tests/e2e/test_repository_check.py",
)


def pytest_configure() -> None:
    """Let children be interrupted: a shell's background work has SIGINT ignored."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put them in front; the others stay in the order that was drawn for this run."""
    items.sort(key=lambda item: not item.nodeid.startswith(LONGEST))
