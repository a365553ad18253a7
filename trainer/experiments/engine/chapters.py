"""The chapters of the report: each experiment, how it was done, and what came of it."""

import inspect
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from model_zoo.canonical import JsonObject
from trainer.experiments.catalogue import EXPERIMENTS
from trainer.experiments.engine.contract import Experiment, Scale
from trainer.experiments.engine.results import Result, read_result

SOURCE = "Source:"
VERDICTS = ("met", "missed", "not resolved", "not measured")
SECONDS_PER_MINUTE = 60
MINUTES_PER_HOUR = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Chapter:
    """One experiment as it is told.

    Attributes:
        name: of the command.
        title: what it shows.
        section: where the paper has it.
        method: paragraphs; ``code`` stands between double backticks.
        result: what came of it; None if it was not run yet.
    """

    name: str
    title: str
    section: str
    method: tuple[str, ...]
    result: Result | None

    @property
    def verdicts(self) -> Counter[str]:
        """How many goals came out how."""
        claims = self.result.summary.claims if self.result else ()
        return Counter(claim.verdict for claim in claims)


def chapters(folder: Path, *, scale: Scale = "full") -> list[Chapter]:
    """Return every experiment in the order of the paper, with what ``folder`` holds.

    Raises:
        LocalError: a result is damaged.
    """
    return [
        Chapter(
            name=it.name,
            title=it.title,
            section=it.section,
            method=method(it),
            result=read_result(folder, it.name, scale=scale),
        )
        for it in EXPERIMENTS.values()
    ]


def method(experiment: Experiment) -> tuple[str, ...]:
    """Return how it is done: what its module says of itself, without the source."""
    told = inspect.getdoc(sys.modules[experiment.measure.__module__]) or ""
    body = told.partition(f"\n{SOURCE}")[0].strip()
    first, *others = (" ".join(part.split()) for part in body.split("\n\n"))
    lead = first.removeprefix(f"``{experiment.name}``: ")
    return (lead[:1].upper() + lead[1:], *others)


def tally(verdicts: Counter[str]) -> str:
    """Return verdicts in words: ``3 met, 1 missed``."""
    told = [f"{verdicts[name]} {name}" for name in VERDICTS if verdicts[name]]
    return ", ".join(told) or "no goals"


def total(told: Sequence[Chapter]) -> Counter[str]:
    """Return the verdicts of all chapters."""
    return sum((it.verdicts for it in told), Counter())


def duration(seconds: float) -> str:
    """Return a time as people say it: ``45 s``, ``12 min``, ``1 h 05 min``."""
    if seconds < SECONDS_PER_MINUTE:
        return f"{seconds:.0f} s"
    minutes = round(seconds / SECONDS_PER_MINUTE)
    hours, rest = divmod(minutes, MINUTES_PER_HOUR)
    return f"{hours} h {rest:02} min" if hours else f"{minutes} min"


def run_facts(result: Result) -> list[str]:
    """Return on what the numbers rest and what they cost, a fact each."""
    seeds = len(result.seeds)
    each = result.seconds / max(1, seeds)
    return [
        f"seeds {', '.join(map(str, result.seeds))}",
        f"{result.cells:,} cells",
        f"{duration(result.seconds)} on one core ({duration(each)} a seed)",
        f"peak memory {result.peak_mib:,} MiB a process",
        *map(_machine, result.environments),
    ]


def _machine(environment: JsonObject) -> str:
    told = [
        str(environment.get("cpu_model", "unknown processor")),
        f"torch {environment.get('torch', 'unknown')}",
    ]
    told += [
        str(environment[it]) for it in ("precision", "device") if it in environment
    ]
    return ", ".join(told)
