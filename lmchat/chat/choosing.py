"""Choices of the model in an answer: where they are in its text, and the way to another answer.

A choice is a token that the model wrote, with the likeliest other tokens in its place. If the user
takes one of these, the answer up to there begins another version, which the model continues.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from lmchat.errors import RequestInvalid
from lmchat.sessions.message import (
    HALF_CHARACTER,
    AnswerStats,
    ChatMessage,
    Part,
    ReasoningPart,
    TextPart,
    TokenProbabilities,
)

NO_CHOICES = (
    "This answer has no probabilities. "
    "Type /set logprobs 5, and the next answers have those of each word."
)


class BegunAnswer(Struct, frozen=True, kw_only=True):
    """The beginning of an answer, which the model is to continue in another version."""

    message: ChatMessage
    choices: tuple[TokenProbabilities, ...]  # of the tokens that it has


class AnswerChoices:
    """The choices of the tokens of an answer, in their order, with their place in its text."""

    def __init__(self, answer: ChatMessage, choices: Sequence[TokenProbabilities]) -> None:
        self.answer = answer
        self.choices = choices
        self.text_start = _start(answer.text, choices, is_thought=False)
        """Index in the text of the answer from which its tokens are known.

        It is above 0 in an answer that continues another one, or a text of the user. It is None if
        the tokens do not make up a part of the text.
        """
        self.thought_start = _start(answer.reasoning, choices, is_thought=True)
        """The same for the thought of the answer."""

    def begun_with(self, index: int, token: str) -> BegunAnswer:
        """Return the answer up to the token with an index, with another token in its place.

        `token` is one of the alternatives of that token. Raises `RequestInvalid` if the text up to
        there is not exactly known, or if `token` is only a part of a character.
        """
        chosen = self.choices[index]
        earlier = self.choices[:index]
        start = self.thought_start if chosen.is_thought else self.text_start
        if HALF_CHARACTER in token:
            raise RequestInvalid(
                "This token is only a part of a character.", hint="Choose another one."
            )
        if start is None:
            raise RequestInvalid(
                "The place of this word in the answer is not certain.",
                hint="Rewrite the answer with E instead.",
            )
        whole = self.answer.reasoning if chosen.is_thought else self.answer.text
        text_of_earlier = _text_of(earlier, is_thought=chosen.is_thought)
        # text of earlier tokens that the server has not reported came with this one, and stays
        text_of_token = chosen.text_before + token
        begun = whole[:start] + text_of_earlier + text_of_token
        logprobs = [other.logprob for other in chosen.top if other.token == token]
        logprob = logprobs[0] if logprobs else chosen.logprob
        taken = replace(chosen, token=token, logprob=logprob, text=text_of_token)
        tokens = len(earlier) + 1
        return BegunAnswer(
            message=_answer_with(self.answer, begun, tokens, is_thought=chosen.is_thought),
            choices=(*earlier, taken),
        )


def _answer_with(answer: ChatMessage, text: str, tokens: int, *, is_thought: bool) -> ChatMessage:
    """Return an answer that has `text` as its whole thought, or behind its thought.

    Its stats says that it was edited by the user, and how many tokens it has.
    """
    parts: list[Part] = []
    if is_thought:
        parts.append(ReasoningPart(text=text))
    else:
        parts += [ReasoningPart(text=answer.reasoning)] if answer.reasoning else []
        parts.append(TextPart(text=text))
    stats = AnswerStats(is_edited=True, completion_tokens=tokens)
    return replace(answer, parts=tuple(parts), stats=stats, failure=None)


def _start(whole: str, choices: Sequence[TokenProbabilities], *, is_thought: bool) -> int | None:
    """Return where the text of some tokens begins in `whole`, the text or thought of an answer.

    They are the tokens of the thought, or else the other ones. Their text is looked for from the
    end, since what an answer continues comes before it. Return None if it is not there.
    """
    start = whole.rfind(_text_of(choices, is_thought=is_thought))
    return None if start < 0 else start


def _text_of(choices: Sequence[TokenProbabilities], *, is_thought: bool) -> str:
    """Return what the answer, or its thought, got with some tokens."""
    return "".join(choice.text for choice in choices if choice.is_thought == is_thought)
