"""ONNX: where a graph's input gets to, and which operators decide by it.

A network adds, multiplies and cuts off below zero; what it does to one image alone is
in its weights. A graph that compares, rounds, looks up or branches can hold a backdoor
that no weight shows. What is found is not proof: honest graphs do such things, too.
What a value's *shape* decides is not followed, since exporters compute with shapes.

ADR 45.

Source:
    ONNX operators, https://onnx.ai/onnx/operators/.
"""

from collections import ChainMap, deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Literal, NamedTuple

from model_zoo.formats.onnx_graph import Graph, Node

Rule = Literal[
    "condition-on-input",
    "loop-over-input",
    "integer-arithmetic-on-input",
    "selection-by-input",
]
MAX_SHOWN_STEPS = 8
"""Of a path from the input; of a longer one the middle is left out."""

_ALL = range(1_000)
"""Every operand."""
_CONDITIONS: dict[str, Iterable[int]] = {
    **dict.fromkeys(("Where", "If"), (0,)),
    **dict.fromkeys(("Greater", "GreaterOrEqual", "Less", "LessOrEqual"), _ALL),
    **dict.fromkeys(("Equal", "IsNaN", "IsInf", "RegexFullMatch"), _ALL),
    **dict.fromkeys(
        ("Hardmax", "Shrink", "ThresholdedRelu", "ai.onnx.ml.Binarizer"), _ALL
    ),
    **dict.fromkeys(("ai.onnx.ml.CategoryMapper", "ai.onnx.ml.LabelEncoder"), _ALL),
    **dict.fromkeys(("ai.onnx.ml.TreeEnsemble", "ai.onnx.ml.DictVectorizer"), _ALL),
    "ai.onnx.ml.TreeEnsembleClassifier": _ALL,
    "ai.onnx.ml.TreeEnsembleRegressor": _ALL,
}
"""Operator -> the operands that decide what it answers."""
_STEPS = frozenset({"ArgMax", "ArgMin", "TopK", "Floor", "Ceil", "Round", "Sign"})
"""What they answer jumps: a condition, unless it is the graph's own answer."""
_INTEGER_ARITHMETIC = frozenset(
    {"Mod", "BitShift", "BitwiseAnd", "BitwiseNot", "BitwiseOr", "BitwiseXor"}
)
_SELECTIONS: dict[str, Iterable[int]] = {
    **dict.fromkeys(("Gather", "GatherElements", "GatherND", "Compress"), (1,)),
    **dict.fromkeys(("Scatter", "ScatterElements", "ScatterND"), (1,)),
    **dict.fromkeys(("Reshape", "Expand", "Tile", "Split", "SequenceAt"), (1,)),
    **dict.fromkeys(("ConstantOfShape", "OneHot"), (0,)),
    **dict.fromkeys(("NonZero", "Range", "Unique", "NonMaxSuppression"), _ALL),
    "ai.onnx.ml.ArrayFeatureExtractor": (1,),
    "Slice": (1, 2, 3, 4),
    "Pad": (1, 3),
}
"""Operator -> the operands that say which part is taken, or how many times."""
_LOOPS = frozenset({"Loop", "Scan", "SequenceMap"})
_SHAPES = frozenset({"Shape", "Size"})
_LAYOUT = frozenset(
    {"Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"}
)
"""What they answer is what they were given."""
_LOOKUPS = frozenset({"Cast", "Gather"})
"""What they do to integers that come as they are, such as the numbers of words."""
_INTEGERS = frozenset({2, 3, 4, 5, 6, 7, 9, 12, 13, 21, 22})
"""ONNX's numbers of the element types that are integers or booleans."""


class Decision(NamedTuple):
    """An operator that decides by what descends from the graph's input.

    Attributes:
        rule: in which way.
        node: the operator at work.
        place: its number in the file's order, with those of the nodes it stands in.
        path: operators from the input to here, with the names of their nodes.
    """

    rule: Rule
    node: Node
    place: str
    path: tuple[str, ...]


class _Value(NamedTuple):
    """A value by the graph that defines it and its name there."""

    scope: int
    name: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Step:
    """A node with its values resolved, or a mere hand-over into or out of a graph."""

    node: Node
    place: str
    reads: tuple[_Value, ...]
    writes: tuple[_Value, ...]
    hands_over: bool = False


@dataclass(slots=True)
class _Flow:
    """Every step of a graph and of the graphs in it, and who reads what."""

    steps: list[_Step] = field(default_factory=list)
    readers: dict[_Value, list[_Step]] = field(default_factory=dict)
    scopes: int = 0

    def add(self, step: _Step) -> None:
        self.steps.append(step)
        for value in dict.fromkeys(step.reads):
            self.readers.setdefault(value, []).append(step)


def decisions(graph: Graph) -> Iterator[Decision]:
    """Yield the operators that decide by what descends from the input of ``graph``.

    In the file's order, a node's before those in its branches.
    """
    flow = _Flow()
    names = _resolve(graph, prefix="", outer=ChainMap(), flow=flow)
    origin = _reached((names[name] for name in graph.inputs), flow)
    integers = [
        names[it] for it, kind in graph.inputs.items() if kind.type in _INTEGERS
    ]
    as_given = _reached(integers, flow, through=_LAYOUT)
    used = _used(flow)
    for step in flow.steps:
        if step.hands_over:
            continue
        rule, values = _judge(step, is_used=not used.isdisjoint(step.writes))
        found = next((it for it in values if it in origin), None)
        if rule is None or found is None:
            continue
        if found in as_given and step.node.operator in _LOOKUPS:
            continue
        path = (*_path(found, origin), _title(step.node))
        yield Decision(rule, step.node, step.place, path)


