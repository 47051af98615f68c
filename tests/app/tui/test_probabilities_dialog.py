"""Probabilities of the words of an answer, and versions with another word, in the whole app."""

from __future__ import annotations

from lmchat.app.tui.dialogs.probabilities_dialog import ProbabilitiesDialog, WordsText
from lmchat.app.tui.screen import ChatScreen
from lmchat.base.units import GAP
from lmchat.core.servers.events import (
    ReasoningDelta,
    RequestSent,
    StreamFinished,
    TextDelta,
    TokensChosen,
)
from lmchat.core.sessions.message import Role
from lmchat.core.sessions.tokens import HALF_CHARACTER, Alternative, TokenProbabilities
from tests.support.desktop import ready_desktop, shown
from tests.support.scripted_backend import answer_steps, llama
from tests.support.tui_host import text_of

END = StreamFinished(reason="stop")
SURE = -0.1
UNSURE = -1.0
GUESSED = -2.0
"""Logprobs of 90 %, 37 % and 14 %."""


def word(text: str, logprob: float = SURE, *others: str, is_thought: bool = False) -> list:
    """Return the events of a token with alternatives of 22 %."""
    top = (text, logprob), *((other, -1.5) for other in others)
    alternatives = tuple(Alternative(token=token, logprob=chance) for token, chance in top)
    choice = TokenProbabilities(
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


async def test_the_keys_stay_below_a_long_answer_with_many_alternatives(tmp_path):
    others = [f" herb{number}" for number in range(6)]
    long = words(*(word(f"word{number} ", SURE, *others) for number in range(900)))
    backend = llama([*long, END])
    async with ready_desktop(tmp_path, backend=backend, asked=["one"], size=(80, 24)) as desk:
        await desk.press("alt+up", "p", leads_to=ProbabilitiesDialog)
        for size in ((80, 24), (120, 40), (40, 12)):
            if desk.app.size != size:
                await desk.pilot.resize_terminal(*size)
            await shown(desk, "← → word", "Esc close", "word0 ")
            await desk.press("end", sees="word 900 of 900")
            await shown(desk, "← → word", "word899 ")
            await desk.press("home", sees="word 1 of 900")


async def test_words_are_gone_through_and_another_one_begins_a_version_that_goes_on(tmp_path):
    backend = llama([*FERNS, END], [*words(word(" warm", UNSURE), word(" rain")), END])
    async with ready_desktop(tmp_path, backend=backend, asked=["one"]) as desk:
        await desk.press(
            "alt+up", "p", leads_to=ProbabilitiesDialog, sees="4 words, 2 of them below 50"
        )
        assert "Ferns like shade." in text_of(desk.app.screen.query_one(WordsText))
        strip = desk.app.screen.query_one(WordsText).render_line(0)
        styles = {segment.text.strip(): segment.style for segment in strip if segment.style}
        assert styles["like"].underline
        assert not styles["like"].reverse
        assert styles["shade"].reverse
        assert not styles["."].reverse
        assert not styles["."].underline
        assert '"Ferns"  90' in chosen(desk)
        await desk.press("right", sees='" like"  37')
        await shown(desk, "in the answer", '" love"', '" need"')
        await desk.press("tab", sees='" shade"  14')
        await desk.press("shift+tab", sees='" like"  37')
        await desk.press("end", sees='"."  90')
        await desk.press("right", "tab", sees="word 4 of 4")
        await desk.press("home", "left", sees="word 1 of 4")
        await desk.press("escape", leads_to=ChatScreen)
        assert desk.texts == ["one", "Ferns like shade."]
        assert len(backend.requests) == 1

        await desk.press("alt+up", "p", leads_to=ProbabilitiesDialog)
        await desk.press("right", "down", "enter", leads_to=ChatScreen, sees="2/2")
        await desk.until(lambda: desk.texts == ["one", "Ferns love warm rain"], "the version")
        await desk.answered()
        last = backend.requests[-1].messages[-1]
        assert (last.role, last.text) == (Role.ASSISTANT, "Ferns love")
        await shown(desk, "edited")
        await desk.press("alt+up", "p", leads_to=ProbabilitiesDialog)
        await desk.press("right", sees='" love"  22')  # the first words have theirs from before
        await desk.press("escape", "alt+up", "left_square_bracket")
        await desk.until(lambda: desk.texts == ["one", "Ferns like shade."], "the old version")


async def test_what_cannot_be_drawn_or_sent_is_seen_all_the_same_and_is_no_choice(tmp_path):
    tokens = (
        word("Hm.", is_thought=True),
        word("Ferns", SURE, " Moss", HALF_CHARACTER),
        word(" do", -7.0),
        word("\u0301", UNSURE),
    )
    backend = llama([*words(*tokens), END], answer_steps("B."))
    async with ready_desktop(tmp_path, backend=backend, asked=["one"]) as desk:
        await desk.press("alt+up", "p", leads_to=ProbabilitiesDialog, sees="4 words, 2 of them")
        text = desk.app.screen.query_one(WordsText)
        assert "Hm." in text_of(text)
        assert f"{GAP}\u0301" in text_of(text), "an accent is not drawn on the word before"
        await desk.press("right", sees='" Moss"')
        assert HALF_CHARACTER not in desk.text
        pieces = [piece for row in range(4) for piece in text.render_line(row) if piece.style]
        colours = {piece.text.strip(): piece.style.color for piece in pieces}
        assert colours["Hm."] != colours["do"] == text.rich_style.color, "only a thought is muted"
        await desk.press("home", "tab", sees='" do"')
        assert "< 1" in chosen(desk)
        await desk.press("escape", leads_to=ChatScreen)
        await desk.press("escape")
        await desk.ask("two", 2)
        await desk.press("alt+up", "p", sees="This answer has no probabilities.")
