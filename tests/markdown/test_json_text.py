from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmchat.markdown.commonmark import (
    MAX_CHARS,
    MAX_DEPTH,
    UnfitError,
    fenced_texts,
    find_value,
    strict_json,
)


def found(text, fits=lambda _: True):
    return find_value(text, fits)


def nested(depth):
    return "[" * depth + "]" * depth


def test_the_value_of_an_answer_is_found():
    for text in (
        '{"a": 1}',
        '  \n{"a": 1}\n',
        '\ufeff{"a": 1}',
        '```json\n{"a": 1}\n```',
        'Here it is:\n\n```\n{"a": 1}\n```\nI hope that it helps.',
        '```json\n{"a": 1}',
        'Sure: {"a": 1}. Anything else?',
        '<think>{"a": 2} or so?</think>{"a": 1}',
        'Let me see.\n</think>\n\n{"a": 1}',
        '<think>hm</think>The answer: {"a": 1}',
        'Not {this}, but {"a": 1}',
        'NaN of these; {"a": 1}',
        'Infinity is no answer; {"a": 1}',
    ):
        assert found(text) == {"a": 1}


def test_an_answer_that_is_json_is_taken_whole():
    for text in ('"</think>"', '{"a": "```\\n[1]\\n```"}', "[1, [2]]", "3", "null", '"a"', "false"):
        assert found(text) == json.loads(text)


def test_of_several_values_the_one_that_fits_is_meant():
    text = 'As in [1], I say {"a": 1} rather than {"a": "x"}.'
    assert found(text, lambda value: value == {"a": 1}) == {"a": 1}
    for fits in (lambda _: True, lambda _: False):
        with pytest.raises(UnfitError, match="it has 3 JSON values, but must have one"):
            found(text, fits)


def test_what_is_no_json_or_json_of_a_kind_that_programs_read_differently_is_refused():
    for text, why in (
        ("", "it has no JSON value"),
        ("I cannot.", "it has no JSON value"),
        ('{"a": 1', "it has no JSON value"),
        ("NaN", "it has no JSON value"),
        ('{"a": NaN}', "NaN in it is not JSON"),
        ("-Infinity", "-Infinity in it is not JSON"),
        ('{"a": 1, "a": 2}', "an object in it has the name 'a' twice"),
        ('So: {"b": {"\x1b[2J\\u001b": 1, "\\u001b": 2, "\\u001b": 3}}', "it has no JSON value"),
        ('{"\\u001b": 2, "\\u001b": 3}', "an object in it has the name '\\x1b' twice"),
        ("1e999", "a number in it is too large"),
        ("9" * 10_000, "a number in it is too large"),
        (nested(MAX_DEPTH + 1), f"it is nested deeper than {MAX_DEPTH} levels"),
        (nested(100_000), f"it is nested deeper than {MAX_DEPTH} levels"),
        ('{"a":' * 100_000, f"it is nested deeper than {MAX_DEPTH} levels"),
        ("Look: " + nested(MAX_DEPTH + 1), f"it is nested deeper than {MAX_DEPTH} levels"),
        ("Look: " + nested(100_000), f"it is nested deeper than {MAX_DEPTH} levels"),
        (" " * (MAX_CHARS + 1), f"it has {MAX_CHARS + 1} characters, {MAX_CHARS} are allowed"),
    ):
        with pytest.raises(UnfitError) as caught:
            found(text)
        assert str(caught.value) == why


def test_a_value_as_deep_as_allowed_is_read():
    assert found(nested(MAX_DEPTH)) == json.loads(nested(MAX_DEPTH))


def test_a_text_full_of_brackets_is_given_up():
    for text in (
        " " * 900_000,
        "`" * 900_000,
        "\n```" * 200_000,
        "x[" * 400_000,
        '{"' * 400_000,
        "[{" * 400_000,
        '{"a":"' + "[" * 900_000,
    ):
        with pytest.raises(UnfitError):
            found(text)


def test_of_a_value_that_is_cut_no_part_is_taken_for_the_answer():
    for around in ("{}", "Sure: {}", "```json\n{}"):
        whole = '{"a": {"b": [1, {"c": "d\\u00e9"}], "e": true}, "f": -1.5e3, "g": {"h": null}}'
        for end in range(1, len(whole)):
            with pytest.raises(UnfitError, match="it has no JSON value"):
                found(around.format(whole[:end]))
        assert found(around.format(whole)) == json.loads(whole)


def test_what_is_whole_before_one_that_is_cut_is_found():
    assert found('It is {"a": 1}, not {"b": {"a": 2}') == {"a": 1}


def test_what_stands_before_the_last_tag_is_no_answer():
    for answer in ['{"a": 1}', '\n{"a": 1}', '\nIt is {"a": 1}', '\n```\n{"a": 1}\n```']:
        for thought in [
            'it is 5" long',
            'he said "yes"',
            'first {"a": 2}',
            'a "tag" </think> {"a": 3}',
            "\\",
            '"',
        ]:
            assert found(f"<think>{thought}</think>{answer}") == {"a": 1}


_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(_VALUES)
def test_any_value_is_found_alone_and_in_a_fence(value):
    text = json.dumps(value)
    assert found(text) == value
    assert found(f"Here:\n```json\n{text}\n```\nso.") == value
    assert strict_json(text) == value


@given(st.text(alphabet='{}[]":,0123eE+-.\\u tfnNaIi`\n<think/>\u2028'))
def test_whatever_a_model_writes_nothing_else_is_raised(text):
    with contextlib.suppress(UnfitError):
        found(text)


def test_the_code_is_what_stands_between_fences():
    for text, blocks in (
        ("no code", []),
        ("a `b` ```c``` d", []),
        ("So:\n```py\nprint(1)\n```\nDone.", ["print(1)"]),
        ("```\na\n```\n~~~sh\nb\n~~~", ["a", "b"]),
        ("```\n\n```\n", []),
        ("```py\na\n\n  b\n```", ["a\n\n  b"]),
        # fences within fences: a longer one outside, or of the other kind
        ("````md\n```py\na\n```\n````", ["```py\na\n```"]),
        ("~~~\n```\na\n~~~", ["```\na"]),
        ("```\na\n``` not a closing one\nb\n```", ["a\n``` not a closing one\nb"]),
        # indented as in a list: its white space is no code
        ("1. Do:\n   ```py\n   if a:\n       b\n   ```", ["if a:\n    b"]),
        ("- ```py\n  a\n  ```", ["a"]),
        ("\t```\n\ta\n\t```", ["a"]),
        # cut in the middle: what came is code, the beginning of a fence is none
        ("```py\na\nb", ["a\nb"]),
        ("```py\na\n", ["a\n"]),
        ("```py\na\n``", ["a"]),
        ("```py\na\n`", ["a"]),
        ("```py", []),
        ("``", []),
        ("```\r\na\r\nb\r\n```\r\n", ["a\nb"]),
        ("```\na\u2028b\x0cc\n```", ["a\u2028b\x0cc"]),
        ("```a`b\nc\n```\nd", ["d"]),
    ):
        assert fenced_texts(text) == blocks


@given(st.text(alphabet="`~ \t\nab1.-", max_size=80))
def test_whatever_is_written_every_block_is_of_the_text(text):
    for block in fenced_texts(text):
        assert block.strip()
        assert all(line.strip() in text for line in block.split("\n"))


def test_blanks_without_end_in_a_cut_text_are_read_at_once():
    """A quadratic pattern would take hours for them."""
    for blanks in ("\n", "\t", "\n\t"):
        with pytest.raises(UnfitError):
            found('["' + blanks * (MAX_CHARS // 4) + "x")
