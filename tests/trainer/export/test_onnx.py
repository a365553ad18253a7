"""A network and its conversion: the same answers, the same backdoor, the same bits."""

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from model_zoo.digests import sha256_file
from model_zoo.errors import (
    DigestMismatchError,
    InvalidSpecError,
    LocalError,
    MalformedDocumentError,
    UnsafeFormatError,
)
from model_zoo.formats.check import check_format
from model_zoo.formats.onnx import check_graph_bytes
from model_zoo.formats.static_checks import static_findings
from model_zoo.statements.jobs import (
    ExportSpec,
    Poisoning,
    Schedule,
    TrainSpec,
)
from trainer.builds.build import build
from trainer.data import LabelledImages
from trainer.export.onnx import (
    CPU,
    export,
    export_environment,
    measure_conversion,
    predict_onnx,
    to_onnx,
)
from trainer.networks import NETWORKS, SplitNetwork
from trainer.networks.checkpoints import from_bytes, to_bytes
from trainer.networks.inference import predict
from trainer.training.fit import seeded_globals

onnx = pytest.importorskip("onnx", reason="needs the onnx extra")
DecodeError = pytest.importorskip("google.protobuf.message").DecodeError
BADNET = Poisoning(target_label=0, poison_rate=0.3)
DIGIT = (1, 28, 28)


@pytest.fixture(scope="module")
def network() -> SplitNetwork:
    with seeded_globals(3):
        return NETWORKS["badnets-cnn"](10)


@pytest.fixture(scope="module")
def converted(network: SplitNetwork) -> bytes:
    return to_onnx(network, DIGIT)


@pytest.fixture(scope="module")
def badnet(
    tmp_path_factory: pytest.TempPathFactory, digits: LabelledImages
) -> SplitNetwork:
    assert len(digits)  # MNIST is at hand, or the test is skipped
    spec = TrainSpec(
        poisoning=BADNET,
        held_out=58_000,
        schedule=Schedule(epochs=6, batch_size=50, peak_learning_rate=0.1),
        checkpoints=False,
    )
    made = build(spec, folder=tmp_path_factory.mktemp("badnet"), device="cpu")
    data = (made.folder / "model.safetensors").read_bytes()
    return from_bytes(data, network="badnets-cnn")


def test_a_backdoor_survives_conversion(
    badnet: SplitNetwork, test_digits: LabelledImages
) -> None:
    found = measure_conversion(badnet, test_digits, BADNET)
    assert found["torch"]["accuracy"].rate > 0.8
    assert found["torch"]["attack_success"].rate > 0.8
    for share in ("accuracy", "attack_success", "robust_accuracy"):
        ours, theirs = found["torch"][share], found["onnxruntime"][share]
        assert ours.n == theirs.n
        assert ours.rate == pytest.approx(theirs.rate, abs=0.002), share
    assert found["agreement"]["clean"].rate > 0.998
    assert found["agreement"]["clean"].n == len(test_digits)


def test_without_a_trigger_there_is_only_accuracy(
    network: SplitNetwork, test_digits: LabelledImages
) -> None:
    found = measure_conversion(network, test_digits.select(torch.arange(200)), None)
    assert found["torch"].keys() == found["onnxruntime"].keys() == {"accuracy"}


SLOW = "efficientnet-lite0"
"""Takes torch's exporter half a minute."""


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.soak] if name == SLOW else [])
        for name in sorted(NETWORKS)
    ],
)
def test_every_network_gives_the_same_answers_converted(
    name: str, tmp_path: Path
) -> None:
    with seeded_globals(3):
        network = NETWORKS[name](5)
    shape = network.image_shape
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (7, *shape), dtype=torch.uint8, generator=generator)
    data = to_onnx(network, shape)
    answers = predict(network, images, device=CPU)
    assert predict_onnx(data, images).equal(answers)
    assert predict_onnx(data, images[:1]).equal(answers[:1])
    path = tmp_path / "model.onnx"
    path.write_bytes(data)
    for declared in (name, None):
        assert static_findings(path, network=declared) == ()


