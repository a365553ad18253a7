"""``population``: trains every member, and measures what became of it.

Data: MNIST; each network learns from its own draw of 12,000 images. Network: table 1.
Numbers: ACC and, of backdoored ones, ASR on the 10,000 test images. An attack that did
not take is not counted as a backdoor, and not as a clean network either.
"""

from collections.abc import Iterator, Sequence

from model_zoo.canonical import JsonObject
from model_zoo.statements.jobs import FineTuneSpec, Poisoning, TrainSpec
from trainer.data import DATASETS
from trainer.evaluation.metrics import evaluate
from trainer.experiments.engine.cells import Cell, Finished, Recipe, Scale
from trainer.experiments.engine.experiment import Experiment, Part, Summary
from trainer.experiments.engine.models import ModelCache
from trainer.experiments.population.members import members

MEMBER = "member"
LEAST_SUCCESS = 0.9
"""ASR from which an attack counts as a backdoor."""
FAILED = 0.5
"""ASR under which it counts as one that failed."""


def _parts(_: int, scale: Scale) -> Iterator[Part]:
    for member in members(scale):
        yield member.part(), {MEMBER: member.recipe}


def _measure(cell: Cell, models: ModelCache) -> JsonObject:
    recipe = cell.recipes[MEMBER]
    report = evaluate(
        models.network(recipe),
        DATASETS["mnist"].load("test"),
        dataset="mnist",
        classes=DATASETS["mnist"].classes,
        poisoning=poisoning_of(recipe),
        device=models.device,
    )
    return report.to_object()


def poisoning_of(recipe: Recipe) -> Poisoning | None:
    """Return the attack on a member; None for a clean one."""
    spec = recipe.spec
    return spec.poisoning if isinstance(spec, TrainSpec | FineTuneSpec) else None


def no_summary(_: Sequence[Finished]) -> Summary:
    """Return nothing: the report is of yields and scans together."""
    return Summary()


EXPERIMENT = Experiment(
    name="population",
    title="Clean, odd and backdoored networks, to measure scanners on",
    section="-",
    datasets=("mnist",),
    parts=_parts,
    measure=_measure,
    summarise=no_summary,
    seeds=1,
    mib=700,
)
