"""One answer while its events arrive: text, figures, and probabilities of its tokens."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from time import monotonic

from msgspec.structs import replace

from lmchat.answers.answer_figures import AnswerFigures
from lmchat.answers.growing_answer import GrowingAnswer
from lmchat.servers.events import Rethought, StreamEvent, TokensChosen
from lmchat.sessions.journal_entries import JournalEntry
from lmchat.sessions.message import AnswerState, ChatMessage
from lmchat.sessions.tokens import TokenProbabilities, count_probabilities

_MAX_PROBABILITIES = 300_000
"""Probabilities that are kept of one answer, some 50 MB: with 5 a token, of 50,000 tokens."""


class TokenLog:
    """The tokens of an answer, behind those of the beginning that it continues."""

    def __init__(self, begun: Sequence[TokenProbabilities]) -> None:
        self.tokens = list(begun)
        self._begun_count = len(begun)  # a `Rethought` changes only the tokens behind them
        self._probability_count = count_probabilities(begun)  # of all reported tokens

    def add(self, event: StreamEvent) -> None:
        if isinstance(event, TokensChosen):
            self._probability_count += count_probabilities(event.choices)
            if self._probability_count <= _MAX_PROBABILITIES:  # else they take too much memory
                self.tokens += event.choices
        elif isinstance(event, Rethought):
            for index in range(self._begun_count, len(self.tokens)):
                self.tokens[index] = replace(self.tokens[index], is_thought=True)


class StreamedAnswer:
    """An answer as far as it has come. It knows no request."""

    def __init__(
        self,
        model: str,
        *,
        begun: ChatMessage | None = None,
        begun_tokens: Sequence[TokenProbabilities] = (),
        clock: Callable[[], float] = monotonic,
        steps: int = 0,
        is_summary: bool = False,
    ) -> None:
        """`begun` is the answer that it continues, with its tokens as far as they are known."""
        self.figures = AnswerFigures(
            model=model, started_s=clock(), steps=steps, is_summary=is_summary
        )
        self.growing = GrowingAnswer(begun)
        self._token_log = TokenLog(begun_tokens)
        self._clock = clock

    @property
    def tokens(self) -> Sequence[TokenProbabilities]:
        """Its tokens, if the server reports them, behind those of what it continues."""
        return self._token_log.tokens

    def add(self, event: StreamEvent) -> tuple[JournalEntry, ...]:
        """Add an event; return its text as entries for the journal (`GrowingAnswer.add`)."""
        self.figures.apply(event, self._clock())
        self._token_log.add(event)
        return self.growing.add(event)

    def so_far(self, message: ChatMessage) -> ChatMessage:
        """Return its message with the text that has come."""
        # the server may have named another model than was asked for
        return replace(message, parts=self.growing.parts, model=self.figures.model)

    def end(self, state: AnswerState) -> None:
        self.figures.end(state, self._clock())

    async def read(
        self,
        stream: AsyncGenerator[StreamEvent, None],
        show: Callable[[StreamEvent], None] = lambda _: None,
    ) -> None:
        """Read a stream to its end and close it; call `show` with each event.

        After an error or a cancellation, which is raised, the text so far is there, and the state
        is `FAILED`. `STOPPED` is for turns that a user stops.
        """
        state = AnswerState.FAILED
        try:
            async with aclosing(stream) as events:
                async for event in events:
                    self.add(event)
                    show(event)
            state = AnswerState.COMPLETE
        finally:
            self.end(state)
