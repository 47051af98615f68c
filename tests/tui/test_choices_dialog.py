"""Probabilities of the words of an answer, and versions with another word, in the whole app."""

from __future__ import annotations

import asyncio

from rich.cells import cell_len

from lmchat.domain.event import (
    ReasoningDelta,
    RequestSent,
    StreamFinished,
    TextDelta,
    TokensChosen,
)
from lmchat.domain.message import AnswerState, Role
from lmchat.domain.token_choice import Alternative, TokenChoice
from lmchat.errors import StreamInterrupted
from lmchat.services.choosing import NO_CHOICES
from lmchat.tui.screens.chat.screen import ChatScreen
from lmchat.tui.screens.choices_dialog import ChoicesDialog
from lmchat.tui.widgets.choices_text import ChoicesText, ShownWord, lines_of, shown_text
from tests.support.desktop import ready_desktop, shown
from tests.support.scripted_backend import answer_steps, llama
from tests.support.tui_host import text_of

END = StreamFinished(reason="stop")
SURE, UNSURE, GUESSED = -0.1, -1.0, -2.0
"""Logprobs of 91 %, 37 % and 14 %."""


def word(text: str, logprob: float = SURE, *others: str, is_thought: bool = False) -> list:
    """Return the events of a token with alternatives of 22 %."""
    top = (text, logprob), *((other, -1.5) for other in others)
    alternatives = tuple(Alternative(token=token, logprob=chance) for token, chance in top)
    choice = TokenChoice(
        token=text, logprob=logprob, text=text, is_thought=is_thought, top=alternatives
    )
    delta = ReasoningDelta(text=text) if is_thought else TextDelta(text=text)
    return [delta, TokensChosen(choices=(choice,))]


def words(*tokens: list) -> list:
    return [RequestSent(), *(event for token in tokens for event in token)]


FERNS = words(
    word("Ferns"), word(" like", UNSURE, " love", " need"), word(" shade", GUESSED), word(".")
)


def chosen(desk) -> str:
    return text_of(desk.app.screen.query_one("#chosen-word"))


async def look(desk) -> None:
    await desk.press("alt+up", "p", leads_to=ChoicesDialog, sees="4 words, 2 of them below 50")


async def test_words_are_gone_through_and_another_one_begins_a_version_that_goes_on(tmp_path):
    backend = llama([*FERNS, END], [*words(word(" warm", UNSURE), word(" rain")), END])
    async with ready_desktop(tmp_path, backend=backend, asked=["one"]) as desk:
        await look(desk)
        assert "Ferns like shade." in text_of(desk.app.screen.query_one(ChoicesText))
        strip = desk.app.screen.query_one(ChoicesText).render_line(0)
        styles = {segment.text.strip(): segment.style for segment in strip if segment.style}
        assert styles["like"].underline
        assert not styles["like"].reverse
        assert styles["shade"].reverse
        assert not styles["."].reverse
        assert not styles["."].underline
        assert '"Ferns"  91' in chosen(desk)
        await desk.press("right", sees='" like"  37')
        await shown(desk, "in the answer", '" love"', '" need"')
        await desk.press("tab", sees='" shade"  14')
        await desk.press("shift+tab", sees='" like"  37')
        await desk.press("end", sees='"."  91')
        await desk.press("right", "tab", sees="word 4 of 4")
        await desk.press("home", "left", sees="word 1 of 4")
        await desk.press("escape", leads_to=ChatScreen)
        assert desk.texts == ["one", "Ferns like shade."]
        assert len(backend.requests) == 1

        await desk.press("p", leads_to=ChoicesDialog)
        await desk.press("right", "down", "enter", leads_to=ChatScreen, sees="2/2")
        await desk.until(lambda: desk.texts == ["one", "Ferns love warm rain"], "the version")
        await desk.answered()
        last = backend.requests[-1].messages[-1]
        assert (last.role, last.text) == (Role.ASSISTANT, "Ferns love")
        await shown(desk, "edited")
        await desk.press("p", leads_to=ChoicesDialog, sees="4 words, 2 of them below 50")
        await desk.press("right", sees='" love"  22')  # the first words have theirs from before
        await desk.press("escape", "left_square_bracket")
        await desk.until(lambda: desk.texts == ["one", "Ferns like shade."], "the old version")


async def test_who_has_no_probabilities_or_cannot_continue_is_told_and_nothing_changes(tmp_path):
    scripts = [*FERNS, END], answer_steps("Moss.")
    async with ready_desktop(tmp_path, *scripts, asked=["one", "two"]) as desk:
        await desk.press("alt+up", "p", sees="/set logprobs 5")
        assert [note.message for note in desk.app._notifications] == [NO_CHOICES]
        assert isinstance(desk.app.screen, ChatScreen)
        await desk.press("alt+up")
        await look(desk)
        await desk.press("down", "enter", sees="cannot continue a text")
        assert desk.texts == ["one", "Ferns like shade.", "two", "Moss."]
        assert len(desk.backend.requests) == 2


