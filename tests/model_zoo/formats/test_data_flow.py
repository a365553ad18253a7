"""Which operators of a graph decide by its input, in graphs written by hand."""

import io
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_zoo.errors import UnsafeFormatError
from model_zoo.formats import onnx_graph
from model_zoo.formats.data_flow import Decision, decisions
from model_zoo.formats.onnx_graph import Graph, graph_in
from tests.model_zoo.formats.graphs import (
    BOOL,
    FLOAT,
    INT64,
    branch,
    graph,
    integer,
    model,
    node,
    part,
    tensor,
    value,
)

IMAGES, IDS = (value("x", 1, 4),), (value("x", 1, 4, kind=INT64),)
TENSORS = (tensor("t", 4), tensor("fixed", 1, 4), tensor("flag", 1, kind=BOOL))


def read(data: bytes) -> Graph:
    return graph_in(io.BytesIO(data), size_bytes=len(data))


def found(
    *nodes: bytes,
    inputs: tuple[bytes, ...] = IMAGES,
    tensors: tuple[bytes, ...] = TENSORS,
) -> list[Decision]:
    outputs = (value("y", 1, 4),)
    main = graph(*nodes, inputs=inputs, outputs=outputs, tensors=tensors)
    return list(decisions(read(model(main))))


def told(*nodes: bytes, inputs: tuple[bytes, ...] = IMAGES) -> list[tuple[str, str]]:
    return [(it.node.operator, it.rule) for it in found(*nodes, inputs=inputs)]


def test_a_backdoor_of_four_nodes_is_found_with_its_way_from_the_input() -> None:
    comparing, choosing = found(
        node("Gemm", "x t", "logits"),
        node("ReduceSum", "x", "sum", name="corner"),
        node("Greater", "sum t", "seen", name="is_triggered"),
        node("Where", "seen fixed logits", "y"),
    )
    assert (comparing.rule, comparing.place) == ("condition-on-input", "2")
    assert comparing.path == ("x", "ReduceSum corner", "Greater is_triggered")
    assert choosing.node.operator == "Where"
    assert choosing.path == (*comparing.path, "Where")


def test_what_only_chooses_between_answers_to_the_input_is_no_condition() -> None:
    assert told(node("Where", "flag x fixed", "y")) == []
    assert told(node("Relu", "x", "r"), node("MaxPool", "r", "y")) == []


def test_a_shape_does_not_carry_what_the_input_says() -> None:
    assert (
        told(
            node("Shape", "x", "s"),
            node("Equal", "s t", "e"),
            node("Where", "e fixed s", "w"),
            node("Reshape", "x w", "y"),
        )
        == []
    )


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        pytest.param(
            [
                node("Cast", "x", "i", integer("to", INT64)),
                node("Mod", "i t", "m"),
                node("Cast", "m", "f", integer("to", FLOAT)),
                node("Mul", "f fixed", "y"),
            ],
            ["Cast", "Mod"],
            id="hashing",
        ),
        pytest.param(
            [
                node("Sub", "x t", "d"),
                node("Sign", "d", "s"),
                node("Mul", "s fixed", "y"),
            ],
            ["Sign"],
            id="a step times an answer",
        ),
        pytest.param(
            [
                node("Concat", "x t", "c"),
                node("ArgMax", "c", "i"),
                node("Gather", "fixed i", "y"),
            ],
            ["ArgMax", "Gather"],
            id="an answer looked up",
        ),
        pytest.param([node("ai.onnx.ml", "x", "y")], [], id="an operator of that name"),
        pytest.param(
            [node("TreeEnsembleRegressor", "x", "y", part(7, b"ai.onnx.ml"))],
            ["ai.onnx.ml.TreeEnsembleRegressor"],
            id="a decision tree",
        ),
        pytest.param(
            [
                node("Cast", "x", "i", part(5, part(1, b"to"), part(4, b"float"))),
                node("Mul", "i fixed", "y"),
            ],
            ["Cast"],
            id="a conversion that hides to what",
        ),
    ],
)
def test_comparing_without_a_comparison_is_found(
    nodes: list[bytes], expected: list[str]
) -> None:
    assert [operator for operator, _ in told(*nodes)] == expected


def test_a_label_is_the_graphs_own_answer_and_decides_nothing() -> None:
    assert (
        told(
            node("Gemm", "x t", "logits"),
            node("ArgMax", "logits", "i"),
            node("Cast", "i", "y", integer("to", 6)),
        )
        == []
    )


