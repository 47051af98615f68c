from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmchat.core.answers.json_schema import MAX_CHARS, UnfitError, find_value, strict_json


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
        '<think>a "tag" </think> {"a": 3} is 5" long</think>\nIt is {"a": 1}',
    ):
        assert found(text) == {"a": 1}
    for text in (
        '```json\n{"</think>": 1}\n```',
        'So: {"</think>": 1}.',
        '<think>{"a": 2}</think>So:\n```\n{"</think>": 1}\n```\n',
    ):
        assert found(text) == {"</think>": 1}


def test_half_of_a_surrogate_pair_is_replaced():
    for text in (r'{"a": "leaf \ud83c"}', '{"a": "leaf \ud83c"}', r'{"a": "leaf \udf31"}'):
        assert found(text) == {"a": "leaf \ufffd"}
    assert found(r'{"\ud83c": "\ud83c\udf31"}') == {"\ufffd": "🌱"}


def test_of_several_values_the_last_one_that_fits_is_meant():
    text = "".join(f"So:\n```json\n{value}\n```\n" for value in ("[1]", '{"a": 1}', '{"a": "x"}'))
    assert found(text, lambda value: "" if value == {"a": 1} else "no") == {"a": 1}
    assert found(text) == {"a": "x"}
    with pytest.raises(UnfitError, match="no"):
        found(text, lambda _: "no")


def test_an_answer_without_json_and_one_that_is_too_long_have_no_value():
    thought = '<think>{"a": 2}</think>I cannot.'
    for text in ("", "I cannot.", thought, "NaN", "1e999", "9" * 10_000):
        with pytest.raises(UnfitError, match="it has no JSON value"):
            found(text)
    with pytest.raises(UnfitError, match=f"it has {MAX_CHARS + 1} characters"):
        found(" " * (MAX_CHARS + 1))


def test_a_value_that_cannot_be_read_is_not_told_as_none():
    for text, words in (
        ('{"a": 1}\n{"a": 2}', "Extra data: line 2 column 1"),
        ('So: {"a": 1}, or [2]', "Extra data"),
        ('{"a": NaN}', "NaN in it is not JSON"),
        (nested(100_000), "it is nested too deep"),
        ('{"a": "x\ny"}', "Invalid control character"),
    ):
        with pytest.raises(
            UnfitError, match=f"^what looks like JSON in it cannot be read: {words}"
        ):
            found(text)


def test_a_text_full_of_brackets_is_given_up():
    for text in (
        " " * 300_000,
        "`" * 300_000,
        "\n```" * 100_000,
        "x[" * 150_000,
        '{"' * 150_000,
        "[{" * 150_000,
        '{"a":"' + "[" * 300_000,
        '{"a":' * 100_000,
        # a quadratic pattern would take hours for the blanks
        '["' + "\n\t" * (MAX_CHARS // 4) + "x",
    ):
        with pytest.raises(UnfitError):
            found(text)


def test_of_a_value_that_is_cut_no_part_is_taken_for_the_answer():
    for around in ("{}", "Sure: {}", "```json\n{}"):
        whole = '{"a": {"b": [1, {"c": "d\\u00e9"}], "e": true}, "f": -1.5e3, "g": {"h": null}}'
        for end in range(1, len(whole)):
            with pytest.raises(UnfitError, match=r"cannot be read: |it has no JSON value"):
                found(around.format(whole[:end]))
        assert found(around.format(whole)) == json.loads(whole)


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
        value = found(text)
        assert strict_json(json.dumps(value)) == value
