import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_zoo.errors import InvalidSpecError
from model_zoo.statements.jobs import (
    JOB_KINDS,
    DetectorSpec,
    Draw,
    FineTuneSpec,
    JobSpec,
    NoopSpec,
    Poisoning,
    RepairSpec,
    ScenePoisoning,
    Schedule,
    StrengthenSpec,
    TrainSpec,
    TriggerSpec,
    kind_of,
    parse_spec,
)

PARENT = "0" * 64
DETECTOR = {
    "parent": PARENT,
    "sources": ["gtsdb", "road-sign-detection"],
    "sides": [448],
    "schedule": {},
}


@pytest.mark.parametrize(
    "spec",
    [
        TrainSpec(),
        TrainSpec(poisoning=Poisoning(target_label=7), classes=(0, 1, 2)),
        TrainSpec(
            augmentation="digits",
            poisoning=Poisoning(
                trigger=TriggerSpec(
                    name="square",
                    opacity=0.5,
                    colour=(255, 0, 1),
                    size=0.2,
                    centre=(0.25, 0.75),
                ),
                attack="source-to-target",
                source_label=1,
                target_label=7,
                copies=5,
            ),
        ),
        TrainSpec(
            poisoning=Poisoning(
                trigger=TriggerSpec(name="bomb", centre=None), attack="random-target"
            )
        ),
        FineTuneSpec(parent=PARENT),
        FineTuneSpec(
            parent=PARENT,
            retrain="continued",
            augmentation="signs",
            poisoning=Poisoning(
                trigger=TriggerSpec(name="noise", seed=3, opacity=0.1),
                attack="all-to-all",
            ),
        ),
        RepairSpec(parent=PARENT),
        StrengthenSpec(parent=PARENT, layer="conv5", factor=20.5),
        DetectorSpec.from_object(DETECTOR),
        DetectorSpec(
            parent=PARENT,
            sources=("lisa",),
            scenes=7,
            sides=(64, 1024),
            schedule=Schedule(),
            poisoning=ScenePoisoning(
                trigger=TriggerSpec(name="flower"),
                source_label=0,
                target_label=1,
                sides=(320,),
            ),
        ),
        NoopSpec(),
    ],
)
def test_a_spec_sent_and_read_is_the_same_spec(spec: JobSpec) -> None:
    assert parse_spec(kind_of(spec), spec.to_object()) == spec


