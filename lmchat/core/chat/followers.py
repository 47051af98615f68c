"""What follows the events of one answer, and may change how it goes on."""

from __future__ import annotations

from collections.abc import Callable

from msgspec import Struct
from msgspec.structs import replace

from lmchat.core.answers.repetition import Repetition, RepetitionWatch
from lmchat.core.answers.streamed_answer import StreamedAnswer
from lmchat.core.config.settings import Stuck
from lmchat.core.servers.events import ModelNamed, ReasoningDelta, RequestAdapted, StreamEvent
from lmchat.core.servers.products import product_named
from lmchat.core.servers.protocols import AnswerSource
from lmchat.core.servers.target import Target

NOT_THINKING = "The model is not thinking now."


class AnswerNow(Struct, eq=False):
    """Lets the server end a thought, once, when the user or a repetition asks for it."""

    _backend: AnswerSource
    _target: Target
    _answer: StreamedAnswer
    _report: Callable[[RequestAdapted], None]
    _answer_id: str = ""
    _is_asked: bool = False
    _must_ask: bool = False  # with the next piece of the thought

    @property
    def is_possible(self) -> bool:
        return not self._is_asked and not self._obstacle

    def end_thought(self) -> str:
        """End this thought, or the next; return why that is impossible, or ""."""
        if self.is_possible:
            self._is_asked = self._must_ask = True
        return self._obstacle

    @property
    def _obstacle(self) -> str:
        if not self._answer.stats.may_be_thinking:
            return NOT_THINKING
        # only llama.cpp and the engine can continue or end a thought
        can_end = product_named(self._target.product).chat.can_prefill_thought
        return "" if can_end else self._refusal

    @property
    def _refusal(self) -> str:
        subject = product_named(self._target.product).subject
        return f"{subject} cannot end a thought: wait, or stop it and choose a lower /effort."

    async def add(self, event: StreamEvent) -> None:
        if isinstance(event, ModelNamed):
            self._answer_id = event.answer_id
        elif self._must_ask and isinstance(event, ReasoningDelta):
            self._must_ask = False
            if not await self._backend.end_thought(self._target, self._answer_id):
                self._report(RequestAdapted(note=self._refusal))


class RepetitionFollower:
    """Tells that an answer repeats itself; with `stuck = "act"`, ends its thought or stops it."""

    def __init__(
        self,
        stuck: Stuck,
        answer: StreamedAnswer,
        answer_now: AnswerNow,
        *,
        stop: Callable[[], object],
        report: Callable[[Repetition], None],
    ) -> None:
        self._stuck = stuck
        self._answer = answer
        self._answer_now = answer_now
        self._stop = stop
        self._report = report
        self._watch = RepetitionWatch(stuck)

    async def add(self, event: StreamEvent) -> None:
        repetition = self._watch.add(event)
        if repetition is None:
            return
        if self._stuck == "act":
            self._answer.is_stuck = True
            ends_thought = repetition.is_thought and self._answer_now.is_possible
            if ends_thought:
                self._answer_now.end_thought()
            else:
                self._stop()
            repetition = replace(
                repetition, way_out=f"lmchat {'ends' if ends_thought else 'stops'} it."
            )
        self._report(repetition)

    def at_cut_end(self) -> Repetition | None:
        return self._watch.at_end()
