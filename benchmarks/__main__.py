"""``python -m benchmarks NAME``: measure one claim, or ``all`` of them."""

import argparse
import importlib
import json
import sys
from pathlib import Path

from benchmarks import machine
from benchmarks.measuring import Options
from model_zoo.canonical import JsonObject

NAMES = (
    "training",
    "download",
    "jobs",
    "trust",
    "experiments",
    "scanning",
    "samples",
    "defended",
    "gpu",
)


def main(arguments: list[str] | None = None) -> int:
    """Measure, print JSON on stdout and keep it; return 1 if a goal was missed."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("name", choices=(*NAMES, "all"))
    parser.add_argument("--quick", action="store_true", help="only see that it runs")
    parser.add_argument("--rounds", type=int, help="turns of each side")
    parser.add_argument("--threads", type=int, help="of each training side")
    parser.add_argument("--jobs", type=int, default=1000, help="jobs under kills")
    parser.add_argument("--parts", type=_words, default=(), help="of one benchmark")
    parser.add_argument("--releases", type=_numbers, default=(), help="of trust")
    parser.add_argument("--seconds", type=float, default=300, help="a part of trust")
    parser.add_argument("--device", default="cuda", help="of gpu")
    parser.add_argument("--out", type=Path, default=Path("bench-results"))
    asked = parser.parse_args(arguments)
    options = Options(
        quick=asked.quick,
        rounds=asked.rounds,
        threads=asked.threads,
        jobs=asked.jobs,
        parts=asked.parts,
        releases=asked.releases,
        seconds=asked.seconds,
        device=asked.device,
    )
    names = NAMES if asked.name == "all" else (asked.name,)
    results = {name: _measured(name, options, out=asked.out) for name in names}
    print(json.dumps(results[names[0]] if len(names) == 1 else results, indent=2))
    goals = [goal for result in results.values() for goal in result["goals"].values()]
    missed = any(not goal["met"] for goal in goals)
    return int(missed and not options.quick)


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split(","))


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(word) for word in text.split(","))


def _measured(name: str, options: Options, *, out: Path) -> JsonObject:
    """Return what a benchmark found, with the machine it ran on, and keep it."""
    before = machine.facts()
    found = importlib.import_module(f"benchmarks.{name}").measure(options)
    result = {"benchmark": name, "quick": options.quick, "machine": before, **found}
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{'-'.join((name, *options.parts))}.json"
    path.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return result


if __name__ == "__main__":
    sys.exit(main())
