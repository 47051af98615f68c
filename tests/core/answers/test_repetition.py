"""A model that repeats itself without end, beside ordinary answers with equal lines."""

from __future__ import annotations

import base64
import random
from collections.abc import Iterator

import pytest
from msgspec import Struct

from lmchat.base.token_estimate import estimate_tokens
from lmchat.core.answers.repetition import Repetition, RepetitionWatch
from lmchat.core.servers.events import (
    ReasoningDelta,
    RefusalDelta,
    Rethought,
    TextDelta,
    ToolCallDelta,
)
from tests.support.markdown_answers import markdown_answer
from tests.support.markdown_corpus import MIXED

TEN_MB = 10_000_000
SENTENCE = "Wait, let me read the question again. The user wants a number, so I should count. "
CHORUS = "Row, row, row your boat, gently down the stream,\nmerrily, merrily, merrily, merrily,\n"
BED = '[bed]\nname = "tomato"\nwater = true\nrows = 4\n\n'
CAROL = "".join(
    f"On this cold night the bells ring out,\n{'Sing, O sing! ' * 9}\n" for _ in range(12)
)


def pieces(text: str, size: int = 7) -> Iterator[str]:
    return (text[start : start + size] for start in range(0, len(text), size))


def watched(text: str, watch: RepetitionWatch | None = None) -> tuple[list[int], int]:
    """Return after how many tokens a text is told to repeat itself, and how often at its end."""
    watch = watch or RepetitionWatch("tell")
    told = []
    tokens = 0
    for piece in pieces(text):
        tokens += estimate_tokens(piece)
        if watch.add(TextDelta(text=piece)):
            told.append(tokens)
    repetition = watch.at_end()
    return told, repetition.times if repetition else 0


def words(rng: random.Random, count: int) -> str:
    letters = "aeinorstldc"
    return " ".join("".join(rng.choices(letters, k=rng.randint(2, 9))) for _ in range(count))


def ordinary_answer(seed: int) -> str:
    """Return an answer of the kinds that have equal lines, in any order."""
    rng = random.Random(seed)  # noqa: S311 - no secret
    count = rng.randint(3, 12)
    kinds = [
        markdown_answer(seed),
        MIXED,
        words(rng, 120),
        "".join(f"- {words(rng, 4)}\n" for _ in range(30)),
        f"```c\nint zeros[] = {{{'0, ' * 400}}};\nint *none[] = {{{'NULL, ' * 200}}};\n```\n",
        "```python\n" + "    print()\n" * 30 + "```\n",
        "```html\n" + '<li><a href="#">Link</a></li>\n' * count + "```\n",
        "| day | time | place |\n|---|---|---|\n" + "| free | free | free |\n" * count,
        "| | | |\n" * 40,
        CHORUS * 2 + words(rng, 20) + "\n" + CHORUS * 2,
        f"{words(rng, 8)}\n" * 3,
        "".join(f"2026-11-28 14:{minute:02} GET /health 200 in 3 ms\n" for minute in range(count)),
        "GET /health 200\n" * count,
        "-" * 80 + "\n" + "=" * 300 + "\n",
        "?" * 5_000,
        "a" * 5_000,
        "ha" * 150,
        "\n" * 20,
        "🎉" * 30,
        base64.b64encode(rng.randbytes(900)).decode(),
        base64.b64encode(bytes(900)).decode(),
        "0x00, " * 300,
        "D C B A G F E " * 60,
        "| C G Am F " * 20,
    ]
    rng.shuffle(kinds)
    return "\n\n".join(kinds)


def test_ten_megabytes_of_ordinary_answers_cause_no_alarm():
    size = seed = 0
    while size < TEN_MB:
        seed += 1
        text = ordinary_answer(seed)
        size += len(text)
        watch = RepetitionWatch("tell")
        found = [watch.add(TextDelta(text=piece)) for piece in pieces(text, 90)]
        assert not any(found), (seed, found)


@pytest.mark.parametrize("text", [BED * 60, CAROL, SENTENCE * 300])
def test_an_answer_that_ends_by_itself_is_not_told_below_8000_tokens(text):
    assert watched(text)[0] == []


def test_at_its_end_a_text_repeats_itself_if_it_has_come_three_times_and_has_400_characters():
    rng = random.Random(7)  # noqa: S311 - no secret
    for period in (*range(20, 120, 7), 134, 200, 257, 400, 640, 999, 1_200, 1_300):
        before = words(rng, 300)
        repeated = words(rng, period)[: period - 1] + "."
        least = -(-max(3 * period, 400) // period)
        assert watched(before + repeated * (least - 1)) == ([], 0), period
        for times in (least, least + 1, least + 10):
            _, counted = watched(before + repeated * times)
            assert times - 100 // period - 1 <= counted <= times, period
        assert watched(repeated * (least + 10) + before) == ([], 0), "it has ended before"


@pytest.mark.parametrize(
    "repeated",
    [
        SENTENCE,
        "我需要重新考虑这个问题。用户想要一个简短的答案。\n",
        "- Soup with beans and onions\n- Bread with butter and chives\n- Potatoes\n",
        "#gardening #potatoes #compost #tomatoes ",
        "<p>This is a message of the user.</p>\n                ",
        "assistant\n\nHow can I help you today?",
        "</think>\nI have to look at this. Let me write the message.\n",
        "| 2011 | Ravens | Steelers | 35 to 7 | home |\n",
        *("no, ", "```\n\n", "0 | 0 |\n", "🌻🌼", "\n", " ", "a"),
    ],
)
def test_loops_like_those_of_reports_are_told_once_they_have_8000_tokens(repeated):
    text = repeated * (80_000 // len(repeated))
    (tokens,), at_end = watched(text)
    assert 8_000 <= tokens <= 8_000 + 4_200
    assert at_end == 0, "it was told"
    for delta, is_thought in ((ReasoningDelta, True), (RefusalDelta, False)):
        watch = RepetitionWatch("tell")
        (told,) = filter(None, [watch.add(delta(text=piece)) for piece in pieces(text)])
        assert told.is_thought is is_thought
    watch = RepetitionWatch("tell")
    found = [watch.add(ToolCallDelta(index=0, arguments=piece)) for piece in pieces(text)]
    assert sum(map(bool, found)) == 1


def test_each_thought_and_each_answer_is_told_once_or_again_if_one_wants_to_know():
    events: list[Struct] = [ReasoningDelta(text=SENTENCE) for _ in range(900)]
    events += [TextDelta(text=SENTENCE) for _ in range(900)]
    watch = RepetitionWatch("tell")
    told = [found for event in events if (found := watch.add(event))]
    times = told[0].times
    assert told == [
        Repetition(is_thought=True, times=times),
        Repetition(is_thought=False, times=times),
    ]
    assert told[0].text == f"The thought has repeated itself {times} times."
    assert told[1].text == f"The answer has repeated itself {times} times."
    # what was told of the answer was told of a thought
    assert watch.add(Rethought()) is None
    assert [bool(watch.add(event)) for event in events[900:]].count(True) == 1
    assert len(watched(SENTENCE * 2_500, RepetitionWatch("act"))[0]) > 3


def test_the_end_of_a_thought_and_the_beginning_of_the_answer_are_two_texts():
    watch = RepetitionWatch("tell")
    halves = [ReasoningDelta(text=SENTENCE * 4), TextDelta(text=SENTENCE * 2)]
    assert [watch.add(event) for event in halves] == [None, None]
    assert watch.at_end() is None


def test_nothing_is_found_where_the_user_does_not_want_it():
    assert watched(SENTENCE * 900, RepetitionWatch("off")) == ([], 0)
