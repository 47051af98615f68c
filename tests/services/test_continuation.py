from __future__ import annotations

import random

import pytest

from lmchat.domain.event import ReasoningDelta, Rethought, TextDelta
from lmchat.domain.message import (
    AnswerState,
    ChatMessage,
    ReasoningPart,
    Role,
    TextPart,
    new_id,
    now,
)
from lmchat.services.continuation import ANCHOR_CHARS, Continuation, last_words

PROSE = (
    "Several vegetables grow well in the shade. Lettuce needs four hours of sun, spinach three; both bolt in "
    "the heat, so the shade of taller plants does them good. Sow again every two weeks."
)
CODE = (
    "Here is a function:\n\n```python\ndef plan(beds, crops):\n    rows = []\n    for bed in beds:\n"
    "        rows.append((bed, crops[0]))\n    return rows\n```\n\nCall it with two lists."
)
TABLE = (
    "| crop | sun | weeks |\n|---|---|---|\n| lettuce | 4 h | 8 |\n| spinach | 3 h | 6 |\n"
    "| mint | 2 h | 9 |\n\nAll of them grow in pots."
)
LIST = (
    "Steps:\n\n1. Dig the bed.\n2. Add compost.\n   - two buckets\n   - well rotten\n"
    "3. Sow, 1 cm deep.\n\n---\n\nDone."
)
WIDE = (
    "\u5728\u9634\u51c9\u5904\u53ef\u4ee5\u79cd\u690d\u51e0\u79cd\u852c\u83dc\uff1a\u751f\u83dc"
    "\u9700\u8981\u56db\u5c0f\u65f6\u7684\u9633\u5149\u3002 "
    "\U0001f469\u200d\U0001f33e \U0001f44d\U0001f3fd \U0001f468\u200d\U0001f469\u200d\U0001f467 e\u0301 "
    "\ud55c\uad6d\uc5b4 \ubb38\uc7a5\ub3c4 \uc788\uc2b5\ub2c8\ub2e4."
)
TWICE = (
    "Row, row, row your boat, gently down the stream. Row, row, row your boat.\n\n"
    "1 1 1 1 1 2 2 2 2\n\n-----\n-----\n"
)
UNIQUE = {"prose": PROSE, "code": CODE, "table": TABLE, "list": LIST, "wide": WIDE}
TEXTS = UNIQUE | {"twice": TWICE}


def message(text: str = "", thought: str = "") -> ChatMessage:
    parts = ((ReasoningPart(text=thought),) if thought else ()) + (
        (TextPart(text=text),) if text else ()
    )
    return ChatMessage(
        message_id=new_id(),
        role=Role.ASSISTANT,
        parts=parts,
        created_at=now(),
        state=AnswerState.STOPPED,
    )


def joined(text: str, pieces: list[str], *, is_prefilled: bool) -> str:
    joint = Continuation(message(text), is_prefilled=is_prefilled)
    events = [one for piece in pieces for one in joint.feed(TextDelta(text=piece))]
    return text + "".join(one.text for one in (*events, *joint.release()))


def pieces_of(text: str, seed: int) -> list[str]:
    chance, pieces = random.Random(seed), []  # noqa: S311 - the same cuts each time
    while text:
        size = chance.randint(1, 9)
        pieces.append(text[:size])
        text = text[size:]
    return pieces


@pytest.mark.parametrize("is_prefilled", [True, False])
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_an_answer_that_continues_at_the_very_character_is_joined_as_it_is(text, is_prefilled):
    for cut in range(1, len(text)):
        assert joined(text[:cut], pieces_of(text[cut:], cut), is_prefilled=is_prefilled) == text, (
            text[:cut]
        )


@pytest.mark.parametrize("text", UNIQUE.values(), ids=UNIQUE)
def test_last_words_that_were_repeated_as_asked_stand_there_once(text):
    for cut in range(20, len(text)):
        begun = text[:cut]
        said = last_words(begun) + text[len(begun.rstrip()) :]
        assert joined(begun, pieces_of(said, cut), is_prefilled=False) == text, begun


@pytest.mark.parametrize("text", UNIQUE.values(), ids=UNIQUE)
@pytest.mark.parametrize("is_prefilled", [True, False])
def test_an_answer_that_is_repeated_whole_is_shown_once(text, is_prefilled):
    for cut in range(30, len(text)):
        assert joined(text[:cut], pieces_of(text, cut), is_prefilled=is_prefilled) == text, text[
            :cut
        ]


@pytest.mark.parametrize(
    ("begun", "said", "whole"),
    [
        ("Several vegeta", "vegetables grow.", "Several vegetables grow."),
        ("Several vegeta", "bles grow.", "Several vegetables grow."),
        ("Several vegetables", "Several vegetables grow.", "Several vegetables grow."),
        ("Several vegetables", "vegetables grow.", "Several vegetables grow."),
        ("Several vegetables ", "vegetables grow.", "Several vegetables grow."),
        ("Several vegetables", "Sure, continuing:\n\nvegetables grow.", "Several vegetables grow."),
        ("Several vegeta", "Sure!\n\nvegetables grow.", "Several vegetables grow."),
        (
            "Several vegeta",
            "Here is the rest of the answer:\n\nvegetables grow.",
            "Several vegetables grow.",
        ),
        (
            "Several vegeta",
            "Continuing from where I left off...\n\nvegetables",
            "Several vegetables",
        ),
        ("Wait.", "..", "Wait..."),
        ("Wait..", ". What?", "Wait... What?"),
        ("First line.\n", "\nSecond.", "First line.\n\nSecond."),
        (
            "They all grow well.\n\n",
            "They all grow well.\n\nSecond.",
            "They all grow well.\n\nSecond.",
        ),
        ("It is sure", "ly so.", "It is surely so."),
        ("Rose", "Sure", "RoseSure"),
    ],
)
def test_an_answer_to_the_prompt_to_continue_is_joined(begun, said, whole):
    assert joined(begun, pieces_of(said, 1), is_prefilled=False) == whole
    assert joined(begun, [said], is_prefilled=False) == whole