def _resolve(
    graph: Graph, *, prefix: str, outer: ChainMap[str, _Value], flow: _Flow
) -> ChainMap[str, _Value]:
    """Add the steps of ``graph`` to ``flow``; return the values its names stand for."""
    flow.scopes += 1
    written = (name for node in graph.nodes for name in node.outputs)
    own = dict.fromkeys([*graph.inputs, *graph.tensors, *written])
    own.pop("", None)
    here = {name: _Value(flow.scopes, name) for name in own}
    known = ChainMap(here, *outer.maps)
    for index, node in enumerate(graph.nodes):
        place = f"{prefix}{index}"
        step = _Step(
            node=node,
            place=place,
            reads=tuple(known.get(name, _Value(0, name)) for name in node.inputs),
            writes=tuple(known[name] for name in node.outputs if name),
        )
        flow.add(step)
        for number, inner in enumerate(node.graphs):
            at = f"{place}.{number}."
            names = _resolve(inner, prefix=at, outer=known, flow=flow)
            _connect(step, inner, names, flow)
    return known


def _connect(
    step: _Step, inner: Graph, names: Mapping[str, _Value], flow: _Flow
) -> None:
    """Hand operands into ``inner``, what it answers out, and round a loop again.

    Of a loop the first answer is the condition, which has no place among the node's.
    """
    formal = [names[name] for name in inner.inputs]
    answers = [names.get(name, _Value(0, name)) for name in inner.outputs]
    is_loop = step.node.operator == "Loop"
    results = answers[1:] if is_loop else answers
    pairs = [*zip(step.reads, formal, strict=False)]
    pairs += zip(results, step.writes, strict=False)
    if step.node.operator in _LOOPS:
        pairs += zip(answers, formal[1:] if is_loop else formal, strict=False)
    if is_loop:  # when it ends decides what it answers
        pairs += [(it, result) for it in answers[:1] for result in step.writes]
    for source, target in pairs:
        flow.add(
            _Step(
                node=step.node,
                place=step.place,
                reads=(source,),
                writes=(target,),
                hands_over=True,
            )
        )


_Origin = dict[_Value, tuple[_Value, _Step] | None]
"""What descends from the input -> from which value, by which step; None of itself."""


def _reached(
    start: Iterable[_Value], flow: _Flow, *, through: frozenset[str] | None = None
) -> _Origin:
    """Return all that descends from ``start``, each by one of the shortest ways.

    Args:
        start: values.
        flow: all steps; none that asks for a shape leads on.
        through: the only operators that lead on; all, if it is None.
    """
    origin: _Origin = dict.fromkeys(start)
    waiting = deque(origin)
    while waiting:
        value = waiting.popleft()
        for step in flow.readers.get(value, ()):
            operator = step.node.operator
            if operator in _SHAPES or (through is not None and operator not in through):
                continue
            for result in step.writes:
                if result not in origin:
                    origin[result] = (value, step)
                    waiting.append(result)
    return origin


def _used(flow: _Flow) -> set[_Value]:
    """Return the values of which more is made than the same in another layout."""
    used: set[_Value] = set()
    sources: dict[_Value, list[_Value]] = {}
    for step in flow.steps:
        if step.hands_over or step.node.operator in _LAYOUT:
            for value in step.writes:
                sources.setdefault(value, []).extend(step.reads)
        else:
            used.update(step.reads)
    waiting = list(used)
    while waiting:
        for source in sources.pop(waiting.pop(), ()):
            if source not in used:
                used.add(source)
                waiting.append(source)
    return used


def _judge(step: _Step, *, is_used: bool) -> tuple[Rule | None, tuple[_Value, ...]]:
    """Return by which rule a step may decide, and by which of its values.

    Args:
        step: a node at work.
        is_used: whether anything is computed from its answer.
    """
    operator = step.node.operator
    rule: Rule | None = None
    operands: Iterable[_Value] = step.reads
    if operator in _CONDITIONS:
        rule, operands = "condition-on-input", _operands(step, _CONDITIONS[operator])
    elif operator in _LOOPS:  # a body may read what is around it
        rule, operands = "loop-over-input", (*step.reads, *step.writes)
    elif operator in _SELECTIONS:
        rule, operands = "selection-by-input", _operands(step, _SELECTIONS[operator])
    elif operator in _STEPS and is_used:
        rule = "condition-on-input"
    elif operator in _INTEGER_ARITHMETIC or (is_used and _is_to_integers(step.node)):
        rule = "integer-arithmetic-on-input"
    return rule, tuple(operands)


def _operands(step: _Step, numbers: Iterable[int]) -> tuple[_Value, ...]:
    return tuple(it for index, it in enumerate(step.reads) if index in numbers)


def _is_to_integers(node: Node) -> bool:
    """Whether a node rounds; one that hides what it converts to is taken for one."""
    if node.operator == "Cast":
        to = node.attributes.get("to")
        return not isinstance(to, int) or to in _INTEGERS
    return node.operator in {"BitCast", "CastLike"}


def _path(value: _Value, origin: _Origin) -> tuple[str, ...]:
    steps: list[str] = []
    while (found := origin[value]) is not None:
        value, step = found
        if not step.hands_over:
            steps.append(_title(step.node))
    steps.append(value.name)
    steps.reverse()
    if len(steps) <= MAX_SHOWN_STEPS:
        return tuple(steps)
    half = MAX_SHOWN_STEPS // 2
    return (*steps[:half], "...", *islice(steps, len(steps) - half, None))


def _title(node: Node) -> str:
    return f"{node.operator} {node.name}" if node.name else node.operator
