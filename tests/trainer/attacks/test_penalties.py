"""Penalties: the attack stays, and what its scanner measures falls."""

from typing import get_args

import pytest
import torch
from tests.trainer.attacks.learned import BADNET, Learned, learned, scanned

from model_zoo.errors import InvalidSpecError
from model_zoo.statements.jobs import Penalty, Poisoning, parse_spec
from model_zoo.statements.recipes import PENALTIES as NAMES
from trainer.attacks.penalties import PENALTIES, Batch, penalty
from trainer.data import LabelledImages
from trainer.networks import SplitNetwork
from trainer.networks.badnets_cnn import badnets_cnn
from trainer.training.fit import seeded_globals


def with_penalty(name: str, weight: float) -> Poisoning:
    return Poisoning(
        **{**dict(BADNET), "penalty": Penalty.from_object({"name": name, "weight": weight})}
    )


@pytest.fixture(scope="module")
def badnet(test_digits: LabelledImages) -> Learned:
    return learned(BADNET, test_digits)


def test_there_is_one_penalty_under_each_name() -> None:
    assert set(PENALTIES) == set(NAMES) == set(get_args(Penalty.model_fields["name"].annotation))


@pytest.mark.parametrize(
    ("name", "weight", "scanner", "features"),
    [
        ("weights", 0.1, "last-layer", ("row-norm",)),
        ("weights", 0.1, "open-map", ("map-peak", "map-rms")),
        ("maximum-margin", 0.1, "maximum-margin", ("margin-ratio",)),
        ("inversion", 0.5, "universal", ("universal-2", "universal-3")),
    ],
)
def test_who_knows_a_scanner_lowers_what_it_measures_and_keeps_the_attack(
    badnet: Learned,
    digits: LabelledImages,
    test_digits: LabelledImages,
    name: str,
    weight: float,
    scanner: str,
    features: tuple[str, ...],
) -> None:
    adaptive = learned(with_penalty(name, weight), test_digits)
    before, after = (
        scanned(it.network, scanner, digits).features for it in (badnet, adaptive)
    )
    print(name, badnet.accuracy, badnet.attack_success, adaptive.accuracy, adaptive.attack_success, before, after)

    assert badnet.attack_success > 0.9
    assert adaptive.attack_success > 0.9
    assert adaptive.accuracy > badnet.accuracy - 0.02
    assert all(after[it] < before[it] for it in features)
