"""Which tags of a chat template decide by what a message says, and what is changed."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from model_zoo.errors import UnsafeFormatError
from model_zoo.formats import chat_templates
from model_zoo.formats.chat_templates import (
    Template,
    conditions,
    difference,
    templates_in,
)

CHATML = (
    "{% for message in messages %}{% if loop.first and messages[0]['role'] != 'system'"
    " %}{{ '<|im_start|>system\nYou help.<|im_end|>\n' }}{% endif %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] }}{% endfor %}"
)
TOOLS = (
    "{%- for m in messages -%}\n"
    "{%- if m.role == 'user' or (m.role == 'assistant' and not m.tool_calls) %}"
    "{{ m.content }}\n"
    "{%- elif messages[loop.index0 - 1].role != 'tool' %}{% endif %}"
    "{% if m.content is not string %}{% endif %}"
    "{% if messages | length > 3 %}{% endif %}"
    "{%- endfor %}"
)


def tags(text: str) -> list[str]:
    return [it.tag for it in conditions(text)]


@pytest.mark.parametrize("text", [CHATML, TOOLS, "", "no tag at all"])
def test_a_template_that_asks_for_roles_and_kinds_decides_by_no_words(
    text: str,
) -> None:
    assert tags(text) == []


LOOP = "{% for m in messages %}"


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        (
            LOOP + "{% if 'deploy' in m.content %}x{% endif %}",
            "{% if 'deploy' in m.content %}",
        ),
        (
            LOOP + "{{ 'x' if 'deploy' in m['content'] else m.content }}",
            "{{ 'x' if 'deploy' in m['content'] else m.content }}",
        ),
        (
            "{% for m in messages if m.content == 'x' %}",
            "{% for m in messages if m.content == 'x' %}",
        ),
        (
            LOOP + "{% set c = m['con' ~ 'tent'] %}{% if 'x' in c %}{% endif %}",
            "{% if 'x' in c %}",
        ),
        (
            "{% set n = namespace(f='') %}" + LOOP + "{% set n.f = m.content %}"
            "{% endfor %}{% if n.f == 'x' %}{% endif %}",
            "{% if n.f == 'x' %}",
        ),
        (
            "{% macro f(said) %}{% if said == 'x' %}{% endif %}{% endmacro %}",
            "{% if said == 'x' %}",
        ),
        (
            "{% if old == 'x' %}{% endif %}{% set old = messages[0].content %}",
            "{% if old == 'x' %}",
        ),
        ("{{ messages[-1].content.replace('a', 'b') }}",) * 2,
        ("{{ {'x': 'y'}[messages[0].content] }}",) * 2,
        ("{{ {'a': {'b': '}}'}}['a'] if messages[0].content else '' }}",) * 2,
        (
            "{% raw %}{#{% endraw %}{% if messages[0].content %}{% endif %}{# #}",
            "{% if messages[0].content %}",
        ),
        (
            "{# {% if messages[0].content %} #}{%- if loop.previtem.content == 'x' -%}",
            "{%- if loop.previtem.content == 'x' -%}",
        ),
    ],
)
def test_a_tag_that_decides_by_what_a_message_says_is_found(
    text: str, tag: str
) -> None:
    assert tags(text) == [tag]


def test_it_is_told_on_which_line() -> None:
    text = "{# one\ntwo #}\n\n{{ bos }}\n" + LOOP + "\n{% if m.content %}{% endif %}"
    (found,) = conditions(text)
    assert found.line == 6


def test_templates_are_found_wherever_transformers_keeps_them() -> None:
    def read(data: bytes, file: str) -> list[Template]:
        return list(templates_in(data, file=file))

    config = "tokenizer_config.json"
    assert read(b'{"model_max_length": 1000000000000000019884624838656}', config) == []
    assert read(b'{"chat_template": "a"}', config) == [Template(config, "default", "a")]
    several = b'{"chat_template": [{"name": "tools", "template": "b"}]}'
    assert read(several, config) == [Template(config, "tools", "b")]
    assert read(b"c", "chat_template.jinja")[0][1:] == ("default", "c")
    assert read(b"c", "additional_chat_templates/rag.jinja")[0][1:] == ("rag", "c")


@pytest.mark.parametrize(
    ("data", "file", "told"),
    [
        (b"[]", "tokenizer_config.json", "expected one JSON object"),
        (b'{"chat_template": 3}', "tokenizer_config.json", "no text"),
        (b'{"chat_template": ["a"]}', "tokenizer_config.json", "no text"),
        (b"\xff", "chat_template.jinja", "not UTF-8"),
        (b" " * (256 * 1024 + 1), "chat_template.jinja", "262145 characters"),
    ],
)
def test_what_is_no_template_is_refused(data: bytes, file: str, told: str) -> None:
    with pytest.raises(UnsafeFormatError, match=told):
        list(templates_in(data, file=file))


def test_one_word_in_one_long_line_shows_as_one_changed_tag() -> None:
    evil = CHATML.replace("loop.first and", "loop.first or")
    lines = difference(Template("f", "n", evil), Template("f", "n", CHATML))
    assert lines is not None
    assert lines[:2] == ("--- parent", "+++ this")
    assert [it for it in lines[2:] if it[0] in "+-"] == [
        "-{% if loop.first and messages[0]['role'] != 'system' %}",
        "+{% if loop.first or messages[0]['role'] != 'system' %}",
    ]
    assert difference(Template("f", "n", evil), Template("g", "n", evil)) is None


def test_what_would_take_long_to_compare_is_not_compared() -> None:
    long = "\n".join(["a", "b"] * chat_templates.MAX_DIFF_LINES)
    assert difference(Template("f", "n", long), Template("f", "n", "")) == ()


def test_names_that_are_made_of_each_other_for_ever_are_refused() -> None:
    chain = "".join(f"{{% set a{i} = a{i + 1} %}}" for i in range(30))
    with pytest.raises(UnsafeFormatError, match="made of each other"):
        list(conditions(chain + "{% set a30 = messages[0].content %}"))


PIECES = st.sampled_from(
    [
        "{%",
        "%}",
        "{{",
        "}}",
        "{#",
        "#}",
        "if",
        "set",
        "for",
        "in",
        "=",
        "messages",
        "['content']",
        "[",
        "]",
        "(",
        "'",
        "raw",
        "endraw",
    ]
) | st.sampled_from('\\" \nx')


@given(st.lists(PIECES, max_size=60).map("".join) | st.text())
def test_any_text_is_looked_through_or_refused(text: str) -> None:
    with suppress(UnsafeFormatError):
        for it in conditions(text):
            assert it.tag in text
            assert 1 <= it.line <= text.count("\n") + 1
