"""Text that answers begin with and models continue: how it is sent, and early ends of thoughts.

An answer may begin with what came before a connection broke, with words of the user, or with the
tokens up to one that the user has chosen. With *prefill*, that is the last message of the request,
and the server lets the model write on. Without it, a prompt asks the model to write what follows.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto

from msgspec import Struct
from msgspec.structs import replace

from lmchat.chat.ports import ModelServer
from lmchat.errors import RequestInvalid
from lmchat.servers.events import ReasoningDelta
from lmchat.servers.model import Target
from lmchat.servers.products import product_named
from lmchat.sessions.message import (
    HALF_CHARACTER,
    AnswerStats,
    ChatMessage,
    Part,
    ReasoningPart,
    Role,
    TextPart,
    TokenProbabilities,
    new_id,
    now,
    text_message,
)

CONTINUE = (
    "Your last answer broke off. Go on with it exactly where it stopped, in the middle of a word "
    "if need be. Its last words are below: do not repeat them, write what follows them. "
    "No greeting, no comment, no code fence that is open already."
)
ANCHOR_CHARS = 60  # at the end of the answer, which the prompt to continue quotes
NO_CHOICES = (
    "This answer has no probabilities. "
    "Type /set logprobs 5, and the next answers have those of each word."
)


class Beginning(Struct, frozen=True, kw_only=True):
    """The beginning of an answer, which the model is to continue."""

    message: ChatMessage
    choices: tuple[TokenProbabilities, ...] = ()  # of the tokens that it has, if they are known
    is_exact: bool = False
    """Whether only prefill will do: words of the user are continued exactly, or not at all."""
    is_first_words: bool = False  # whether no earlier answer has them
    ends_thought: bool = False
    """Whether the request closes the thought that it ends with, so that the answer follows."""

    @classmethod
    def of_words(cls, words: str) -> Beginning | None:
        """Return first words of the user as a beginning; None for empty ones."""
        if not words:
            return None
        message = text_message(Role.ASSISTANT, words)
        return cls(message=message, is_exact=True, is_first_words=True)

    @classmethod
    def of_answer(cls, answer: ChatMessage) -> Beginning:
        """Return an answer as a turn continues it.

        Blanks that end words of the user are left out (R-43): the model writes the blank before its
        next word itself.
        """
        stats = answer.stats
        if stats is not None and stats.ends_with_edit:
            answer = replace(answer, parts=(TextPart(text=answer.text.rstrip()),))
        return cls(message=answer, is_exact=stats is not None and stats.is_edited)

    def can_prefill(self, target: Target) -> bool:
        """Whether the server continues it as the last message of a request.

        Some continue a text, but not an answer that has nothing but a thought.
        """
        facts = product_named(target.product)
        return facts.can_prefill if self.message.text else facts.can_prefill_thought

    def thought_break(self, *, is_prefilled: bool) -> str:
        """Return line ends after which a new thought is a paragraph below that of the old answer.

        They are empty if the old answer has no thought, or if the model continues it.
        """
        thought = self.message.reasoning
        continues_thought = is_prefilled and not self.message.text
        return "" if continues_thought or not thought else "\n" * (2 - thought[-2:].count("\n"))


def require_prefill(target: Target, beginning: Beginning | None = None) -> None:
    """Raise `RequestInvalid` if the server of a target cannot continue words of the user.

    Without a beginning, the words are a text.
    """
    subject = product_named(target.product).subject
    can_continue = product_named(target.product).can_prefill
    if beginning is not None:
        can_continue = beginning.can_prefill(target)
    if not can_continue:
        raise RequestInvalid(
            f"{subject} cannot continue a text that you have written.",
            hint="Use a model of llama.cpp, Jan or the built-in engine.",
            kind="unsupported",
        )


def last_words(text: str) -> str:
    """Return the last words of an answer, at most 60 characters, without white space at the end.

    They begin with a whole word, unless that would leave at most 30 characters, as in Chinese.
    """
    whole = text.rstrip()
    end = whole[-ANCHOR_CHARS:]
    if len(whole) <= ANCHOR_CHARS:
        return end
    _cut_word, _, whole_words = end.partition(" ")
    whole_words = whole_words.lstrip()
    return whole_words if len(whole_words) > ANCHOR_CHARS // 2 else end


# Choices of the model in an answer


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

    def begun_with(self, index: int, token: str) -> Beginning:
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
        return Beginning(
            message=_answer_with(self.answer, begun, tokens, is_thought=chosen.is_thought),
            choices=(*earlier, taken),
            is_exact=True,
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


# The end of a thought


class _ThoughtState(Enum):
    """How far the end of the thought has come."""

    NOT_WANTED = auto()
    WANTED = auto()  # the server is asked for it with the next piece of the thought
    REFUSED = auto()  # the server cannot end it: the stream is closed with the next piece
    DONE = auto()  # the server has agreed, or the stream is to be closed; nothing more is tried


class ThoughtEnd:
    """Early end of the thought of one answer; the server is asked to end it at most once."""

    def __init__(self, server: ModelServer, prefix: ChatMessage | None) -> None:
        """Create the end of a thought, which is not wanted yet.

        `prefix` is the beginning of the answer that the model continues; None without one.
        """
        self._server = server
        self._state = _ThoughtState.NOT_WANTED
        self._pieces: list[str] = [prefix.reasoning] if prefix is not None else []
        # in a request, the thought of an answer comes before its text, so no thought can follow one
        self._can_continue = prefix is None or not prefix.text

    @property
    def is_wanted(self) -> bool:
        """Whether `want` was called."""
        return self._state is not _ThoughtState.NOT_WANTED

    def want(self) -> None:
        """End the thought that streams, or else the first one that comes."""
        if self._state is _ThoughtState.NOT_WANTED:
            self._state = _ThoughtState.WANTED

    async def must_leave(self, event: ReasoningDelta, request_id: str) -> bool:
        """Note a piece; return whether to close its stream, and to continue behind `message`.

        After `want`, the next piece of the thought shows that the model thinks: the server is asked
        to end the thought. If it refuses, return True for the piece after that one, unless the
        answer continues a text. If no such piece comes, the thought has ended without help.
        """
        self._pieces.append(event.text)
        if self._state is _ThoughtState.REFUSED:
            self._state = _ThoughtState.DONE
            return self._can_continue
        if self._state is _ThoughtState.WANTED:
            has_ended = await self._server.end_thought(request_id)
            self._state = _ThoughtState.DONE if has_ended else _ThoughtState.REFUSED
        return False

    @property
    def message(self) -> ChatMessage:
        """The answer so far: nothing but its thought."""
        thought = ReasoningPart(text="".join(self._pieces))
        return ChatMessage(
            message_id=new_id(), role=Role.ASSISTANT, parts=(thought,), created_at=now()
        )
