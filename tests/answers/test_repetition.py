"""A model that repeats itself without end, beside ordinary answers with equal lines."""

from __future__ import annotations

import base64
import random
from collections.abc import Iterator

import pytest
from msgspec import Struct

from lmchat.answers.repetition import Repetition, RepetitionWatch
from lmchat.servers.events import ReasoningDelta, RefusalDelta, Rethought, TextDelta, ToolCallDelta
from tests.support.markdown_answers import markdown_answer
from tests.support.markdown_corpus import MIXED

TEN_MB = 10_000_000
STEP = 100
"""Characters between two looks; so an alarm may come so much later."""
SENTENCE = "Wait, let me read the question again. The user wants a number, so I should count. "
CHORUS = "Row, row, row your boat, gently down the stream,\nmerrily, merrily, merrily, merrily,\n"


def pieces(text: str, size: int = 7) -> Iterator[str]:
    return (text[start : start + size] for start in range(0, len(text), size))


def alarms(text: str, watch: RepetitionWatch | None = None) -> list[tuple[int, int]]:
    """Return after how many characters a text is found to repeat itself, and how often it has."""
    watch, found, count = watch or RepetitionWatch("tell"), [], 0
    for piece in pieces(text):
        count += len(piece)
        if repetition := watch.add(TextDelta(text=piece)):
            found.append((count, repetition.times))
    return found


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


def test_a_text_is_found_once_it_has_come_three_times_and_a_short_one_after_400_characters():
    rng = random.Random(7)  # noqa: S311 - no secret
    for period in (*range(20, 120, 7), 134, 200, 257, 400, 640, 999, 1_200, 1_300):
        before, repeated = words(rng, 300), words(rng, period)[: period - 1] + "."
        ((place, times),) = alarms(before + repeated * (4_000 // period + 3))
        needed = max(3 * period, 400)
        assert needed <= place - len(before) <= needed + STEP + 7, period
        assert times == max(3, 400 // period)
        assert alarms(before + repeated * 2) == []


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
    ],
)
def test_loops_like_those_of_reports_are_found_in_thoughts_and_answers(repeated):
    needed = max(3 * len(repeated), 400) + STEP
    for delta, is_thought in ((ReasoningDelta, True), (TextDelta, False), (RefusalDelta, False)):
        watch = RepetitionWatch("tell")
        found = [watch.add(delta(text=piece)) for piece in pieces(repeated * 100)]
        (repetition,) = filter(None, found)
        assert repetition.is_thought is is_thought
        assert (found.index(repetition) + 1) * 7 <= needed + 7
    watch = RepetitionWatch("tell")
    found = [watch.add(ToolCallDelta(index=0, arguments=piece)) for piece in pieces(repeated * 100)]
    assert sum(map(bool, found)) == 1


def test_a_text_of_few_letters_has_to_fill_4000_characters_and_one_letter_is_never_an_alarm():
    for repeated in ("no, ", "```\n\n", "0 | 0 |\n", "🌻🌼", "\n", " "):
        ((place, _),) = alarms(repeated * 6_000)
        assert 4_000 <= place <= 4_000 + STEP + 7, repeated
    for letter in ("a", "?", "-", "字"):
        assert alarms(letter * 20_000) == []


def test_each_thought_and_each_answer_is_told_once_or_again_if_one_wants_to_know():
    events: list[Struct] = [ReasoningDelta(text=SENTENCE) for _ in range(50)]
    events += [TextDelta(text=SENTENCE) for _ in range(50)]
    watch = RepetitionWatch("tell")
    told = [found for event in events if (found := watch.add(event))]
    assert told == [
        Repetition(is_thought=True, times=4),
        Repetition(is_thought=False, times=4),
    ]
    assert [found.words for found in told] == [
        "The thought has repeated itself 4 times.",
        "The answer has repeated itself 4 times.",
    ]
    # what was told of the answer was told of a thought
    assert watch.add(Rethought()) is None
    assert [bool(watch.add(event)) for event in events[50:]].count(True) == 1
    assert len(alarms(SENTENCE * 50, RepetitionWatch("act"))) > 5


def test_the_end_of_a_thought_and_the_beginning_of_the_answer_are_two_texts():
    watch = RepetitionWatch("tell")
    halves = [ReasoningDelta(text=SENTENCE * 2), TextDelta(text=SENTENCE * 3)]
    assert [watch.add(event) for event in halves] == [None, None]
