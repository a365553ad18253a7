"""Chat templates: what a tokenizer's configuration puts around a conversation.

A template is a program in Jinja. One that looks for a word in a message, and then says
something else to the model, is a backdoor that no weight shows. It is read as text and
never rendered: which of its tags decide by what a message says is information, not
proof; the difference from the parent's template says what somebody changed. ADR 45.

Source:
    Jinja's lexer, https://jinja.palletsprojects.com/en/stable/templates/; where
    transformers keeps templates: ``tokenizer_config.json``, ``chat_template.json``,
    ``chat_template.jinja`` and ``additional_chat_templates/NAME.jinja``.
"""

import difflib
import re
from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from pathlib import PurePosixPath
from typing import NamedTuple

from model_zoo.canonical import parse_object
from model_zoo.errors import UnsafeFormatError

CONFIGURATIONS = ("tokenizer_config.json", "chat_template.json")
TEMPLATE_SUFFIX = ".jinja"
DEFAULT = "default"
MAX_CONFIGURATION_BYTES = 16 * 1024 * 1024
"""One lists each added token."""
MAX_TEMPLATE_CHARACTERS = 256 * 1024
MAX_DIFF_LINES = 1_000
"""Of each side: difflib takes time in the square of that."""
MAX_ROUNDS = 20
"""A name that is made of one which a later tag makes takes a round more."""
MAX_SUBSCRIPT_TOKENS = 32

_OPENING = re.compile(r"\{#|\{%|\{\{")
_CLOSING = {"{%": "%}", "{{": "}}"}
_RAW = re.compile(r"\{%[-+]?\s*raw\s*[-+]?%\}")
_END_OF_RAW = re.compile(r"\{%[-+]?\s*endraw\b")
# A string that does not end runs to the end of the text; possessive, hence linear.
_TOKEN = re.compile(
    r"\s++|'[^'\\]*+(?:\\.[^'\\]*+)*+(?:'|\\?\Z)"
    r'|"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)'
    r"|\w++|[=!<>]=|.",
    re.DOTALL,
)
_DEPTH = {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}
_COMPARING = frozenset({"and", "or", "not", "in", "replace", "get"})
_COMPARING |= {"==", "!=", "<", ">", "<=", ">="}
_KEYWORDS = frozenset({"if", "elif", "else", "is", *_COMPARING} - {"get"})
_KINDS = frozenset(
    {"string", "defined", "undefined", "none", "mapping", "iterable", "sequence"}
)
"""Tests of what a value is, not of what it says."""
_MESSAGES = frozenset({"messages", "documents"})
"""What transformers hands a template of what people say."""
_CONTENT = "content"
_ROLES = frozenset({"role", "type"})
_STRUCTURE = _ROLES | {"tool_calls", "tool_call_id"}
"""Fields of a message whose presence says what kind of message it is."""


class Template(NamedTuple):
    """One template: the file it lies in, its name there, and its text."""

    file: str
    name: str
    text: str


class Condition(NamedTuple):
    """A tag that decides by what a message says, and the line on which it starts."""

    line: int
    tag: str


def is_configuration(file: str) -> bool:
    """Whether a file, by its name, may hold chat templates."""
    name = PurePosixPath(file).name
    return name in CONFIGURATIONS or name.endswith(TEMPLATE_SUFFIX)


def templates_in(data: bytes, *, file: str) -> Iterator[Template]:
    """Yield the chat templates in a configuration.

    Raises:
        UnsafeFormatError: it is no JSON object, a template is no text, or it is longer
            than any.
    """
    if file.endswith(TEMPLATE_SUFFIX):
        stem = PurePosixPath(file).stem
        found: list[tuple[object, object]] = [
            (DEFAULT if stem == "chat_template" else stem, _decoded(data, file=file))
        ]
    else:
        found = _listed(data, file=file)
    for name, text in found:
        if not (isinstance(name, str) and isinstance(text, str)):
            raise _refused(file, "a chat template that is no text")
        if len(text) > MAX_TEMPLATE_CHARACTERS:
            raise _refused(file, f"a chat template of {len(text)} characters")
        yield Template(file, name, text)


