"""``zoo-audit``: what an audit of the Caffe Model Zoo finds.

Data: a replica of ours, constructed from the two counts of the paper that are verified:
22 linked gists without a SHA-1, and one, "Network in Network", with that of another
file. Everything else in it is made up and says so. Number: whether ``zoo audit`` finds
exactly what was built in.

Source:
    Gu, Dolan-Gavitt, Garg, "BadNets", arXiv:1708.06733, section 6.
"""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from model_zoo.audit.lists import read_model_list
from model_zoo.audit.rules import audit
from model_zoo.canonical import JsonObject
from trainer.evaluation.intervals import estimate
from trainer.experiments.engine.cells import Cell, Finished, Scale
from trainer.experiments.engine.experiment import Experiment, Part, Summary
from trainer.experiments.engine.models import ModelCache
from trainer.experiments.engine.tables import claim, pivot

PAPER = {"no-digest": 22, "digest-mismatch": 1}
MODELS = 39
"""From memory, not from the paper."""
MISMATCHED = "Network in Network"
MARK = "CONSTRUCTED REPLICA"
WEIGHTS_BYTES = 4096


def _parts(seed: int, _: Scale) -> Iterator[Part]:
    """Yield one part; a replica is the same with every seed."""
    if not seed:
        yield {"replica": "caffe", "built_in": PAPER}, {}


def _measure(_: Cell, __: ModelCache) -> JsonObject:
    return measure_zoo_audit()


def measure_zoo_audit() -> JsonObject:
    """Return what the auditor finds in the replica, beside what was built in.

    ``exact`` is whether it finds a missing digest, or one of another file, in the very
    models that were built so and in no other. The other rules find what is in the
    format itself: their totals are reported and prove nothing about the zoo of 2017.
    """
    with TemporaryDirectory(prefix="caffe-zoo-") as scratch:
        built_in = build_replica(Path(scratch))
        found = audit(read_model_list(Path(scratch)))
    named = {rule: found.names_of(rule) for rule in built_in}
    return {
        "replica": f"{MARK}: {MODELS} models, the number from memory",
        "models": len(found.entries),
        "built_in": {rule: len(names) for rule, names in built_in.items()},
        "found": {rule: len(names) for rule, names in named.items()},
        "mismatched": named["digest-mismatch"],
        "exact": named == built_in,
        "totals": found.totals(),
    }


def build_replica(folder: Path) -> dict[str, list[str]]:
    """Write the replica into ``folder``; return rule -> models built to break it.

    The zoo of 2017 was a wiki that anybody could edit, and it linked to gists: a readme
    whose front matter gives a model's name, the URL of its weights and, where the
    author cared, their SHA-1. The same bytes each time. Weights lie beside their
    readmes, where the zoo had them on other people's servers: the audit needs no
    network.

    Source:
        The front matter as scripts/download_model_binary.py of Caffe reads it.
    """
    built_in: dict[str, list[str]] = {rule: [] for rule in PAPER}
    for number in range(1, MODELS + 1):
        name = MISMATCHED if number == 1 else f"Constructed Model {number:02}"
        weights = _weights(name)
        sha1 = _sha1(weights)
        if number == 1:
            sha1 = _sha1(_weights(f"{name}, as it was once"))
            built_in["digest-mismatch"].append(name)
        elif number <= 1 + PAPER["no-digest"]:
            sha1 = ""
            built_in["no-digest"].append(name)
        slug = name.lower().replace(" ", "-")
        gist = folder / f"{number:02}-{slug}"
        gist.mkdir(parents=True)
        (gist / f"{slug}.caffemodel").write_bytes(weights)
        (gist / "readme.md").write_text(_readme(name, slug, sha1), encoding="utf-8")
    return built_in


def _readme(name: str, slug: str, sha1: str) -> str:
    lines = [
        "---",
        f"name: {name}",
        f"caffemodel: {slug}.caffemodel",
        f"caffemodel_url: https://weights.example/{slug}.caffemodel",
        *([f"sha1: {sha1}"] if sha1 else []),
        "license: none",
        "---",
        "",
        f"{MARK} of an entry of the Caffe Model Zoo. Name, URL, weights and digest",
        "are made up; no model can be had from here.",
        "",
    ]
    return "\n".join(lines)


def _weights(name: str) -> bytes:
    """Return bytes that are no weights, say so, and differ from name to name."""
    marked = f"{MARK}: these are no weights. {name}\n".encode()
    return marked + hashlib.shake_128(marked).digest(WEIGHTS_BYTES - len(marked))


def _sha1(data: bytes) -> str:
    return hashlib.sha1(data, usedforsecurity=False).hexdigest()


def _summarise(finished: Sequence[Finished]) -> Summary:
    numbers = finished[0].numbers
    return Summary(
        claims=tuple(
            claim(
                f"models with {rule}",
                estimate([numbers["found"][rule]], n=numbers["models"]),
                "exactly those that were built in",
                lambda _: "met" if numbers["exact"] else "missed",
                paper=count,
                unit="models",
            )
            for rule, count in PAPER.items()
        ),
        tables=(
            pivot(
                "Findings by rule",
                sorted(numbers["totals"]),
                ("rule", str),
                ("models", lambda rule: numbers["totals"][rule]),
                ("paper", PAPER.get),
                note=f"{numbers['replica']}. Rules without a number of the paper tell "
                "of the format, not of the zoo of 2017.",
            ),
        ),
    )


EXPERIMENT = Experiment(
    name="zoo-audit",
    title="What an audit of a model zoo finds",
    section="6",
    datasets=(),
    parts=_parts,
    measure=_measure,
    summarise=_summarise,
    seeds=1,
)