FENCED = "Look:\n\n```python\ndef f(beds):\n    return "


@pytest.mark.parametrize(
    ("begun", "said", "whole"),
    [
        (FENCED, "beds\n```\n", FENCED + "beds\n```\n"),
        (FENCED, "```python\n    return beds\n```\n", FENCED + "beds\n```\n"),
        (FENCED, "```python\ndef f(beds):\n    return beds\n```\n", FENCED + "beds\n```\n"),
        (FENCED, "```\ndef f(beds):\n    return beds\n```\n", FENCED + "beds\n```\n"),
        (
            FENCED,
            "Sure, here is the rest:\n\n```python\n    return beds\n```\n",
            FENCED + "beds\n```\n",
        ),
        (FENCED + "beds", "\n```\n\nDone.", FENCED + "beds\n```\n\nDone."),
        (FENCED + "beds\n", "```\n\nDone.", FENCED + "beds\n```\n\nDone."),
        (FENCED + "beds\n``", "`\n\nDone.", FENCED + "beds\n```\n\nDone."),
        ("Look:\n\n```py", "thon\nx = 1\n```", "Look:\n\n```python\nx = 1\n```"),
        (TABLE[:60], TABLE[:30] + TABLE[30:], TABLE),
        (
            TABLE[:60],
            "| crop | sun | weeks |\n|---|---|---|\n" + TABLE[TABLE.index("| lett") :],
            TABLE,
        ),
    ],
)
def test_a_fence_or_a_table_that_is_opened_again(begun, said, whole):
    assert joined(begun, pieces_of(said, 2), is_prefilled=False) == whole
    assert joined(begun, [said], is_prefilled=False) == whole


def test_what_is_held_back_is_kept_however_the_stream_ends():
    joint = Continuation(message("Several vegetables grow well in"), is_prefilled=False)
    assert joint.feed(TextDelta(text="Several vegetables", pieces=2)) == (
        TextDelta(text="", pieces=2),
    )
    assert joint.release() == (TextDelta(text="Several vegetables", pieces=0),)
    assert joint.release() == ()


def test_it_waits_no_longer_than_what_came_can_be_a_repetition():
    joint = Continuation(message(PROSE), is_prefilled=False)
    long = "Water them. " * 20
    assert joint.feed(TextDelta(text=long)) == (TextDelta(text=""), TextDelta(text=long, pieces=0))
    assert joint.feed(TextDelta(text=" Several")) == (TextDelta(text=" Several"),)


def test_a_second_thought_is_set_apart_from_the_first_and_a_continued_one_is_not():
    told = Continuation(message("Several", thought="The user asks."), is_prefilled=False)
    assert told.feed(ReasoningDelta(text="So they ask.")) == (
        ReasoningDelta(text="\n\nSo they ask."),
    )
    assert told.feed(ReasoningDelta(text=" Yes.")) == (ReasoningDelta(text=" Yes."),)
    taken_up = Continuation(message(thought="The user as"), is_prefilled=True)
    assert taken_up.feed(ReasoningDelta(text="ks.")) == (ReasoningDelta(text="ks."),)
    assert taken_up.feed(TextDelta(text="Several")) == (TextDelta(text="Several"),)


def test_text_that_turns_out_to_be_a_thought_does_not_end_the_join():
    joint = Continuation(message("Several vegeta"), is_prefilled=False)
    assert joint.feed(TextDelta(text="Hm, what")) == (TextDelta(text=""),)
    thought = TextDelta(text="Hm, what", pieces=0), Rethought(is_thought=True)
    assert joint.feed(Rethought(is_thought=True)) == thought
    joint.feed(TextDelta(text="vegetables "))
    assert joint.release() == (TextDelta(text="bles ", pieces=0),)


def test_the_last_words_are_whole_ones_where_there_are_enough():
    assert last_words("Short.\n") == "Short."
    assert last_words(PROSE) in PROSE
    assert PROSE[PROSE.index(last_words(PROSE)) - 1] == " "
    assert len(last_words(PROSE)) <= ANCHOR_CHARS
    assert len(last_words("x" * 500)) == ANCHOR_CHARS


def test_a_long_answer_is_looked_at_no_longer_than_a_short_one_for_each_word():
    text = " ".join(f"word{number}" for number in range(20_000))
    assert joined(text, ["word19998 word19999 and on"], is_prefilled=False) == f"{text} and on"
    assert joined(text, [f"{text} and on"], is_prefilled=True) == f"{text} and on"
    assert joined(text * 10, [" and on"], is_prefilled=True) == f"{text * 10} and on"
