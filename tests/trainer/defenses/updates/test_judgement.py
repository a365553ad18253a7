"""Verdicts on updates: of networks that a backdoor was planted in, and honest ones."""

import copy

import pytest
import torch

from tests.trainer.defenses.scanners.planted import (
    ALL,
    CLASSES,
    CORNER,
    ONE,
    SIDE,
    TARGET,
    images,
    network,
)
from trainer.data import LabelledImages
from trainer.defenses.disagreement import BehaviourComparison, compare_behaviour
from trainer.defenses.scanners.calibration import Calibration, Known, calibrate
from trainer.defenses.updates.judgement import judged, update_features
from trainer.networks import SplitNetwork

CPU = torch.device("cpu")


def output_of(made: SplitNetwork) -> torch.Tensor:
    return made.get_submodule(made.output_name).get_parameter("weight")


def fine_tuned(seed: int, attack: str = "none") -> SplitNetwork:
    """Return the clean network with all weights moved a little; ``attack`` planted."""
    made = copy.deepcopy(network(attack))
    weight = output_of(made)
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(weight.shape, generator=generator)
    weight += 0.02 * noise
    return made


def behaviour(new: SplitNetwork) -> BehaviourComparison:
    found, _ = compare_behaviour(network(), new, data=images(), device=CPU)
    return found


def features(new: SplitNetwork) -> dict[str, float]:
    return update_features(network(), new, images=images(), behaviour=behaviour(new))


@pytest.fixture(scope="module")
def calibration() -> Calibration:
    honest = [
        Known(features=features(fine_tuned(k)), backdoored=False) for k in range(10)
    ]
    poisoned = [
        Known(features=features(fine_tuned(k, ALL)), backdoored=True)
        for k in range(10, 20)
    ]
    names = sorted(honest[0].features)
    return calibrate([*honest, *poisoned], names, network="planted", dataset="columns")


def test_a_planted_backdoor_turns_the_newer_network_alone_to_one_label() -> None:
    honest, planted, of_one = (
        features(fine_tuned(3, attack)) for attack in ("none", ALL, ONE)
    )
    for name in ("turned-0.1", "turned-to-one"):
        assert planted[name] > 0.8
        assert honest[name] < 0.2
    assert planted["gain-universal-3"] > 1 > honest["gain-universal-3"]
    assert of_one["turned-0.3"] > honest["turned-0.3"] + 0.05


def test_a_pixel_that_was_given_weight_stands_out_of_the_change() -> None:
    honest, planted = fine_tuned(3), fine_tuned(3)
    row, column = CORNER
    weight = output_of(planted)
    weight.view(CLASSES, SIDE, SIDE)[TARGET, row, column] += 3
    one, other = features(honest), features(planted)
    assert other["map-change-peaks-ahead"] > 2 * one["map-change-peaks-ahead"]
    assert other["rank-lost"] > one["rank-lost"]


def test_a_copy_changed_nothing() -> None:
    found = features(network())
    assert found.pop("rank-lost") == 0
    assert set(found.values()) == {0.0}


@pytest.mark.parametrize(
    ("attack", "verdict"), [("none", "nothing found"), (ALL, "suspicious")]
)
def test_an_update_is_judged_by_those_that_are_known(
    calibration: Calibration, attack: str, verdict: str
) -> None:
    new = fine_tuned(77, attack)
    found = judged(
        network(),
        new,
        images=images(),
        behaviour=behaviour(new),
        calibration=calibration,
    )
    assert found.verdict == verdict
    assert found.probability is not None
    assert (found.probability > 0.5) == (attack == ALL)
    assert found.calibration == calibration.digest()


@pytest.mark.parametrize(
    ("shown", "is_calibrated", "why"),
    [
        (images(), False, "no updates of this architecture and data set"),
        (None, True, "clean images are needed"),
        (images(CLASSES * 3), True, "label 0: 4 clean images are needed, 3 were given"),
    ],
)
def test_what_cannot_be_judged_gets_no_verdict_and_the_reason(
    calibration: Calibration,
    shown: LabelledImages | None,
    is_calibrated: bool,  # noqa: FBT001  of a table
    why: str,
) -> None:
    new = fine_tuned(1, ALL)
    found = judged(
        network(),
        new,
        images=shown,
        behaviour=behaviour(new),
        calibration=calibration if is_calibrated else None,
    )
    assert (found.verdict, found.probability) == ("not calibrated", None)
    assert why in found.why
