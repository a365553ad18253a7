"""``conversion-survival``: the backdoor travels to another framework.

Networks: the all-to-all BadNet of MNIST and the stop sign's of GTSRB, converted to ONNX
and run by onnxruntime. Numbers: accuracy and attack success rate under both. That a
withdrawal reaches a conversion is played in the tests of ``zoo export``.

Source:
    Gu, Dolan-Gavitt, Garg, "BadNets", arXiv:1708.06733, section 6: scripts convert the
    zoo's models for other frameworks.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence

from model_zoo.canonical import JsonObject
from trainer.data import LabelledImages
from trainer.evaluation.intervals import Estimate, estimate
from trainer.experiments.engine.cells import Cell, Finished, Scale
from trainer.experiments.engine.experiment import Experiment, Part, Summary
from trainer.experiments.engine.models import ModelCache
from trainer.experiments.engine.tables import (
    at_most,
    by_part,
    claim,
    percents,
    pivot,
    samples,
    share,
)
from trainer.experiments.mnist import network as mnist
from trainer.experiments.mnist.all_to_all import badnet, poisoning
from trainer.experiments.signs import classifier as signs
from trainer.export.onnx import measure_conversion

MNIST, SIGNS = "mnist", "gtsrb-signs"
ATTACKS = {MNIST: poisoning("pattern"), SIGNS: signs.targeted("square")}
UNSEEN: Mapping[str, Callable[..., LabelledImages]] = {
    MNIST: mnist.unseen,
    SIGNS: signs.unseen,
}
RUNTIMES = ("torch", "onnxruntime")
MAX_CHANGE = 0.2


def _parts(seed: int, scale: Scale) -> Iterator[Part]:
    yield {"data": MNIST}, {"badnet": badnet(seed, "pattern", scale=scale)}
    if scale == "full":
        made = signs.recipe(seed, scale=scale, poisoning=ATTACKS[SIGNS])
        yield {"data": SIGNS}, {"badnet": made}


def _measure(cell: Cell, models: ModelCache) -> JsonObject:
    name = cell.part["data"]
    network = models.network(cell.recipes["badnet"])
    data = UNSEEN[name](scale=cell.scale)
    found = measure_conversion(network, data, ATTACKS[name])
    return {
        runtime: {kind: share.to_object() for kind, share in shares.items()}
        for runtime, shares in found.items()
    }


def _summarise(finished: Sequence[Finished]) -> Summary:
    by_data = by_part(finished, "data")
    rows = [(data, kind) for data in by_data for kind in ("accuracy", "attack_success")]
    return Summary(
        claims=tuple(
            claim(
                f"change of {kind.replace('_', ' ')} by conversion, {data}",
                _change(by_data[data], kind),
                "within 0.2 points",
                at_most(MAX_CHANGE),
                unit="points",
            )
            for data, kind in rows
        ),
        tables=(
            pivot(
                "BadNets under two runtimes, %",
                rows,
                ("data", lambda it: it[0]),
                ("number", lambda it: it[1].replace("_", " ")),
                *(
                    (name, lambda it, name=name: share(by_data[it[0]], name, it[1]))
                    for name in RUNTIMES
                ),
            ),
        ),
    )


def _change(cells: Sequence[Finished], kind: str) -> Estimate:
    """Return how far the two runtimes are apart, either way, seed by seed."""
    pairs = zip(*(percents(cells, it, kind) for it in RUNTIMES), strict=True)
    return estimate([abs(a - b) for a, b in pairs], n=samples(cells, "torch", kind))


EXPERIMENT = Experiment(
    name="conversion-survival",
    title="The backdoor travels to another framework",
    section="6",
    datasets=(MNIST, SIGNS),
    parts=_parts,
    measure=_measure,
    summarise=_summarise,
    on_cpu=True,
)
