"""``population``: trains every member, and measures what became of it.

Data and networks: as ``populations`` says; each learns from its own draw. Numbers: ACC
and, of backdoored ones, ASR on the whole test set. An attack that did not take is not
counted as a backdoor, and not as a clean network either.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial

from model_zoo.canonical import JsonObject
from model_zoo.errors import InvalidSpecError
from model_zoo.statements.jobs import FineTuneSpec, Poisoning, TrainSpec
from trainer.data import DATASETS
from trainer.evaluation.metrics import evaluate
from trainer.experiments.engine.cells import Cell, Finished, Recipe, Scale
from trainer.experiments.engine.experiment import Experiment, Part, Summary
from trainer.experiments.engine.models import ModelCache
from trainer.experiments.population.populations import POPULATIONS

MEMBER = "member"
UNMADE = "unmade"
"""Why there is no such member: drawn habits make training diverge now and then."""
FAILED = 0.5
"""ASR under which it counts as one that failed."""


def _parts(population: str, _: int, scale: Scale) -> Iterator[Part]:
    for member in POPULATIONS[population].members(scale):
        yield member.part(), {MEMBER: member.recipe}


def _measure(population: str, cell: Cell, models: ModelCache) -> JsonObject:
    recipe = cell.recipes[MEMBER]
    dataset = POPULATIONS[population].dataset
    try:
        network = models.network(recipe)
    except InvalidSpecError as error:
        return {UNMADE: str(error)}
    report = evaluate(
        network,
        DATASETS[dataset].load("test"),
        dataset=dataset,
        classes=DATASETS[dataset].classes,
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


def one_a_population(
    parts: Callable[[str, int, Scale], Iterable[Part]],
    measure: Callable[[str, Cell, ModelCache], JsonObject],
    *,
    title: str,
    suffix: str = "",
    mib: int,
) -> dict[str, Experiment]:
    """Return population -> experiment, whose functions are told which it is of.

    The name of the first one does not say of what, as when there were no others.
    """
    return {
        name: Experiment(
            name=f"population{'' if name == 'digits' else f'-{name}'}{suffix}",
            title=f"{title}: {name}",
            section="-",
            datasets=(population.dataset,),
            parts=partial(parts, name),
            measure=partial(measure, name),
            summarise=no_summary,
            seeds=1,
            mib=mib,
        )
        for name, population in POPULATIONS.items()
    }


EXPERIMENTS = one_a_population(
    _parts,
    _measure,
    title="Clean, odd and backdoored networks, to measure scanners on",
    mib=700,
)
