"""The population: what is tested on was seen in no calibration."""

from collections import Counter

import pytest

from model_zoo.statements.jobs import FineTuneSpec, TrainSpec
from trainer.experiments.population.makers import DIGITS, SIGNS, Makers
from trainer.experiments.population.members import Member, members
from trainer.experiments.population.yields import poisoning_of


@pytest.fixture(scope="module", params=[DIGITS, SIGNS], ids=["digits", "signs"])
def makers(request: pytest.FixtureRequest) -> Makers:
    found: Makers = request.param
    return found


@pytest.fixture(scope="module")
def everyone(makers: Makers) -> list[Member]:
    return members(makers, "full")


def test_no_two_members_are_made_alike_and_the_list_is_the_same_each_time(
    makers: Makers,
    everyone: list[Member],
) -> None:
    recipes = [it.recipe.to_object() for it in everyone]
    assert len({str(it) for it in recipes}) == len(everyone)
    assert [it.recipe.to_object() for it in members(makers, "full")] == recipes


def test_families_rates_and_odd_kinds_of_the_test_are_seen_in_no_calibration(
    makers: Makers,
    everyone: list[Member],
) -> None:
    seen = [it for it in everyone if it.split == "calibration"]
    unseen = [it for it in everyone if it.split == "test"]
    assert not {it.family for it in seen if it.family} & {
        it.family for it in unseen if it.family
    }
    unseen_kinds = {*makers.unseen_odd, "foreign"}
    assert not {it.kind for it in seen} & unseen_kinds
    assert unseen_kinds < {it.kind for it in unseen}
    assert not _rates(seen) & _rates(unseen)


def _rates(some: list[Member]) -> set[float]:
    attacks = (poisoning_of(it.recipe) for it in some)
    return {it.poison_rate for it in attacks if it is not None}


def test_the_test_split_of_digits_is_as_large_as_is_asked() -> None:
    everyone = members(DIGITS, "full")
    test = Counter(it.kind for it in everyone if it.split == "test")
    assert test["backdoored"] >= 200
    assert test["clean"] + test["foreign"] >= 300
    assert test["foreign"] >= 100
    assert sum(test.values()) - test["backdoored"] >= 400


def test_a_member_is_backdoored_exactly_if_its_recipe_poisons(
    everyone: list[Member],
) -> None:
    for member in everyone:
        poisoning = poisoning_of(member.recipe)
        assert (poisoning is not None) == (member.kind == "backdoored")
        if poisoning is not None and poisoning.relabels:
            assert poisoning.attack == member.attack


def test_any_first_part_of_it_has_some_of_every_kind(everyone: list[Member]) -> None:
    first = Counter((it.split, it.kind) for it in everyone[:300])
    assert first.keys() == {(it.split, it.kind) for it in everyone}


def test_each_learns_from_its_own_draw_and_not_from_the_defenders_images(
    makers: Makers,
    everyone: list[Member],
) -> None:
    for member in everyone:
        spec = member.recipe.spec
        assert isinstance(spec, TrainSpec | FineTuneSpec)
        assert spec.held_out == makers.held_out
        assert spec.network == makers.network
        if isinstance(spec, TrainSpec):
            assert spec.draw is not None
            assert spec.seed == member.number
