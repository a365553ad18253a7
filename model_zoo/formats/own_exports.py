"""ONNX: our own export of an architecture, as it was stored, and how a file departs.

Of each network that the zoo brings along, the folder ``exports`` holds the graph that
``zoo export`` makes of it: operators in their order, attributes, how they are joined,
names and shapes of tensors; no weights. ``python -m trainer.export.signatures`` writes
them. ADR 45.
"""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from itertools import zip_longest

from model_zoo.canonical import JsonObject
from model_zoo.formats.onnx_graph import Graph, Node, TensorKind

CLASSES = "classes"
"""In a stored shape: the number of labels, which is the file's own."""
OPSETS = range(18, 25)
"""What ``zoo export`` offers; in these the operators of our networks mean the same."""


def signature(graph: Graph) -> JsonObject:
    """Return all of a graph but its weights and the names that mean nothing."""
    sources = {name: f"tensor {name}" for name in graph.tensors}
    sources |= {name: f"input {index}" for index, name in enumerate(graph.inputs)}
    for index, node in enumerate(graph.nodes):
        for number, name in enumerate(node.outputs):
            sources.setdefault(name, f"node {index}.{number}")
    sources[""] = ""
    return {
        "inputs": [_kind(it) for it in graph.inputs.values()],
        "outputs": [sources.get(it, "nothing") for it in graph.outputs],
        "tensors": {name: _kind(graph.tensors[name]) for name in sorted(graph.tensors)},
        "nodes": [_node(it, sources) for it in graph.nodes],
    }


def _kind(kind: TensorKind) -> list[object]:
    return [kind.type, list(kind.shape)]


def _node(node: Node, sources: Mapping[str, str]) -> list[object]:
    attributes = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in sorted(node.attributes.items())
    }
    read = [sources.get(name, "nothing") for name in node.inputs]
    return [node.operator, attributes, read]


@cache
def stored() -> Mapping[str, JsonObject]:
    """Return architecture -> signature of our export, for any number of labels."""
    return {
        it.name.removesuffix(".json"): json.loads(it.read_text(encoding="utf-8"))
        for it in sorted(files(__package__).joinpath("exports").iterdir(), key=str)
        if it.name.endswith(".json")
    }


def declared_by(graph: Graph) -> str | None:
    """Return the architecture whose weights' names all stand in ``graph``.

    Of several, the one whose shapes depart least. Weights' names have a dot; others
    are the exporter's.
    """
    found = {"tensors": {name: _kind(it) for name, it in graph.tensors.items()}}
    distances = {
        network: sum(1 for _ in _tensor_departures(found, expected))
        for network, expected in stored().items()
        if {it for it in expected["tensors"] if "." in it} <= graph.tensors.keys()
    }
    return min(distances, key=distances.__getitem__, default=None)


def departures(graph: Graph, network: str) -> Iterator[tuple[str, str]]:
    """Yield where ``graph`` is not our export of ``network``, and what is there.

    Nothing, if no export of such a network is stored. Of nodes the first that differs
    is told, since all behind it are counted otherwise.
    """
    expected = stored().get(network)
    if expected is None:
        return
    found = signature(graph)
    if graph.opset not in OPSETS:
        yield "operators", f"of version {graph.opset}, ours are of 18 to 24"
    yield from _tensor_departures(found, expected)
    nodes = zip_longest(found["nodes"], expected["nodes"])
    pairs = [(f"node {index}", *pair) for index, pair in enumerate(nodes)]
    first = next((it for it in pairs if it[1] != it[2]), None)
    ends = [(what, found[what], expected[what]) for what in ("inputs", "outputs")]
    for what, theirs, ours in [*([first] if first else []), *ends]:
        if theirs != ours:
            yield what, f"{_told(theirs)}, in ours {_told(ours)}"


def _tensor_departures(
    found: JsonObject, expected: JsonObject
) -> Iterator[tuple[str, str]]:
    labels = _labels(expected, found)
    for name in sorted(found["tensors"].keys() | expected["tensors"].keys()):
        ours = _with_labels(expected["tensors"].get(name), labels)
        theirs = found["tensors"].get(name)
        if ours != theirs:
            yield f"tensor {name}", f"{_told(theirs)}, in ours {_told(ours)}"


def _labels(expected: JsonObject, found: JsonObject) -> object:
    """Return how many labels a file has, by the first shape in which ours has them."""
    for name, (_, shape) in expected["tensors"].items():
        if CLASSES in shape and name in found["tensors"]:
            theirs = found["tensors"][name][1]
            return theirs[shape.index(CLASSES)] if len(theirs) == len(shape) else None
    return None


def _with_labels(kind: object, labels: object) -> object:
    match kind:
        case [type_, list(shape)]:
            return [type_, [labels if it == CLASSES else it for it in shape]]
        case _:
            return kind


def _told(value: object) -> str:
    return "nothing" if value is None else json.dumps(value, sort_keys=True)
