"""Probabilities of the tokens of an answer: collected, saved, and the way to another answer."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from lmchat.base.errors import RequestInvalid
from lmchat.core.sessions.message import ReasoningPart, Role, TextPart, text_message
from lmchat.core.sessions.tokens import Alternative, AnswerTokens, TokenProbabilities


def choice(text: str, *others: str, is_thought: bool = False) -> TokenProbabilities:
    top = tuple(Alternative(token=other, logprob=-2.0) for other in (text, *others))
    return TokenProbabilities(token=text, logprob=-0.5, text=text, is_thought=is_thought, top=top)


def said(text: str, thought: str = ""):
    """Return an answer with a thought and a text."""
    parts = [ReasoningPart(text=thought)] if thought else []
    return replace(text_message(Role.ASSISTANT, ""), parts=(*parts, TextPart(text=text)))


def test_a_begun_answer_has_the_exact_text_up_to_the_token():
    for start in ("", "Of course: "):
        tokens = [choice("a "), choice(" b\n"), choice("c", "d ")]
        started, kept = AnswerTokens(said(f"{start}a  b\nc", "Hm."), tokens).prefill_with(2, "d ")
        assert (started.text, started.reasoning) == (f"{start}a  b\nd ", "Hm.")
        assert started.stats.is_edited
        assert [one.token for one in kept] == ["a ", " b\n", "d "]
        assert kept[2].logprob == -2.0
    late = TokenProbabilities(token="c", logprob=-1.0, text="xc")  # noqa: S106 - text came before it
    started, _ = AnswerTokens(said("axc"), [choice("a"), late]).prefill_with(1, "d")
    assert started.text == "axd"
    tokens = [choice("Hm", is_thought=True), choice(".", "!", is_thought=True), choice("Yes")]
    started, _ = AnswerTokens(said("Yes", "Hm."), tokens).prefill_with(1, "!")
    assert (started.reasoning, started.text) == ("Hm!", "")


def test_a_part_of_a_character_and_a_token_whose_place_is_not_certain_are_refused():
    with pytest.raises(RequestInvalid, match="not exactly known"):
        AnswerTokens(said("a"), [choice("a")]).prefill_with(0, "\ufffd")
    with pytest.raises(RequestInvalid, match="not exactly known"):
        AnswerTokens(said("other"), [choice("a"), choice("b")]).prefill_with(1, "c")
