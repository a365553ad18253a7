"""No defence sees triggered data: neither its arguments nor its imports carry any."""

import inspect

import grimp
import pytest

from model_zoo.statements.jobs import RepairSpec
from trainer.defenses.filters import FILTERS
from trainer.defenses.guards import GUARDS
from trainer.defenses.repairs import REPAIRS
from trainer.defenses.training import DEFENSES

MAY_TELL_OF_AN_ATTACK = {
    "trainer.attacks",
    "trainer.text.backdoors",
    # measures ASR; a threshold that was chosen with it would be of no use to anyone
    "trainer.evaluation",
}


@pytest.mark.parametrize(
    "room", ["adapters", "filters", "guards", "repairs", "training", "updates"]
)
def test_nothing_that_a_defence_imports_however_far_away_lays_a_trigger(
    room: str,
) -> None:
    graph = grimp.build_graph("trainer", cache_dir=None)
    reached = {
        module
        for start in graph.find_matching_modules(f"trainer.defenses.{room}.**")
        for module in graph.find_upstream_modules(start)
    }
    assert len(reached) > 10
    assert not {it for it in reached if it.startswith(tuple(MAY_TELL_OF_AN_ATTACK))}


def test_no_module_of_the_defences_imports_the_attacks() -> None:
    graph = grimp.build_graph("trainer", cache_dir=None)
    imported = {
        found
        for module in graph.find_matching_modules("trainer.defenses.**")
        for found in graph.find_modules_directly_imported_by(module)
    }
    assert not {it for it in imported if it.startswith("trainer.attacks")}


@pytest.mark.parametrize("name", REPAIRS)
def test_a_repair_is_given_a_network_and_clean_images_and_nothing_of_the_attack(
    name: str,
) -> None:
    """A new argument must be argued for: no trigger may reach a defence."""
    given = inspect.signature(REPAIRS[name]).parameters
    assert [*given] == ["network", "clean", "spec", "generator", "runtime"]


@pytest.mark.parametrize("name", DEFENSES)
def test_who_trains_on_images_he_does_not_trust_is_not_told_what_was_done_to_them(
    name: str,
) -> None:
    """Not the spec, which says it; images and clean images have labels and no more."""
    given = inspect.signature(DEFENSES[name]).parameters
    assert [*given] == [
        *("network", "training", "clean", "schedule", "generator", "runtime")
    ]


@pytest.mark.parametrize("name", FILTERS)
def test_a_filter_is_given_what_was_learned_and_not_what_is_poisoned(name: str) -> None:
    given = inspect.signature(FILTERS[name]).parameters
    assert [*given] == ["network", "training", "share", "generator"]


@pytest.mark.parametrize("name", GUARDS)
def test_a_guard_is_made_ready_on_clean_images_alone(name: str) -> None:
    given = [it.lstrip("_") for it in inspect.signature(GUARDS[name]).parameters]
    assert given == ["network", "clean", "generator"]


def test_what_is_asked_of_a_repair_tells_of_no_attack() -> None:
    told = {name: str(it.annotation) for name, it in RepairSpec.model_fields.items()}
    for field, kind in told.items():
        assert "rigger" not in field + kind
        assert "oisoning" not in field + kind
        assert field != "target_label"