def _decoded(data: bytes, *, file: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise _refused(file, "a chat template that is not UTF-8") from error


def _listed(data: bytes, *, file: str) -> list[tuple[object, object]]:
    try:
        fields = parse_object(data, limit_bytes=MAX_CONFIGURATION_BYTES)
    except ValueError as error:
        raise _refused(file, f"expected one JSON object: {error}") from error
    match fields.get("chat_template"):
        case None:
            return []
        case list(several):
            pairs = [it if isinstance(it, dict) else {} for it in several]
            return [(it.get("name"), it.get("template")) for it in pairs]
        case dict(several):
            return list(several.items())
        case one:
            return [(DEFAULT, one)]


def _refused(file: str, why: str) -> UnsafeFormatError:
    return UnsafeFormatError(f"{file}: {why}")


def difference(
    template: Template | None, parent: Template | None
) -> tuple[str, ...] | None:
    """Return a unified diff from the parent's template; None if they are equal.

    No lines, if one is too long to be compared. A line is cut behind each of its tags
    that do something, since many a template is one line.
    """
    old, new = ("" if it is None else it.text for it in (parent, template))
    if old == new:
        return None
    before, after = (it.replace("%}", "%}\n").splitlines() for it in (old, new))
    if max(len(before), len(after)) > MAX_DIFF_LINES:
        return ()
    return tuple(difflib.unified_diff(before, after, "parent", "this", lineterm=""))


def conditions(text: str) -> Iterator[Condition]:
    """Yield the tags of a template that decide by what a message says.

    By its role alone is not that, and neither is what kind of value a message holds.

    Raises:
        UnsafeFormatError: what is made of what cannot be followed.
    """
    tags = list(_tags(text))
    known = _made_of_messages(tags)
    for tag in tags:
        if any(_decides(part, known) for part in tag.parts):
            yield Condition(tag.line, tag.text)


class _Part(NamedTuple):
    """An expression, or a piece of one between ``if`` and ``else``."""

    tokens: tuple[str, ...]
    is_condition: bool


class _Tag(NamedTuple):
    """A tag: where it starts, what it says, and the names it gives a value."""

    line: int
    text: str
    parts: tuple[_Part, ...]
    gives: tuple[str, ...]
    is_opaque: bool
    """What the names get is not in this tag."""


def _tags(text: str) -> Iterator[_Tag]:
    line, position, counted = 1, 0, 0
    while found := _OPENING.search(text, position):
        start = found.start()
        if found[0] == "{#":
            position = _after(text, "#}", found.end())
            continue
        if raw := _RAW.match(text, start):
            end = _END_OF_RAW.search(text, raw.end())
            position = end.start() if end else len(text)
            continue
        tokens, position = _tokens(text, found.end(), closing=_CLOSING[found[0]])
        line, counted = line + text.count("\n", counted, start), start
        yield _tag(tokens, line=line, text=text[start:position])


def _after(text: str, end: str, position: int) -> int:
    found = text.find(end, position)
    return len(text) if found < 0 else found + len(end)


def _tokens(text: str, position: int, *, closing: str) -> tuple[tuple[str, ...], int]:
    """Return the tokens of a tag, and where it ends: not within its brackets."""
    tokens: list[str] = []
    depth = 0
    while position < len(text):
        if depth == 0 and text.startswith(closing, position):
            return tuple(tokens), position + len(closing)
        found = _TOKEN.match(text, position)
        token = found[0] if found else text[position]
        position += len(token)
        depth = max(0, depth + _DEPTH.get(token, 0))
        if not token.isspace():
            tokens.append(token)
    return tuple(tokens), position


def _tag(tokens: tuple[str, ...], *, line: int, text: str) -> _Tag:
    tokens = tokens[1:] if tokens[:1] in {("-",), ("+",)} else tokens
    word, rest = next(iter(tokens), ""), tokens[1:]
    joint = {"set": "=", "with": "=", "for": "in"}.get(word)
    if joint in rest:
        split = rest.index(joint)
        given = _given(rest[:split])
        return _Tag(line, text, _parts(rest[split + 1 :]), given, is_opaque=False)
    if word in {"set", "macro", "call"}:
        return _Tag(line, text, (), _given(rest), is_opaque=True)
    return _Tag(line, text, _parts(tokens), (), is_opaque=False)


def _given(tokens: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names in ``a, b.c``; of a macro, its own and those it takes."""
    return tuple(re.findall(r"[\w.]+", "".join(tokens)))


def _parts(tokens: tuple[str, ...]) -> tuple[_Part, ...]:
    """Cut an expression at each ``if`` and ``else``: between them are conditions."""
    parts: list[_Part] = []
    start, is_condition = 0, False
    for index, word in enumerate((*tokens, "else")):
        if word in {"if", "elif", "else"}:
            parts.append(_Part(tokens[start:index], is_condition))
            start, is_condition = index + 1, word != "else"
    return tuple(parts)


def _made_of_messages(tags: list[_Tag]) -> frozenset[str]:
    """Return the names that hold what people say, or something made of it."""
    known = set(_MESSAGES)
    for _ in range(MAX_ROUNDS):
        before = len(known)
        for tag in tags:
            reads = any(_reads(part.tokens, known, but=_ROLES) for part in tag.parts)
            if tag.is_opaque or (tag.gives and reads):
                known.update(tag.gives)
        if len(known) == before:
            return frozenset(known)
    msg = "a chat template whose names are made of each other too often"
    raise UnsafeFormatError(msg)


def _decides(part: _Part, known: AbstractSet[str]) -> bool:
    if not _reads(part.tokens, known, but=_STRUCTURE):
        return False
    return (
        part.is_condition
        or not _COMPARING.isdisjoint(part.tokens)
        or _looks_up(part.tokens, known)
    )


def _looks_up(tokens: tuple[str, ...], known: AbstractSet[str]) -> bool:
    """Whether what a message says is the key to something: ``answers[content]``."""
    keys = [
        index + 2
        for index, (before, bracket, _) in enumerate(
            zip(tokens, tokens[1:], tokens[2:], strict=False)
        )
        if bracket == "[" and (before in {")", "]", "}"} or before.isidentifier())
    ]
    return any(
        _is_content(*_path(tokens, index), known=known, but=_STRUCTURE)
        for index in keys
    )


def _reads(
    tokens: tuple[str, ...], known: AbstractSet[str], *, but: AbstractSet[str]
) -> bool:
    """Whether an expression reads what a message says.

    Args:
        tokens: of the expression.
        known: the names that hold what messages say.
        but: fields of a message that do not count.
    """
    return any(
        _is_content(*_path(tokens, index), known=known, but=but)
        for index, token in enumerate(tokens)
        if token.isidentifier()
        and token not in _KEYWORDS
        and (index == 0 or tokens[index - 1] != ".")
    )


def _is_content(
    path: tuple[str, ...],
    after: tuple[str, ...],
    *,
    known: AbstractSet[str],
    but: AbstractSet[str],
) -> bool:
    is_known = not known.isdisjoint({path[0], ".".join(path[:2])})
    if path[-1] in but or not (is_known or _CONTENT in path[1:]):
        return False
    if after[:2] in {("|", "length"), ("|", "count")} and _CONTENT not in path:
        return False
    return not _asks_for_kind(after)


def _asks_for_kind(after: tuple[str, ...]) -> bool:
    words = tuple(it for it in after if it != "not")
    return words[:1] == ("is",) and not _KINDS.isdisjoint(words[1:2])


def _path(
    tokens: tuple[str, ...], index: int
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return a name with what is taken of it, and the three tokens behind that.

    Of ``messages[0]['role'] == 'user'``: messages and role; ==, 'user'.
    """
    path = [tokens[index]]
    index += 1
    while tokens[index : index + 1] in {(".",), ("[",)}:
        if tokens[index] == ".":
            path += tokens[index + 1 : index + 2]
            index += 2
            continue
        inside = tokens[index + 1 : index + MAX_SUBSCRIPT_TOKENS]
        length = _length_of_subscript(inside)
        if length is None:
            break
        if length == 1:
            path.append(inside[0].strip("'\""))
        index += length + 2
    return tuple(path), tokens[index : index + 3]


def _length_of_subscript(tokens: tuple[str, ...]) -> int | None:
    """Return how many tokens stand before the bracket that closes; None if too many."""
    depth = 0
    for index, sign in enumerate(tokens):
        if sign == "]" and depth == 0:
            return index
        depth += _DEPTH.get(sign, 0)
    return None
