"""Rounds in which sides take turns, and the figures that come of them."""

import math
import statistics
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from model_zoo.canonical import JsonObject

Side = Callable[[], JsonObject]
"""Does the work once; returns at least ``seconds``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How much is measured.

    Attributes:
        quick: seconds of work, to see that it runs; the figures mean nothing.
        rounds: how often each side has its turn; None takes the benchmark's own.
        threads: of every side of ``training`` and ``scanning``; None takes one a core.
        jobs: how many jobs the ``jobs`` benchmark submits under kills.
        parts: of ``trust``, ``experiments`` and ``gpu``, where none means all, and of
            ``scanning``.
        releases: the sizes at which ``trust`` measures; none takes its own.
        seconds: after which no part of ``trust`` begins another round.
        device: that ``gpu`` measures; ``cpu`` rehearses it.
    """

    quick: bool = False
    rounds: int | None = None
    threads: int | None = None
    jobs: int = 1000
    parts: tuple[str, ...] = ()
    releases: tuple[int, ...] = ()
    seconds: float = 300.0
    device: str = "cuda"


def take_turns(
    sides: Mapping[str, Side], *, rounds: int, seconds: float = math.inf
) -> dict[str, list[JsonObject]]:
    """Return what each side said in each round; a round starts one side further on.

    Args:
        sides: what is compared.
        rounds: how often each has its turn, at most.
        seconds: after which no further round begins.
    """
    names = list(sides)
    said: dict[str, list[JsonObject]] = {name: [] for name in names}
    until = time.monotonic() + seconds
    for number in range(rounds):
        if number and time.monotonic() > until:
            break
        first = number % len(names)
        for name in names[first:] + names[:first]:
            said[name].append(sides[name]())
    return said


def summary(values: Iterable[float]) -> JsonObject:
    """Return n, median, least and greatest of ``values``."""
    known = [float(value) for value in values]
    return {
        "n": len(known),
        "median": round(statistics.median(known), 4),
        "min": round(min(known), 4),
        "max": round(max(known), 4),
    }


def summaries(said: list[JsonObject]) -> JsonObject:
    """Return a summary of every number that the rounds of one side have in common."""
    names = [
        name
        for name, value in said[0].items()
        if isinstance(value, float | int) and all(name in each for each in said)
    ]
    return {name: summary(each[name] for each in said) for name in names}


def ratio(
    above: list[JsonObject], below: list[JsonObject], *, of: str = "seconds"
) -> JsonObject:
    """Return a summary of ``above / below``, each taken within one round."""
    return summary(
        over[of] / under[of] for over, under in zip(above, below, strict=True)
    )


def at_most(found: float, limit: float) -> JsonObject:
    """Return whether a figure keeps to its goal."""
    return {"at_most": limit, "found": found, "met": found <= limit}


def at_least(found: float, limit: float) -> JsonObject:
    """Return whether a figure reaches its goal."""
    return {"at_least": limit, "found": found, "met": found >= limit}
