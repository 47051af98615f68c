"""What came of an answer since it was looked at last: taken by a log, it makes new parts of the old ones."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from lmchat.domain.message import ReasoningPart, RefusalPart, TextPart, ToolCallPart
from lmchat.storage.rows import parts_of
from lmchat.tui.widgets.chat_log.entry import Entry, since
from tests.support.chat_log_app import streaming

PIECES = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "text",
                "reasoning",
                "refusal",
                "tool_call 0 name",
                "tool_call 0 arguments",
                "tool_call 2 arguments",
            ]
        ),
        st.text("ab\n`", min_size=1, max_size=4),
    ),
    max_size=12,
)


def _said(entry):
    """Return the kinds and texts that an entry has taken."""
    return [(part.kind, part.name, part.text) for part in entry.parts]


@given(PIECES, st.lists(st.integers(0, 12), max_size=4))
def test_look_by_look_an_entry_comes_to_say_what_the_message_says(pieces, cuts):
    entry = Entry(streaming())
    entry.write_elsewhere()
    for cut in [*sorted(cuts), len(pieces)]:
        now = replace(entry.message, parts=tuple(parts_of(pieces[:cut])))
        entry.arrive(now)
        entry.message = now
    whole = Entry(entry.message)
    whole.write_elsewhere()
    assert _said(entry) == _said(whole)


@pytest.mark.parametrize(
    ("before", "now", "texts"),
    [
        ([], [TextPart(text="a")], ["a"]),
        ([TextPart(text="a")], [TextPart(text="ab")], ["b"]),
        ([ReasoningPart(text="a")], [ReasoningPart(text="ab"), TextPart(text="c")], ["b", "c"]),
        ([TextPart(text="a")], [ReasoningPart(text="a")], None),
        ([TextPart(text="ab")], [TextPart(text="a")], None),
        ([TextPart(text="a"), RefusalPart(text="b")], [TextPart(text="a")], None),
        ([ReasoningPart(text="a"), TextPart(text="b")], [ReasoningPart(text="x"), TextPart(text="bc")], None),
    ],
)
def test_only_what_stands_at_the_end_is_taken_as_more(before, now, texts):
    fresh = since(before, now)
    assert (None if fresh is None else [delta.text for delta in fresh]) == texts


def test_of_a_call_its_name_and_more_of_its_arguments_come():
    before = ToolCallPart(call_id="", name="", arguments="")
    (delta,) = since([before], [ToolCallPart(call_id="1", name="look", arguments="{")])
    assert (delta.index, delta.name, delta.arguments) == (0, "look", "{")
