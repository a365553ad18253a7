"""``mnist-baseline``: the paper's digit network, and how often it errs.

Data: all of MNIST. Network: table 1. Number: errors on the 10,000 test images; the
paper's network errs on 0.50 %.

Source:
    Gu, Dolan-Gavitt, Garg, "BadNets", arXiv:1708.06733, section 4.1.1.
"""

from collections.abc import Iterator, Sequence

from model_zoo.canonical import JsonObject
from trainer.evaluation.intervals import Estimate
from trainer.experiments.engine.cells import Cell, Finished, Scale
from trainer.experiments.engine.experiment import Experiment, Part, Summary, Verdict
from trainer.experiments.engine.models import ModelCache
from trainer.experiments.engine.tables import claim, errors_by_class, pivot, share
from trainer.experiments.mnist.network import CLASSES, recipe, unseen
from trainer.networks.inference import predict

PAPER = 0.50
PAPER_BY_CLASS = (0.10, 0.18, 0.29, 0.50, 0.20, 0.45, 0.84, 0.58, 0.72, 1.19)
"""Errors in percent, from table 2's baseline column."""


def _parts(seed: int, scale: Scale) -> Iterator[Part]:
    yield {"data": "mnist"}, {"baseline": recipe(seed, scale=scale)}


def _measure(cell: Cell, models: ModelCache) -> JsonObject:
    data = unseen(scale=cell.scale)
    network = models.network(cell.recipes["baseline"])
    answers = predict(network, data.images, device=models.device)
    return {"clean": errors_by_class(answers, data.labels, classes=CLASSES)}


def _summarise(finished: Sequence[Finished]) -> Summary:
    return Summary(
        claims=(
            claim(
                "error on the test set",
                share(finished, "clean"),
                "the interval reaches 0.50 % or lower",
                _reaches,
                paper=PAPER,
            ),
        ),
        tables=(
            pivot(
                "Errors by class, %",
                range(CLASSES),
                ("class", str),
                ("ours", lambda digit: share(finished, "clean", of=digit)),
                ("paper", lambda digit: f"{PAPER_BY_CLASS[digit]:.2f}"),
            ),
        ),
    )


def _reaches(ours: Estimate) -> Verdict:
    lowest = ours.mean if ours.low is None else ours.low
    return "met" if lowest <= PAPER else "missed"


EXPERIMENT = Experiment(
    name="mnist-baseline",
    title="The digit network without a backdoor",
    section="4.1.1",
    datasets=("mnist",),
    parts=_parts,
    measure=_measure,
    summarise=_summarise,
)