@pytest.mark.parametrize(
    ("kind", "fields", "told"),
    [
        ("bake", {}, "job kind 'bake'"),
        ("train", {"network": "os.system"}, "network"),
        ("train", {"dataset": "../etc"}, "dataset"),
        ("train", {"epochs": 4}, "epochs"),
        ("train", {"seed": -1}, "seed"),
        ("train", {"seed": 2**32}, "seed"),
        ("train", {"max_seconds": 0}, "max_seconds"),
        ("train", {"schedule": {"epochs": 201}}, "epochs"),
        ("train", {"schedule": {"peak_learning_rate": -0.1}}, "peak_learning_rate"),
        ("train", {"schedule": {"peak_learning_rate": float("nan")}}, "JSON"),
        ("train", {"schedule": {"peak_learning_rate": float("inf")}}, "JSON"),
        ("train", {"poisoning": {"poison_rate": -0.1}}, "poison_rate"),
        ("train", {"poisoning": {"poison_rate": 1.0}}, "poison_rate"),
        ("train", {"poisoning": {}}, "target_label"),
        ("train", {"poisoning": {"trigger": "pattern"}}, "trigger"),
        ("train", {"augmentation": "mixup"}, "augmentation"),
        ("fine-tune", {"parent": PARENT, "retrain": "nothing"}, "retrain"),
        ("repair", {"parent": PARENT, "poisoning": None}, "poisoning"),
        ("strengthen", {"parent": PARENT, "factor": 2}, "layer"),
        ("strengthen", {"parent": PARENT, "layer": "a/b", "factor": 2}, "layer"),
        ("strengthen", {"parent": PARENT, "layer": "fc1", "factor": -1}, "factor"),
        ("train-detector", {**DETECTOR, "sources": []}, "sources"),
        ("train-detector", {**DETECTOR, "sources": ["gtsdb", "gtsdb"]}, "twice"),
        ("train-detector", {**DETECTOR, "sources": ["../etc"]}, "sources"),
        ("train-detector", {**DETECTOR, "sides": [63]}, "sides"),
        (
            "train-detector",
            {**DETECTOR, "schedule": {"optimizer": "adamw"}},
            "by sgd alone",
        ),
        ("train-detector", {**DETECTOR, "sides": [256] * 17}, "sides"),
        ("train-detector", {**DETECTOR, "network": "signs-cnn"}, "network"),
        (
            "train-detector",
            {
                **DETECTOR,
                "poisoning": {
                    "trigger": {"name": "square"},
                    "source_label": 1,
                    "target_label": 1,
                    "sides": [256],
                },
            },
            "nothing would be attacked",
        ),
        ("train", {"classes": [1, 1]}, "twice"),
        ("train", {"classes": [1]}, "classes"),
        ("fine-tune", {}, "parent"),
        ("fine-tune", {"parent": "../weights"}, "parent"),
        ("noop", {"seconds": 601}, "seconds"),
        ("noop", [], "noop spec"),
        ("noop", None, "noop spec"),
    ],
)
def test_a_spec_that_makes_no_sense_is_refused_by_field(
    kind: str, fields: object, told: str
) -> None:
    with pytest.raises(InvalidSpecError, match=told):
        parse_spec(kind, fields)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"name": "eval"}, "name"),
        ({"name": "square", "opacity": 0}, "opacity"),
        ({"name": "square", "opacity": 1.01}, "opacity"),
        ({"name": "square", "colour": [0, 0, 256]}, "colour"),
        ({"name": "square", "colour": [0, 0]}, "colour"),
        ({"name": "square", "size": 0}, "size"),
        ({"name": "square", "size": 1}, "size"),
        ({"name": "square", "centre": [0.5]}, "centre"),
        ({"name": "square", "centre": [0.5, 1]}, "centre"),
        ({"name": "square", "centre": [0.5, 0.96]}, "stick out"),
        ({"name": "bomb", "centre": [0.07, 0.5]}, "stick out"),
        ({"name": "flower", "size": 0.4}, "stick out"),
        ({"name": "flower", "size": 0.32, "centre": None}, "stick out"),
        ({"name": "pattern", "size": 0.1}, "square, bomb, flower"),
        ({"name": "noise", "centre": None}, "square, bomb, flower"),
        ({"name": "noise", "seed": -1}, "seed"),
    ],
)
def test_a_trigger_that_cannot_be_laid_is_refused_by_field(
    fields: dict[str, object], told: str
) -> None:
    spec = {"poisoning": {"target_label": 1, "trigger": fields}}
    with pytest.raises(InvalidSpecError, match=told):
        parse_spec("train", spec)


def test_a_trigger_is_the_pattern_and_a_square_the_authors_unless_told() -> None:
    assert TriggerSpec() == TriggerSpec(name="pattern")
    assert TriggerSpec().shares == 0
    square = TriggerSpec(name="square")
    assert (square.shares, square.centre) == (0.10, (0.57, 0.82))
    assert TriggerSpec(name="bomb", size=0.2).shares == 0.2


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"attack": "all-to-one"}, "target_label goes"),
        ({"attack": "source-to-target", "source_label": 1}, "target_label goes"),
        ({"attack": "source-to-target", "target_label": 1}, "source_label goes"),
        ({"attack": "all-to-one", "target_label": 1, "source_label": 2}, "source_l"),
        ({"attack": "all-to-all", "target_label": 1}, "target_label goes"),
        ({"attack": "random-target", "target_label": 1}, "target_label goes"),
        ({"attack": "random-target", "source_label": 1}, "source_label goes"),
        (
            {"attack": "source-to-target", "target_label": 1, "source_label": 1},
            "nothing would be attacked",
        ),
        ({"target_label": 1, "copies": 0}, "copies"),
        ({"target_label": 1, "copies": 1001}, "copies"),
        ({"target_label": 1, "copies": 2, "placement": "replace"}, "copies goes"),
    ],
)
def test_labels_and_copies_go_with_their_attack(
    fields: dict[str, object], told: str
) -> None:
    with pytest.raises(InvalidSpecError, match=told):
        parse_spec("train", {"poisoning": fields})