async def test_an_answer_that_streams_has_to_end_before_its_words_or_others_are_taken(tmp_path):
    gates = [asyncio.Event(), asyncio.Event()]
    backend = llama([*FERNS, gates[0], END], [*words(word("Moss")), gates[1], END])
    async with ready_desktop(tmp_path, backend=backend) as desk:
        await desk.say("one", sees="Ferns like shade.")
        await desk.press("alt+up", "p", sees="still streaming")
        assert isinstance(desk.app.screen, ChatScreen)
        gates[0].set()
        await desk.answered()
        await desk.press("escape")
        await desk.say("two", sees="Moss")
        await desk.press("alt+up", "alt+up", "alt+up", "p", leads_to=ChoicesDialog)
        await desk.press("down", "enter", leads_to=ChatScreen)
        await desk.pilot.pause()
        assert len(backend.requests) == 2
        gates[1].set()
        await desk.answered(2)
        assert desk.texts == ["one", "Ferns like shade.", "two", "Moss"]


async def test_an_answer_that_was_cut_off_has_the_probabilities_so_far(tmp_path):
    broken = StreamInterrupted("The server went away.")
    backend = llama([*FERNS, asyncio.Event()], [*FERNS, broken])
    async with ready_desktop(tmp_path, backend=backend) as desk:
        await desk.say("one", sees="Ferns like shade.")
        await desk.press("escape")
        await desk.at_rest()
        assert desk.conversation.messages[-1].state is AnswerState.STOPPED
        await look(desk)
        await desk.press("escape", "escape")
        await desk.say("two", sees="The server went away.")
        await desk.at_rest()
        assert desk.conversation.messages[-1].state is AnswerState.INTERRUPTED
        await look(desk)


async def test_words_the_user_has_begun_with_have_no_mark_and_a_thought_says_what_it_is(tmp_path):
    thought = [*words(word("Hm", UNSURE, "Ah", is_thought=True), word("Yes", SURE)), END]
    backend = llama([*FERNS, END], thought, [*words(word("!", is_thought=True), word("No")), END])
    async with ready_desktop(tmp_path, backend=backend) as desk:
        await desk.say("/start All")
        await desk.until(lambda: desk.conversation.first_words, "the first words")
        await desk.say("one", sees="AllFerns")
        await desk.answered()
        await look(desk)
        assert "AllFerns like" in text_of(desk.app.screen.query_one(ChoicesText))
        assert '"Ferns"' in chosen(desk)
        await desk.press("escape", "escape")

        await desk.ask("two", 2)
        await desk.press("alt+up", "p", leads_to=ChoicesDialog, sees="thought, word 1 of 2")
        await desk.press("down", "enter", leads_to=ChatScreen, sees="2/2")
        await desk.until(lambda: desk.texts[2:] == ["two", "No"], "the version")
        assert desk.conversation.messages[-1].reasoning == "Ah!"
        assert not backend.requests[-1].messages[-1].text


HOSTILE = (
    "\x1b[2J\x1b]0;x\x07",
    "\n\n",
    "\t",
    "\u202e",
    "\u0301",
    "👩",
    "\u200d",
    "💻",
    "🏽",
    "[/b]",
)


async def test_hostile_tokens_keep_the_dialog_in_shape(tmp_path):
    others = [f"word {number}" for number in range(100)]
    script = words(*(word(text, GUESSED, *HOSTILE, *others) for text in HOSTILE), word("x" * 900))
    async with ready_desktop(tmp_path, backend=llama([*script, END]), asked=["one"]) as desk:
        await desk.press("alt+up", "p", leads_to=ChoicesDialog, sees="Esc close")
        for size in ((120, 40), (80, 24), (40, 12)):
            await desk.pilot.resize_terminal(*size)
            await desk.press("home")
            for _ in range(len(HOSTILE) + 1):
                text = desk.app.screen.query_one(ChoicesText)
                for y in range(text.size.height):
                    assert text.render_line(y).cell_length == text.outer_size.width
                assert not set("\x1b\x07\u202e") & set(desk.text)
                await desk.press("right", "down")
            await shown(desk, "Esc close")
        await desk.press("escape", leads_to=ChatScreen)


def test_all_text_is_in_lines_that_fit():
    tokens = [
        "A",
        " long",
        "ish",
        " sentence",
        " of",
        "\n",
        "words",
        "\n\n",
        " 👩\u200d💻",
        "é" * 30,
        "漢字" * 30,
    ]
    shown_words = [ShownWord(shown_text(text), index=index) for index, text in enumerate(tokens)]
    for width in (1, 3, 7, 40):
        lines = lines_of(shown_words, width)
        joined = "".join(part.text for line in lines for part in line)
        if width > 1:  # else a wide character has no room
            assert joined.replace(" ", "") == "".join(tokens).replace(" ", "").replace("\n", "")
            assert all(sum(cell_len(part.text) for part in line) <= width + 1 for line in lines)
        assert {part.index for line in lines for part in line} == set(range(len(tokens)))


def test_tokens_of_one_word_stay_on_one_line():
    shown_words = [ShownWord(text) for text in ("one", " un", "believ", "able")]
    lines = lines_of(shown_words, 12)
    assert ["".join(part.text for part in line) for line in lines] == ["one", "unbelievable"]


async def test_an_answer_of_5000_words_can_be_gone_through(tmp_path):
    script = words(*(word(f" w{number}", GUESSED, *"abcd") for number in range(5000)))
    async with ready_desktop(tmp_path, backend=llama([*script, END]), asked=["one"]) as desk:
        await desk.press("alt+up", "p", leads_to=ChoicesDialog, sees="word 1 of 5 000")
        await desk.press("end", sees='" w4999"')
        await shown(desk, "word 5 000 of 5 000", "w4990 w4991")
