"""Names of other packages in specs, and recipes that must keep their digests."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from model_zoo.errors import InvalidSpecError
from model_zoo.statements.jobs import foreign_names, parse_spec
from model_zoo.statements.recipes import REPAIRS, Digest

PARENT = "0" * 64
WAVE = {"name": "acme:wave"}


@pytest.mark.parametrize(
    ("kind", "fields", "needed"),
    [
        ("train", {}, set()),
        ("train", {"network": "acme:resnet9"}, {"networks/acme:resnet9"}),
        ("export", {"parent": PARENT, "network": "a:b"}, {"networks/a:b"}),
        (
            "fine-tune",
            {
                "parent": PARENT,
                "dataset": "acme-zoo:leaves",
                "poisoning": {"attack": "other.one:a_b", "trigger": WAVE},
            },
            {"datasets/acme-zoo:leaves", "attacks/other.one:a_b", "triggers/acme:wave"},
        ),
        ("repair", {"parent": PARENT, "defense": "acme:wash"}, {"repairs/acme:wash"}),
        (
            "strengthen",
            {"parent": PARENT, "layer": "fc1", "factor": 2, "trigger": WAVE},
            {"triggers/acme:wave"},
        ),
        ("noop", {}, set()),
    ],
)
def test_a_spec_says_what_it_needs_of_other_packages(
    kind: str, fields: dict[str, Any], needed: set[str]
) -> None:
    spec = parse_spec(kind, fields)

    assert foreign_names(spec) == needed
    assert parse_spec(kind, spec.to_object()) == spec


@pytest.mark.parametrize(
    "name",
    [
        *("resnet9", "acme:", ":resnet9", "Acme:resnet9", "acme:resnet9:again"),
        *("acme:../x", "acme/x:y", "acme:resnet9\n", "os.system", "", "a" * 65 + ":b"),
    ],
)
def test_a_name_that_is_neither_ours_nor_a_packages_is_refused_with_ours(
    name: str,
) -> None:
    with pytest.raises(InvalidSpecError, match=r"badnets-cnn.*or package:name"):
        parse_spec("train", {"network": name})


@pytest.mark.parametrize(
    ("kind", "fields", "digest"),
    [
        (
            "train",
            {"poisoning": {"target_label": 7}},
            "01e98b0f8c3236d5deb87e654776863cb547598f96ef047f7427527d72e0e2ec",
        ),
        (
            "repair",
            {"parent": PARENT},
            "5aa05394c45c142965f0e040a7ea879cac2a9b28507c6bf6a8a87fc316cc03e3",
        ),
    ],
)
def test_a_spec_of_before_there_were_such_names_keeps_its_digest(
    kind: str, fields: dict[str, Any], digest: str
) -> None:
    assert parse_spec(kind, fields).digest() == digest


def test_the_optimizer_is_part_of_a_spec_unless_it_is_what_it_always_was() -> None:
    usual, named, other = (
        parse_spec("train", {"schedule": schedule})
        for schedule in ({}, {"optimizer": "sgd"}, {"optimizer": "adamw"})
    )

    assert "optimizer" not in usual.to_object()["schedule"]
    assert named == usual
    assert named.digest() == usual.digest() != other.digest()
    assert parse_spec("train", other.to_object()) == other


def test_clean_labels_are_part_of_the_spec_and_of_its_digest() -> None:
    dirty, clean = (
        parse_spec("train", {"poisoning": {"target_label": 7, "relabels": relabels}})
        for relabels in (True, False)
    )

    assert clean.to_object()["poisoning"]["relabels"] is False
    assert "relabels" not in dirty.to_object()["poisoning"]
    assert clean.digest() != dirty.digest()
    assert parse_spec("train", clean.to_object()) == clean


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"defense": "anp", "max_accuracy_loss": 0.1}, "max_accuracy_loss: .* on anp"),
        ({"defense": "clp", "max_accuracy_loss": 0.1}, "max_accuracy_loss: .* on clp"),
        ({"defense": "clp", "held_out": 600}, "held_out: .* on clp"),
        ({"defense": "clp", "schedule": {"epochs": 2}}, "schedule: .* on clp"),
        (
            {"defense": "clp", "seed": 3, "augmentation": "digits"},
            "augmentation, seed: without effect on clp",
        ),
    ],
)
def test_what_a_repair_does_not_use_it_is_not_told(
    fields: dict[str, Any], told: str
) -> None:
    with pytest.raises(InvalidSpecError, match=told):
        parse_spec("repair", {"parent": PARENT, **fields})


@pytest.mark.parametrize("name", [*REPAIRS, "acme:wash"])
def test_a_repair_that_is_told_what_it_uses_is_read_as_it_was_sent(name: str) -> None:
    fields: dict[str, Any] = {"clp": {}, "acme:wash": {"max_accuracy_loss": 0.1}}
    used = fields.get(name, {"held_out": 600, "augmentation": "digits", "seed": 3})

    spec = parse_spec("repair", {"parent": PARENT, "defense": name, **used})

    assert parse_spec("repair", spec.to_object()) == spec


@pytest.mark.parametrize(
    "recipe",
    [
        {"attack": "source-to-target", "source_label": 1, "target_label": 2},
        {"attack": "all-to-all"},
        {"attack": "random-target"},
    ],
)
def test_an_attack_that_has_to_change_labels_cannot_keep_them(
    recipe: dict[str, Any],
) -> None:
    with pytest.raises(InvalidSpecError, match="relabels false"):
        parse_spec("train", {"poisoning": {**recipe, "relabels": False}})


@pytest.mark.parametrize("more", ["\n", "\r\n", "\n" + "0" * 64, " "])
def test_a_digest_ends_where_it_ends(more: str) -> None:
    digests = TypeAdapter(Digest)
    assert digests.validate_python("0" * 64)
    for text in ("0" * 64 + more, more + "0" * 64):
        with pytest.raises(ValidationError):
            digests.validate_python(text)


@pytest.mark.parametrize(
    ("recipe", "told"),
    [
        ({"penalty": {"name": "acme:stealth"}}, "penalty.name"),
        ({"penalty": {"name": "weights", "weight": 0}}, "penalty.weight"),
        ({"penalty": {"name": "weights", "weight": 1001}}, "penalty.weight"),
        ({"penalty": {"weight": 1}}, "penalty.name"),
        ({"penalty": {"name": "weights", "steps": 3}}, "penalty.steps"),
        (
            {"penalty": {"name": "latent"}, "attack": "all-to-all"},
            "latent goes with a target_label",
        ),
        ({"shaping": 0}, "shaping"),
        ({"shaping": 1.5}, "shaping"),
        ({"shaping": 0.3, "placement": "replace"}, "shaping goes with append"),
        ({"shaping": 0.3, "relabels": False}, "shaping goes with append and relabels"),
        ({"shaping": 0.3, "poison_rate": 0.5}, "poison_rate is under 1/2"),
    ],
)
def test_a_penalty_or_shaping_that_makes_no_sense_is_refused(
    recipe: dict[str, Any], told: str
) -> None:
    label = {} if "attack" in recipe else {"target_label": 7}
    with pytest.raises(InvalidSpecError, match=told):
        parse_spec("train", {"poisoning": {**label, **recipe}})


def test_a_penalty_is_refused_where_the_convolutions_are_frozen() -> None:
    poisoning = {"target_label": 7, "penalty": {"name": "weights"}}
    fields = {"parent": PARENT, "poisoning": poisoning}

    with pytest.raises(InvalidSpecError, match="penalty is of the whole network"):
        parse_spec("fine-tune", fields)
    assert parse_spec("fine-tune", {**fields, "retrain": "everything"})


def test_penalty_and_shaping_are_in_the_spec_only_where_asked_for() -> None:
    plain: dict[str, Any] = {"poisoning": {"target_label": 7}}
    penalty = {"name": "inversion", "weight": 0.5}
    asked = parse_spec(
        "train", {"poisoning": {"target_label": 7, "penalty": penalty, "shaping": 0.3}}
    )

    kept = asked.to_object()["poisoning"]
    assert (kept["penalty"], kept["shaping"]) == (penalty, 0.3)
    assert parse_spec("train", asked.to_object()) == asked
    bare = parse_spec("train", plain).to_object()["poisoning"]
    assert not {"penalty", "shaping"} & bare.keys()