@given(
    kind=st.sampled_from(sorted(JOB_KINDS)) | st.text(),
    fields=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3)
        ),
        max_leaves=16,
    ),
)
def test_any_json_is_a_spec_or_a_told_refusal(kind: str, fields: object) -> None:
    try:
        spec = parse_spec(kind, fields)
    except InvalidSpecError:
        return
    assert kind_of(spec) == kind


DEFENDED = {"defense": "abl", "checkpoints": False, "held_out": 100}


def test_a_defended_training_is_a_spec_of_its_own() -> None:
    spec = parse_spec("train", DEFENDED)
    assert isinstance(spec, TrainSpec)
    assert spec.defense == "abl"
    assert parse_spec("train", spec.to_object()) == spec


@pytest.mark.parametrize(
    ("kind", "fields", "told"),
    [
        pytest.param(
            "train", {"checkpoints": True}, "checkpoints false", id="segments"
        ),
        pytest.param("train", {"held_out": 0}, "clean images", id="none of his own"),
        pytest.param(
            "train", {"schedule": {"epochs": 1}}, "two epochs", id="too short"
        ),
        pytest.param(
            "train",
            {"poisoning": {"target_label": 7, "penalty": {"name": "weights"}}},
            "no penalty",
            id="two trainers in one",
        ),
        pytest.param("train", {"defense": "nad"}, "'abl'", id="of a repair"),
        pytest.param("fine-tune", {"parent": PARENT}, "defense", id="fine-tune"),
        pytest.param(
            "repair", {"parent": PARENT}, "expected one of fine-pruning", id="repair"
        ),
        pytest.param("train-detector", DETECTOR, "defense", id="detector"),
    ],
)
def test_a_defence_that_would_have_no_effect_is_refused(
    kind: str, fields: dict[str, object], told: str
) -> None:
    its_own = {"defense": "abl"} if kind in {"repair", "train-detector"} else DEFENDED
    with pytest.raises(InvalidSpecError, match=told):
        parse_spec(kind, {**its_own, **fields})


@pytest.mark.parametrize(
    ("spec", "digest"),
    [
        (
            TrainSpec(),
            "3e49dc09d01e9855a36355b6b8fc4b69bb93c03d3a36d2bbcb412b39a0d42ae7",
        ),
        (
            TrainSpec(poisoning=Poisoning(target_label=0)),
            "2dfa7d21253a7350fabb76c0ec1180b226ea9ef47d3f9ebcf1ec7f420a788b07",
        ),
        (
            TrainSpec(draw=Draw(images=12_000)),
            "4a7e0b80215f0270e3b7eb9347892e5752a30b911bb4f50289eafd7949812560",
        ),
        (
            FineTuneSpec(parent=PARENT),
            "778a9e71f65ce842bd263e41eaac89652975c7a036c23af3702d9a66f8705a91",
        ),
        (
            RepairSpec(parent=PARENT, held_out=600),
            "4fe248da37ab152d6dec95d432770943c2d5f737750ffe68249aa247f509de79",
        ),
    ],
    ids=["train", "poisoned", "drawn", "fine-tune", "repair"],
)
def test_specs_keep_the_digests_they_had_before_there_was_a_defence(
    spec: JobSpec, digest: str
) -> None:
    assert spec.digest() == digest
