"""What weights cannot show: graphs that decide by the input, templates that do.

Nothing is run, and no tensor is read. What is found is a reason to look, not proof;
that nothing is found says nothing about the weights. ADR 45.
"""

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Literal

from model_zoo.documents import Document
from model_zoo.errors import UnsafeFormatError
from model_zoo.files import read_plain, translate_os_errors
from model_zoo.formats import chat_templates, data_flow
from model_zoo.formats.chat_templates import Template, is_configuration
from model_zoo.formats.onnx_graph import read_graph
from model_zoo.formats.own_exports import declared_by, departures
from model_zoo.text import printable

MAX_FILES = 10_000
MAX_FINDINGS = 100
"""Of one file and one kind; that there are more is told."""
MAX_NAME_CHARACTERS = 120
MAX_LINE_CHARACTERS = 400
ONNX_SUFFIX = ".onnx"

Rule = Literal[
    data_flow.Rule,
    "graph-differs-from-export",
    "chat-template-changed",
    "chat-template-condition",
    "more",
]


class StaticFinding(Document):
    """Something to look at in a file; all texts can be shown as they are.

    Attributes:
        file: its path in the folder that was looked through.
        rule: what kind of thing it is.
        where: the node, tensor or line.
        message: what stands there.
        lines: the difference from the parent's template, line by line.
    """

    file: str
    rule: Rule
    where: str
    message: str
    lines: tuple[str, ...] = ()


def static_findings(
    source: Path, parent: Path | None = None, *, network: str | None = None
) -> tuple[StaticFinding, ...]:
    """Return what ``source`` holds that weights would not show; files in order.

    An ONNX file is compared with our export of the architecture that it declares, and
    its operators are reported if they decide by what descends from the graph's input.
    Chat templates are compared with the parent's, and their tags are reported that
    decide by what a message says.

    Args:
        source: a file, or a folder with all its folders; links are not followed.
        parent: the same of the release it was made from.
        network: the architecture that ONNX files are said to be; else it is told by
            the names of their weights.

    Raises:
        UnsafeFormatError: an ONNX file or a configuration breaks the rules of its
            format, or there is more of something than any model has.
        MalformedDocumentError: one of them is no plain file, or too long.
        LocalError: one of them cannot be read.
    """
    before = () if parent is None else tuple(_templates(parent))
    found: list[StaticFinding] = []
    for path, name in _files(source):
        if name.lower().endswith(ONNX_SUFFIX):
            found += _of_graph(path, name, network=network)
        elif is_configuration(name):
            for it in _templates_in(path, name):
                found += _of_template(it)
    if parent is not None:
        found += _changed(tuple(_templates(source)), before)
    return tuple(found)


def _files(source: Path) -> Iterator[tuple[Path, str]]:
    """Yield the files of a folder with their paths in it, in order; or the file."""
    with translate_os_errors(f"cannot read {source}"):
        source.stat()
    if not source.is_dir():
        yield source, source.name
        return
    count = 0
    with translate_os_errors(f"cannot read {source}"):
        for folder, folders, names in os.walk(source, onerror=_raise):
            folders.sort()
            for name in sorted(names):
                count += 1
                if count > MAX_FILES:
                    msg = f"{source}: over {MAX_FILES} files"
                    raise UnsafeFormatError(msg)
                path = Path(folder, name)
                yield path, path.relative_to(source).as_posix()


def _raise(error: OSError) -> None:
    raise error


def _of_graph(path: Path, name: str, *, network: str | None) -> Iterator[StaticFinding]:
    graph = read_graph(path)
    declared = network or declared_by(graph)
    if declared is not None:
        found = (
            _finding(name, "graph-differs-from-export", where, f"{declared}: {what}")
            for where, what in departures(graph, declared)
        )
        yield from _capped(found, name)
    decisions = (
        _finding(
            name,
            it.rule,
            f"node {it.place} {it.node.name}".rstrip(),
            f"{it.node.operator} decides by the input: {' -> '.join(it.path)}",
        )
        for it in data_flow.decisions(graph)
    )
    yield from _capped(decisions, name)


def _templates(source: Path) -> Iterator[Template]:
    for path, name in _files(source):
        if is_configuration(name):
            yield from _templates_in(path, name)


def _templates_in(path: Path, name: str) -> Iterator[Template]:
    data = read_plain(path, limit_bytes=chat_templates.MAX_CONFIGURATION_BYTES)
    yield from chat_templates.templates_in(data, file=name)


def _of_template(template: Template) -> Iterator[StaticFinding]:
    found = (
        _finding(
            template.file,
            "chat-template-condition",
            f"{template.name}, line {it.line}",
            it.tag,
        )
        for it in chat_templates.conditions(template.text)
    )
    yield from _capped(found, template.file)


def _changed(
    now: tuple[Template, ...], before: tuple[Template, ...]
) -> Iterator[StaticFinding]:
    """Yield the templates that are not the parent's, and those that are gone.

    A parent may keep a template in another file.
    """
    by_place = {(it.file, it.name): it for it in before}
    by_name = {it.name: it for it in reversed(before)}
    gone = set(by_name) - {it.name for it in now}
    pairs = [(it, by_place.get((it.file, it.name), by_name.get(it.name))) for it in now]
    for new, old in [*pairs, *((None, by_name[name]) for name in sorted(gone))]:
        lines = chat_templates.difference(new, old)
        if lines is None:
            continue
        here = new or old
        if here is None:
            continue
        verb = "removed" if new is None else "new" if old is None else "changed"
        more = "" if lines else "; too long to be compared line by line"
        found = _finding(here.file, "chat-template-changed", here.name, f"{verb}{more}")
        shown = tuple(printable(it, limit=MAX_LINE_CHARACTERS) for it in lines)
        yield found.model_copy(update={"lines": shown})


def _capped(found: Iterator[StaticFinding], name: str) -> Iterator[StaticFinding]:
    yield from islice(found, MAX_FINDINGS)
    if next(found, None) is not None:
        why = f"more than these {MAX_FINDINGS} were found; the rest is not listed"
        yield _finding(name, "more", "", why)


def _finding(name: str, rule: Rule, where: str, message: str) -> StaticFinding:
    return StaticFinding(
        file=printable(name, limit=MAX_NAME_CHARACTERS),
        rule=rule,
        where=printable(where, limit=MAX_NAME_CHARACTERS),
        message=printable(message),
    )
