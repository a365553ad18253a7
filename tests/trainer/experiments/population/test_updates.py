"""Updates: each is of a clean network, and the test's were seen in no calibration."""

from collections import Counter

import pytest

from model_zoo.statements.jobs import FineTuneSpec
from trainer.experiments.population.makers import DIGITS
from trainer.experiments.population.members import BACKDOORED, Member, members
from trainer.experiments.population.updates import ANEW, HEAD, updates
from trainer.experiments.population.yields import poisoning_of


@pytest.fixture(scope="module")
def everyone() -> list[Member]:
    return updates("full")


def test_what_is_updated_is_a_clean_network_of_the_same_split(
    everyone: list[Member],
) -> None:
    clean = {
        split: [
            it.recipe
            for it in members(DIGITS, "full")
            if (it.kind, it.split) == ("clean", split)
        ]
        for split in ("calibration", "test")
    }
    for it in everyone:
        assert it.old in clean[it.split]
        assert it.recipe != it.old
        is_anew = it.kind == ANEW
        assert (it.recipe in clean[it.split]) == is_anew
        assert it.recipe.parent == (None if is_anew else it.old)


def test_families_and_kinds_of_the_test_are_seen_in_no_calibration(
    everyone: list[Member],
) -> None:
    kinds = {
        split: Counter(it.kind for it in everyone if it.split == split)
        for split in ("calibration", "test")
    }
    assert kinds["calibration"].keys() < kinds["test"].keys()
    assert len(kinds["test"].keys() - kinds["calibration"].keys()) == 4
    honest = sum(kinds["test"].values()) - kinds["test"][BACKDOORED]
    assert (honest, kinds["test"][BACKDOORED]) == (170, 96)
    families = [
        {it.family for it in everyone if it.family and it.split == split}
        for split in ("calibration", "test")
    ]
    assert not families[0] & families[1]


def test_an_update_is_poisoned_exactly_if_it_says_so(everyone: list[Member]) -> None:
    for it in everyone:
        poisoning = poisoning_of(it.recipe)
        assert (poisoning is not None) == (it.kind == BACKDOORED)
        if isinstance(it.recipe.spec, FineTuneSpec):
            frozen = it.recipe.spec.retrain == "fully-connected"
            assert frozen == (it.kind == HEAD)