def test_words_are_looked_up_but_not_by_arithmetic() -> None:
    plain = (node("Cast", "x", "i", integer("to", 6)), node("Gather", "fixed i", "y"))
    assert told(*plain, inputs=IDS) == []
    assert told(*plain) == [
        ("Cast", "integer-arithmetic-on-input"),
        ("Gather", "selection-by-input"),
    ]
    hashed = (node("Mul", "x t", "i"), node("Gather", "fixed i", "y"))
    assert told(*hashed, inputs=IDS) == [("Gather", "selection-by-input")]


def test_branches_are_searched_for_what_they_read_from_around_them() -> None:
    inner = graph(
        node("Less", "around t", "l"),
        node("Where", "l fixed fixed", "w", name="inner"),
        outputs=(value("w", 1, 4),),
    )
    outer = graph(
        node("If", "flag", "o", branch("then_branch", inner)), outputs=(value("o", 1),)
    )
    less, where = found(
        node("Relu", "x", "around"),
        node("If", "flag", "y", branch("then_branch", outer)),
    )
    assert less.place == "1.0.0.0.0"
    assert where.path == ("x", "Relu", "Less", "Where inner")


def test_a_branch_that_the_input_chooses_is_found_and_what_comes_of_it() -> None:
    inner = graph(outputs=(value("fixed", 1, 4),))
    assert told(
        node("Cast", "x", "c", integer("to", BOOL)),
        node("If", "c", "o", branch("then_branch", inner)),
        node("Equal", "o t", "y"),
    ) == [
        ("Cast", "integer-arithmetic-on-input"),
        ("If", "condition-on-input"),
        ("Equal", "condition-on-input"),
    ]


def test_a_loop_hands_its_state_round_and_back() -> None:
    body = graph(
        node("Equal", "previous t", "same"),
        node("Identity", "state", "next"),
        inputs=tuple(value(it, 1) for it in ("i", "go", "previous", "state")),
        outputs=tuple(value(it, 1) for it in ("go", "next", "state")),
    )
    loop = node("Loop", "t flag fixed x", "a b", branch("body", body))
    assert told(loop, node("Greater", "a t", "y")) == [
        ("Loop", "loop-over-input"),
        ("Equal", "condition-on-input"),
        ("Greater", "condition-on-input"),
    ]
    still = node("Loop", "t flag fixed fixed", "a b", branch("body", body))
    assert told(still, node("Greater", "a t", "y")) == []


def test_nodes_may_stand_in_any_order() -> None:
    assert told(
        node("Where", "seen fixed fixed", "y"), node("Greater", "x t", "seen")
    ) == [("Where", "condition-on-input"), ("Greater", "condition-on-input")]


def test_a_long_way_from_the_input_is_cut_in_the_middle() -> None:
    way = [node("Relu", f"v{i}", f"v{i + 1}", name=f"n{i}") for i in range(50)]
    first = node("Relu", "x", "v0", name="first")
    (only,) = found(first, *way, node("IsNaN", "v50", "y"))
    assert only.path[:2] == ("x", "Relu first")
    assert only.path[4] == "..."
    assert only.path[-2:] == ("Relu n49", "IsNaN")


def test_a_graph_of_more_nodes_or_longer_names_than_any_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    relu = node("Relu", "x", "y")
    data = model(graph(*[relu] * 5, node("If", "x", "y", branch("a", graph(relu)))))
    monkeypatch.setattr(onnx_graph, "MAX_NODES", 7)
    assert len(read(data).nodes) == 6
    monkeypatch.setattr(onnx_graph, "MAX_NODES", 6)
    with pytest.raises(UnsafeFormatError, match="more than 6 nodes"):
        read(data)
    with pytest.raises(UnsafeFormatError, match="a name of 5000 bytes"):
        read(model(graph(node("Relu", "x" * 5000, "y"))))
    with pytest.raises(UnsafeFormatError, match="not UTF-8"):
        read(model(graph(part(1, b"\xff") + part(4, b"Relu"))))


BACKDOOR = model(
    graph(
        node("Greater", "x t", "seen"),
        node("If", "seen", "y", branch("then_branch", graph(node("Relu", "x", "r")))),
        inputs=IMAGES,
        outputs=(value("y", 1, 4),),
        tensors=TENSORS,
    )
)


@given(
    start=st.integers(0, len(BACKDOOR)),
    length=st.integers(0, 3),
    new=st.binary(max_size=12),
)
def test_any_bytes_are_read_or_refused(start: int, length: int, new: bytes) -> None:
    with suppress(UnsafeFormatError):
        list(decisions(read(BACKDOOR[:start] + new + BACKDOOR[start + length :])))
