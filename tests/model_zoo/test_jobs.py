import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_zoo.errors import InvalidSpecError
from model_zoo.jobs import (
    JOB_KINDS,
    FineTuneSpec,
    JobSpec,
    NoopSpec,
    Poisoning,
    RepairSpec,
    TrainSpec,
    kind_of,
    parse_spec,
)

PARENT = "0" * 64


@pytest.mark.parametrize(
    "spec",
    [
        TrainSpec(),
        TrainSpec(poisoning=Poisoning(target_label=7), classes=(0, 1, 2)),
        FineTuneSpec(parent=PARENT),
        RepairSpec(parent=PARENT),
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
        ("train", {"poisoning": {"trigger": "eval"}}, "trigger"),
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


@given(
    kind=st.sampled_from(sorted(JOB_KINDS)) | st.text(),
    fields=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner),
    ),
)
def test_any_json_is_a_spec_or_a_told_refusal(kind: str, fields: object) -> None:
    try:
        spec = parse_spec(kind, fields)
    except InvalidSpecError:
        return
    assert kind_of(spec) == kind
