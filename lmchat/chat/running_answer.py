"""One answer of a turn: its message, text, figures and request."""

from __future__ import annotations

import logging
from collections.abc import Callable

from msgspec.structs import replace

from lmchat.answers.streamed_answer import StreamedAnswer
from lmchat.chat.answer_request import AnswerRequest
from lmchat.servers.events import StreamEvent
from lmchat.servers.target import Target
from lmchat.sessions.journal_entries import JournalEntry
from lmchat.sessions.message import (
    AnswerState,
    ChatMessage,
    Failure,
    Part,
    Role,
    new_id,
    now,
)
from lmchat.sessions.session import MessagePath

_logger = logging.getLogger(__name__)

NOT_THINKING = "The model is not thinking now."


class RunningAnswer:
    """An answer from its beginning until it is final, with the text that it continues, if any.

    `TurnRunner` makes one for each answer and is the only one that changes it; a front end may only
    call `answer_now`. `OpenSession.answer` is the one that began last.
    """

    def __init__(
        self,
        request: AnswerRequest,
        version: int,
        *,
        is_summary: bool,
        clock: Callable[[], float],
    ) -> None:
        """Begin an answer; `version` is its number among the versions of this answer, from 1."""
        self.request = request
        self.message = _first_message(request, version)
        """The message as it began, in the state `streaming`, until `end` makes it final."""
        beginning = request.beginning
        self._streamed = StreamedAnswer(
            self.message.model,
            begun=beginning.message if beginning is not None else None,
            begun_tokens=beginning.choices if beginning is not None else (),
            clock=clock,
            steps=request.rounds.steps if request.rounds else 0,
            is_summary=is_summary,
        )
        self.figures = self._streamed.figures
        self.growing = self._streamed.growing  # the text so far, after what the answer continues
        self.tokens = self._streamed.tokens

    @property
    def message_so_far(self) -> ChatMessage:
        """The message with the text so far, which `message` gets only at the end."""
        if self.message.state is not AnswerState.STREAMING:  # it is final
            return self.message
        # the server may have named another model than was asked for
        return replace(self.message, parts=self.growing.parts, model=self.figures.model)

    def add(self, event: StreamEvent) -> tuple[JournalEntry, ...]:
        """Add an event to figures and text; return the entries for the file of the answer."""
        return self._streamed.add(event)

    @property
    def can_answer_now(self) -> bool:
        """Whether `answer_now` could end a thought, if the model thinks."""
        return self.figures.is_running and self.request.can_answer_now

    def answer_now(self) -> str:
        """End the thought that the model is writing, or its next one, so that it answers at once.

        Return why that is not possible, or an empty text.
        """
        return self.request.answer_now() if self.figures.may_be_thinking else NOT_THINKING

    def end(self, state: AnswerState, failure: Failure | None) -> str:
        """Make `message` final, with its whole text, its state and its figures.

        Return a note for the user if the server has cut the prompt, else "".
        """
        self._streamed.end(state)
        self.message = replace(self.message_so_far, state=state, failure=failure)
        try:
            # before the estimates are corrected by this very count
            is_cut = self.request.is_prompt_cut(self.figures.usage.prompt_tokens)
            self._add_figures(is_prompt_cut=is_cut)
            return self.request.learn_from_count(self.figures, is_cut=is_cut)
        except Exception:  # the text of the answer must be saved in any case
            _logger.exception("the figures of an answer could not be made")
            return ""

    def _add_figures(self, *, is_prompt_cut: bool) -> None:
        request = self.request
        stats = request.stats(self.figures)
        stats = replace(stats, is_prompt_cut=stats.is_prompt_cut or is_prompt_cut)
        if self.message.state is AnswerState.COMPLETE and not self.message.tool_calls:
            stats = replace(stats, call_as_text=request.call_in(self.message.text))
        self.message = replace(self.message, stats=stats)


def _first_message(request: AnswerRequest, version: int) -> ChatMessage:
    parts = request.beginning.message.parts if request.beginning is not None else ()
    target = request.settings.target
    return streaming_message(Role.ASSISTANT, parts, request.path, target, version)


def streaming_message(
    role: Role, parts: tuple[Part, ...], path: MessagePath, target: Target, version: int
) -> ChatMessage:
    """Return a new message below the last one of a path; its content is still to come.

    `parts` is the content that it begins with. `version` is its number among its versions, from 1;
    as it is the newest, there are as many versions.
    """
    return ChatMessage(
        message_id=new_id(),
        role=role,
        parts=parts,
        created_at=now(),
        parent_id=path[-1].message_id if path else None,
        state=AnswerState.STREAMING,
        model=target.model_id,
        endpoint=target.endpoint.url,
        version=version,
        versions=version,
    )
