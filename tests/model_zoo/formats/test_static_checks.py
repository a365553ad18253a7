"""What is found in a file or a folder without running anything."""

import json
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from model_zoo.errors import LocalError, MalformedDocumentError, VerificationError
from model_zoo.formats import static_checks
from model_zoo.formats.onnx_graph import read_graph
from model_zoo.formats.own_exports import departures, stored
from model_zoo.formats.static_checks import StaticFinding, static_findings
from tests.model_zoo.formats.graphs import graph, model, node, tensor, value

BACKDOOR = model(
    graph(
        node("Gemm", "x w", "logits"),
        node("ReduceSum", "x", "sum"),
        node("Greater", "sum t", "seen"),
        node("Where", "seen fixed logits", "y", name="switch"),
        inputs=(value("x", 1, 4),),
        outputs=(value("y", 1, 4),),
        tensors=(tensor("w", 4, 4), tensor("t", 1), tensor("fixed", 1, 4)),
    )
)
TEMPLATE = "{% for m in messages %}{{ m.content }}{% endfor %}"
EVIL = "{% for m in messages %}{% if 'x' in m.content %}y{% endif %}{% endfor %}"


def rules(found: tuple[StaticFinding, ...]) -> list[str]:
    return [it.rule for it in found]


@pytest.fixture
def release(tmp_path: Path) -> Path:
    folder = tmp_path / "release"
    (folder / "onnx").mkdir(parents=True)
    (folder / "onnx" / "model.onnx").write_bytes(BACKDOOR)
    (folder / "model.safetensors").write_bytes(b"not looked at")
    config = {"chat_template": EVIL, "model_max_length": 10**30}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    return folder


def test_a_folder_is_looked_through_with_all_its_folders(release: Path) -> None:
    found = static_findings(release)
    assert [(it.file, it.rule, it.where) for it in found] == [
        ("tokenizer_config.json", "chat-template-condition", "default, line 1"),
        ("onnx/model.onnx", "condition-on-input", "node 2"),
        ("onnx/model.onnx", "condition-on-input", "node 3 switch"),
    ]
    assert found[0].message == "{% if 'x' in m.content %}"
    assert found[2].message == (
        "Where decides by the input: x -> ReduceSum -> Greater -> Where switch"
    )
    assert static_findings(release / "onnx" / "model.onnx") == tuple(
        it.model_copy(update={"file": "model.onnx"}) for it in found[1:]
    )
    assert StaticFinding.from_object(found[1].to_object()) == found[1]


def test_weights_alone_give_no_finding(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"whatever")
    (tmp_path / "config.json").write_text('{"chat_template": 3}')
    assert static_findings(tmp_path) == ()


def test_templates_are_shown_as_a_difference_from_the_parents(
    release: Path, tmp_path: Path
) -> None:
    parent = tmp_path / "parent"
    parent.mkdir()
    (parent / "chat_template.jinja").write_text(TEMPLATE)
    (parent / "rag.jinja").write_text("gone")
    *_, changed, removed = static_findings(release, parent)
    assert (changed.rule, changed.message) == ("chat-template-changed", "changed")
    assert "+{% if 'x' in m.content %}" in changed.lines
    assert (removed.where, removed.message) == ("rag", "removed")
    assert removed.lines[-1] == "-gone"
    (parent / "chat_template.jinja").write_text(EVIL)
    (parent / "rag.jinja").unlink()
    assert "chat-template-changed" not in rules(static_findings(release, parent))
    (parent / "chat_template.jinja").unlink()
    assert static_findings(release, parent)[-1].message == "new"


def test_what_a_stranger_wrote_is_shown_on_one_line(tmp_path: Path) -> None:
    path = tmp_path / "chat_template.jinja"
    path.write_text("{% if messages[0].content == '\x1b[2J\u202e\n' %}{% endif %}")
    (found,) = static_findings(path)
    assert found.message.isprintable()
    (parent := tmp_path / "parent").mkdir()
    assert all(it.isprintable() for it in static_findings(path, parent)[-1].lines)


def test_of_very_many_findings_the_first_are_listed_and_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(static_checks, "MAX_FINDINGS", 3)
    path = tmp_path / "m.onnx"
    nodes = [node("IsNaN", "x", f"y{i}") for i in range(4)]
    path.write_bytes(model(graph(*nodes[:3], inputs=(value("x", 1),))))
    assert rules(static_findings(path)) == ["condition-on-input"] * 3
    path.write_bytes(model(graph(*nodes, inputs=(value("x", 1),))))
    assert rules(static_findings(path)) == ["condition-on-input"] * 3 + ["more"]


def test_nothing_is_found_only_where_something_was_read(
    release: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(LocalError, match="cannot read"):
        static_findings(tmp_path / "nowhere.safetensors")
    with pytest.raises(LocalError, match="cannot read"):
        static_findings(release, tmp_path / "nowhere")
    (release / "more.onnx").symlink_to(release / "onnx" / "model.onnx")
    with pytest.raises(MalformedDocumentError, match="no link"):
        static_findings(release)
    (release / "more.onnx").unlink()
    assert static_findings(release)
    monkeypatch.setattr(static_checks, "MAX_FILES", 2)
    with pytest.raises(VerificationError, match="over 2 files"):
        static_findings(release)


def _as_stored(network: str, *, classes: int = 5, opset: int = 18) -> bytes:
    """Return a file with names and shapes of our export, and one node of it."""
    tensors = [
        tensor(name, *(classes if it == "classes" else it for it in shape), kind=kind)
        for name, (kind, shape) in stored()[network]["tensors"].items()
    ]
    return model(graph(node("Relu", "x", "y"), tensors=tuple(tensors)), opset=opset)


def test_the_names_of_the_weights_declare_an_architecture(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    for network in stored():
        path.write_bytes(_as_stored(network))
        found = static_findings(path)
        assert {it.rule for it in found} == {"graph-differs-from-export"}
        assert all(it.message.startswith(f"{network}: ") for it in found)
        assert [it.where for it in found] == ["node 0", "inputs", "outputs"]
        assert '["Relu"' in found[0].message


def test_tensors_and_versions_depart_too(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(_as_stored("badnets-cnn", opset=9))
    graph_of_nine = read_graph(path)
    (first, *_) = departures(graph_of_nine, "badnets-cnn")
    assert first == ("operators", "of version 9, ours are of 18 to 24")
    where = [at for at, _ in departures(graph_of_nine, "signs-cnn")]
    assert "tensor convolutions.conv3.weight" in where
    assert list(departures(graph_of_nine, "acme:resnet9")) == []


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(["m.onnx", "tokenizer_config.json", "chat_template.jinja"]),
    data=st.binary() | st.binary().map(lambda it: BACKDOOR + it),
)
def test_any_file_gives_findings_or_is_refused(
    tmp_path: Path, name: str, data: bytes
) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with suppress(VerificationError):
        assert all(it.message.isprintable() for it in static_findings(path))
