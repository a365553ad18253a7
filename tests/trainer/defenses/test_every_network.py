"""Every network under every scanner and every repair: it works, or says why not."""

import copy
from functools import cache
from importlib import import_module

import pytest
import torch

from model_zoo.errors import InvalidSpecError
from model_zoo.statements.jobs import RepairSpec, Schedule
from model_zoo.statements.recipes import NETWORKS as NAMES
from model_zoo.statements.scan import ScanReport
from trainer.data import LabelledImages
from trainer.defenses.inspection.units import inspect_units
from trainer.defenses.repairs import REPAIRS
from trainer.defenses.scanners import SCANNERS
from trainer.defenses.scanners.scan import Request, scan
from trainer.networks import NETWORKS, SplitNetwork
from trainer.training.fit import Runtime, seeded_globals

CLASSES, IMAGES = 4, 16
CPU = torch.device("cpu")
BRIEF = Schedule(epochs=1, batch_size=IMAGES // 2, peak_learning_rate=0.01)
"""Two steps, since the rate of the first is 0."""
FEW: dict[str, dict[str, float]] = {
    "scanners.inversion": {
        **dict.fromkeys(("JUDGED", "UNIVERSAL_IMAGES", "CLASS_IMAGES"), 1),
        **dict.fromkeys(("PAIR_IMAGES", "REFINED_IMAGES"), 1),
        **dict.fromkeys(("UNIVERSAL_STEPS", "CLASS_STEPS", "PAIR_STEPS"), 1),
    },
    "scanners.maximum_margin": {"STARTS": 1, "STEPS": 2},
    "scanners.neural_cleanse": {"STEPS": 2, "BATCH": 2, "IMAGES": 2},
    "scanners.dormant_units": {"IMAGES": 2, "MOST_UNITS": 3},
    "repairs.unlearning": {"SOUGHT_ON": 2, "TRIED_ON": 1, "SIDE": 0.5},
    "inspection.units": {"MOST_MAXIMISED": 3},
}
"""Steps and images, so that the largest network takes seconds."""
TRANSFORMER = "no matrix with its ReLUs open"
SKIPPED = {
    **dict.fromkeys([(it, "reference-map") for it in NAMES], "no reference networks"),
    ("tiny-vit", "open-map"): TRANSFORMER,
    ("tiny-vit", "reference-map"): TRANSFORMER,
    ("tiny-vit", "dormant-units"): "none is silent there",
}
REFUSED = {
    ("efficientnet-lite0", "nad"): "ReLUs or GELUs are modules",
    ("tiny-vit", "fine-pruning"): "none is silent there",
    ("tiny-vit", "clp"): "the network has none",
}


SLOW = "efficientnet-lite0"
"""Takes half a minute for all of it."""
EVERY = [
    pytest.param(it, marks=[pytest.mark.soak] if it == SLOW else []) for it in NAMES
]


@pytest.fixture(autouse=True)
def _few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    for place, numbers in FEW.items():
        # by name: some modules are called as the function that their room shows
        module = import_module(f"trainer.defenses.{place}")
        for name, number in numbers.items():
            monkeypatch.setattr(module, name, number)


@cache
def _fresh(name: str) -> SplitNetwork:
    with seeded_globals(0):
        return NETWORKS[name](CLASSES)


def made(name: str) -> SplitNetwork:
    return copy.deepcopy(_fresh(name))


def images(network: SplitNetwork) -> LabelledImages:
    draws = torch.Generator().manual_seed(0)
    shape = (IMAGES, *network.image_shape)
    return LabelledImages(
        images=torch.randint(256, shape, generator=draws, dtype=torch.uint8),
        labels=torch.arange(IMAGES) % CLASSES,
    )


@pytest.mark.parametrize("scanner", SCANNERS)
@pytest.mark.parametrize("name", EVERY)
def test_a_scanner_has_a_score_or_says_why_it_has_none(name: str, scanner: str) -> None:
    network = made(name)
    request = Request(network=name, scanners=(scanner,))

    report: ScanReport = scan(network, images(network), request).report

    (found,) = report.scanners
    why = SKIPPED.get((name, scanner), "")
    assert found.outcome == ("skipped" if why else "ran"), found
    assert why in found.why


@pytest.mark.parametrize("repair", REPAIRS)
@pytest.mark.parametrize("name", EVERY)
def test_a_repair_makes_a_network_or_says_why_it_makes_none(
    name: str, repair: str, runtime: Runtime
) -> None:
    network = made(name)
    without_images = {"network": name, "parent": "0" * 64, "defense": repair}
    told = {} if repair == "clp" else {"held_out": IMAGES, "schedule": BRIEF}
    spec = RepairSpec(**without_images, **told)  # type: ignore[arg-type]
    arguments = (images(network), spec, torch.Generator().manual_seed(0), runtime)

    if why := REFUSED.get((name, repair)):
        with pytest.raises(InvalidSpecError, match=why):
            REPAIRS[repair](network, *arguments)
        return
    repaired = REPAIRS[repair](network, *arguments).network

    before, after = _fresh(name).state_dict(), repaired.state_dict()
    assert after.keys() == before.keys()
    assert all(it.isfinite().all() for it in after.values())
    if repair not in {"clp", "anp", "fine-pruning"}:  # these may find nothing to prune
        assert any(not torch.equal(it, before[key]) for key, it in after.items())


@pytest.mark.parametrize("name", EVERY)
def test_units_are_inspected_or_it_is_said_that_none_is_seen(name: str) -> None:
    network = made(name)
    layer = {"tiny-vit": "block1.fc1"}.get(name, "conv1")

    def inspect() -> int:
        found = inspect_units(
            network,
            images(network),
            layer=layer,
            units=1,
            generator=torch.Generator().manual_seed(0),
            device=CPU,
        )
        return len(found.activity[layer].mean)

    if name == "efficientnet-lite0":
        with pytest.raises(InvalidSpecError, match="no unit is seen"):
            inspect()
        return
    assert inspect() == len(network.get_parameter(f"convolutions.{layer}.weight"))
