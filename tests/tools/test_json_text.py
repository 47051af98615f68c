from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmchat.tools.json_text import MAX_CHARS, UnfitError, find_value, strict_json


def found(text, misfit=lambda _: ""):
    return find_value(text, misfit)


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
    ):
        assert found(text) == {"a": 1}


def test_an_answer_that_is_json_is_taken_whole():
    for text in ('"</think>"', '{"a": "```\\n[1]\\n```"}', "[1, [2]]", "3", "null", '"a"', "false"):
        assert found(text) == json.loads(text)


def test_of_several_values_the_last_one_that_fits_is_meant():
    text = "".join(f"So:\n```json\n{value}\n```\n" for value in ("[1]", '{"a": 1}', '{"a": "x"}'))
    assert found(text, lambda value: "" if value == {"a": 1} else "no") == {"a": 1}
    assert found(text) == {"a": "x"}
    with pytest.raises(UnfitError, match="no"):
        found(text, lambda _: "no")


def test_what_is_no_json_or_json_of_a_kind_that_programs_read_differently_is_refused():
    for text, why in (
        ("", "it has no JSON value"),
        ("I cannot.", "it has no JSON value"),
        ('{"a": 1', "it has no JSON value"),
        ("NaN", "NaN in it is not JSON"),
        ('{"a": NaN}', "NaN in it is not JSON"),
        ("-Infinity", "-Infinity in it is not JSON"),
        ("1e999", "a number in it is too large"),
        ("9" * 10_000, "a number in it is too large"),
        (nested(100_000), "it is nested too deep"),
        ('{"a":' * 100_000, "it is nested too deep"),
        ("Look: " + nested(100_000), "it is nested too deep"),
        (" " * (MAX_CHARS + 1), f"it has {MAX_CHARS + 1} characters, {MAX_CHARS} are allowed"),
    ):
        with pytest.raises(UnfitError) as caught:
            found(text)
        assert str(caught.value) == why


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


def test_blanks_without_end_in_a_cut_text_are_read_at_once():
    """A quadratic pattern would take hours for them."""
    for blanks in ("\n", "\t", "\n\t"):
        with pytest.raises(UnfitError):
            found('["' + blanks * (MAX_CHARS // 4) + "x")