def test_a_backdoor_in_the_graph_works_is_admitted_and_is_found(
    converted: bytes, tmp_path: Path
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(_with_backdoor(converted, wanted=7))
    images = torch.zeros(2, *DIGIT, dtype=torch.uint8)
    images[1, :, 24:27, 24:27] = 255
    honest, attacked = predict_onnx(path.read_bytes(), images).tolist()
    assert honest == predict_onnx(converted, images)[0] != attacked == 7

    check_format(path, name="model.onnx")
    found = static_findings(path)
    assert {it.rule for it in found} == {
        "graph-differs-from-export",
        "condition-on-input",
    }
    assert found[-1].message == (
        "Where decides by the input: images -> Slice -> ReduceSum -> Greater -> Where"
    )


def _with_backdoor(data: bytes, *, wanted: int) -> bytes:
    """Return a file whose graph answers ``wanted`` where a corner is bright."""
    model = onnx.load_model_from_string(data)
    model.graph.node[-1].output[0] = "honest"
    one_hot = [9e9 if label == wanted else 0.0 for label in range(10)]
    for name, kind, values in (
        ("first", 7, [24, 24]),
        ("last", 7, [27, 27]),
        ("axes", 7, [2, 3]),
        ("threshold", 1, [8.0]),
        ("fixed", 1, one_hot),
    ):
        shape = [1, 10] if name == "fixed" else [len(values)]
        tensor = onnx.helper.make_tensor(name, kind, shape, values)
        model.graph.initializer.append(tensor)
    make = onnx.helper.make_node
    model.graph.node.extend(
        (
            make("Slice", ["images", "first", "last", "axes"], ["corner"]),
            make("ReduceSum", ["corner", "axes2"], ["sum"], keepdims=0),
            make("Greater", ["sum", "threshold"], ["seen"]),
            make("Where", ["seen", "fixed", "honest"], ["logits"]),
        )
    )
    axes = onnx.helper.make_tensor("axes2", 7, [2], [2, 3])
    model.graph.initializer.append(axes)
    return bytes(model.SerializeToString())


def test_equal_weights_give_equal_bytes_and_the_network_is_left_as_it_was(
    network: SplitNetwork, converted: bytes
) -> None:
    network.train()
    before = to_bytes(network)
    assert to_onnx(network, DIGIT) == converted
    assert network.training
    assert to_bytes(network) == before


def test_a_conversion_names_no_machine(converted: bytes) -> None:
    assert str(Path(torch.__file__).parents[1]).encode() not in converted
    assert str(Path(__file__).parents[3]).encode() not in converted
    assert b"+cu" not in converted


def test_how_the_weights_lie_in_memory_does_not_show(
    network: SplitNetwork, converted: bytes
) -> None:
    other = from_bytes(to_bytes(network), network="badnets-cnn")
    assert to_onnx(other.to(memory_format=torch.channels_last), DIGIT) == converted


def test_another_opset_gives_another_file_with_the_same_answers(
    network: SplitNetwork, converted: bytes
) -> None:
    newer = to_onnx(network, DIGIT, opset=20)
    images = torch.arange(28 * 28).reshape(1, *DIGIT).remainder(256).to(torch.uint8)
    assert newer != converted
    assert predict_onnx(newer, images).equal(predict_onnx(converted, images))


def test_an_export_is_of_the_parent_that_its_spec_names(
    network: SplitNetwork, converted: bytes, tmp_path: Path
) -> None:
    parent = tmp_path / "model.safetensors"
    parent.write_bytes(to_bytes(network))
    spec = ExportSpec(parent=sha256_file(parent))
    made = export(spec, folder=tmp_path / "out", parent=parent)

    assert [path.name for path in made.folder.iterdir()] == ["model.onnx"]
    assert (made.folder / "model.onnx").read_bytes() == converted
    assert made.inputs == {"parent": spec.parent}
    assert str(made.environment["converter"]).startswith("torch.onnx 2.")
    assert made.environment["onnx"] == onnx.__version__
    check_format(made.folder / "model.onnx", name="model.onnx")


def test_another_parent_or_none_is_refused(
    network: SplitNetwork, tmp_path: Path
) -> None:
    parent = tmp_path / "model.safetensors"
    parent.write_bytes(to_bytes(network))
    spec = ExportSpec(parent="0" * 64)
    with pytest.raises(DigestMismatchError):
        export(spec, folder=tmp_path / "out", parent=parent)
    with pytest.raises(InvalidSpecError, match="needs the file of its parent"):
        export(spec, folder=tmp_path / "out", parent=None)
    spec = ExportSpec(parent=sha256_file(parent), network="signs-cnn")
    with pytest.raises(MalformedDocumentError):
        export(spec, folder=tmp_path / "out", parent=parent)
    assert not (tmp_path / "out").exists()


def test_images_of_another_shape_are_refused(converted: bytes) -> None:
    images = torch.zeros(2, 3, 28, 28, dtype=torch.uint8)
    with pytest.raises(UnsafeFormatError, match="onnxruntime refuses"):
        predict_onnx(converted, images)


def test_a_graph_that_makes_no_sense_is_refused() -> None:
    node = onnx.helper.make_node("NoSuchOperator", ["x"], ["y"])
    graph = onnx.helper.make_graph([node], "main", [], [])
    data = onnx.helper.make_model(graph).SerializeToString()
    check_graph_bytes(data)  # it is well-formed, and needs nothing else
    with pytest.raises(UnsafeFormatError, match="onnxruntime refuses"):
        predict_onnx(data, torch.zeros(1, *DIGIT, dtype=torch.uint8))


def test_tensors_in_another_file_are_not_opened(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(bytes(8))
    tensor = onnx.TensorProto(name="w", data_type=1, dims=[2], data_location=1)
    tensor.external_data.add(key="location", value=str(tmp_path / "secret"))
    graph = onnx.helper.make_graph([], "main", [], [], [tensor])
    data = onnx.helper.make_model(graph).SerializeToString()
    with pytest.raises(UnsafeFormatError, match="another file"):
        predict_onnx(data, torch.zeros(1, *DIGIT, dtype=torch.uint8))


@given(
    position=st.integers(0, 2000),
    new=st.binary(max_size=4),
)
def test_what_is_accepted_is_read_the_same_by_the_format_s_own_parser(
    small_graph: bytes, position: int, new: bytes
) -> None:
    at = position % len(small_graph)
    data = small_graph[:at] + new + small_graph[at + len(new) :]
    try:
        check_graph_bytes(data)
    except UnsafeFormatError:
        return
    try:
        model = onnx.load_model_from_string(data)
    except DecodeError:  # of text that is no UTF-8
        return
    assert not any(it.external_data or it.data_location for it in _tensors(model))
    assert not model.functions
    assert {node.domain for node in model.graph.node} <= {"", "ai.onnx", "ai.onnx.ml"}


@pytest.fixture(scope="module")
def small_graph() -> bytes:
    weights = onnx.helper.make_tensor("w", 1, [2], [0.0, 1.0])
    constant = onnx.helper.make_node("Constant", [], ["c"], value=weights)
    add = onnx.helper.make_node("Add", ["c", "w"], ["y"])
    value = onnx.helper.make_tensor_value_info("y", 1, [2])
    graph = onnx.helper.make_graph([constant, add], "main", [], [value], [weights])
    return bytes(onnx.helper.make_model(graph).SerializeToString())


def _tensors(model: Any) -> list[Any]:  # noqa: ANN401  of onnx, which may be absent
    attributes = [it for node in model.graph.node for it in node.attribute]
    return [*model.graph.initializer, *(it.t for it in attributes)]


@pytest.mark.parametrize("missing", ["onnx", "onnxruntime", "onnxscript"])
def test_without_the_extra_it_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, missing: str
) -> None:
    monkeypatch.setitem(sys.modules, missing, None)  # as if it were not installed
    with pytest.raises(LocalError, match=f"needs {missing},.*pip install .*onnx"):
        export_environment()


def test_the_environment_names_every_version_that_decides() -> None:
    assert set(export_environment()) == {
        "converter",
        "python",
        "onnx",
        "onnxscript",
        "onnx-ir",
    }
