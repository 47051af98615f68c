"""Reading ahead: a server reads the shown session into its prompt cache while the user types.

When the prompt is sent, the server finds all earlier messages in its cache, and the answer begins
sooner (R-41). A server does not stop reading at once when a request is closed. So the session is
read in *steps*, longer and longer beginnings of it: a sent prompt waits for one of them at most.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import aclosing

from msgspec import Struct
from msgspec.structs import replace

from lmchat.chat.context import MessageSize, has_images
from lmchat.chat.open_session import OpenSession
from lmchat.chat.open_sessions import OpenSessions
from lmchat.chat.ports import ModelServer
from lmchat.errors import LMChatError
from lmchat.servers.products import product_named, sent_thoughts_of
from lmchat.servers.request import ChatRequest
from lmchat.sessions.attached_files import AttachedFile, file_count, split_files
from lmchat.sessions.message import ChatMessage, Role, SentThoughts, text_message

LEAST_TOKENS = 500  # fewer are read so fast that it is not worth a request
STEP_TOKENS = 512
_KEPT_PROMPTS = 8  # prompts known to be in the cache; llama.cpp keeps idle ones in memory
_log = logging.getLogger(__name__)


class Step(Struct, frozen=True, kw_only=True):
    """The beginning of a prompt that is read with one request."""

    messages: tuple[ChatMessage, ...]
    tokens: int  # estimate for what is new in it after the step before


class ReadAhead:
    """Lets the server of the next turn read the shown session while a prompt is typed."""

    def __init__(self, server: ModelServer, open_sessions: OpenSessions) -> None:
        self.fraction: float | None = None  # part that is read, 0 to 1; None while nothing is read
        self.on_change: Callable[[], None] = lambda: None  # called when reading begins and ends
        self._server = server
        self._open_sessions = open_sessions
        self._next_turn = open_sessions.next_turn
        self._task: asyncio.Task[None] | None = None
        self._followed: object = None  # what is read, or was read last; None after `cancel`
        self._failed_place: object = None  # `_place` of the last failure
        self._cached_model: object = None  # server and model to which `_cached_prompts` belongs
        self._cached_prompts: list[tuple[str, ...]] = []
        """Prompts in the cache of the server, each as the ids of its messages; newest last."""

    def follow(self, draft: str) -> None:
        """Begin to read ahead if the draft has just been begun, or if its files have changed.

        Begin also if the server, the model, the session or its last message is another one. To be
        called after each change of the draft. An empty draft ends the reading.
        """
        if not draft:
            self.cancel()
            return
        path = self._open_sessions.shown.messages
        last_id = path[-1].message_id if path else ""
        # words behind the last file of a draft are not read, so that typing them changes nothing
        followed = (*self._place, last_id, file_count(draft))
        if followed == self._followed:
            return
        self.cancel()
        if self._may_read:  # else the next change of the draft tries again
            self._followed = followed
            self._task = asyncio.create_task(self._read(draft), name="read ahead")

    def cancel(self) -> None:
        """End the reading at once; what the server has read stays in its cache."""
        self._followed = None
        self.fraction = None
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def note_turn(self, opened: OpenSession) -> None:
        """Note that the prompt of the last answer of a session is in the cache of its server.

        The answer is, too, unless it begins with a thought that later requests do not repeat. If
        another server answers next, nothing is noted, since only its cache is of use then.
        """
        plan = opened.sent
        answer = opened.newest_answer
        target = self._next_turn.target
        if plan is None or answer is None or target is None or not answer.parts:
            return
        if answer.endpoint == target.endpoint.url:
            self._note_cached(
                _repeated([*plan.messages, answer], sent_thoughts_of(target.product, target.model))
            )

    @property
    def _place(self) -> tuple[object, object, str]:
        """Address of the server, name of the model and id of the session that would be read."""
        target = self._next_turn.target
        endpoint = target.endpoint if target else None
        model_id = target.model_id if target else None
        return endpoint, model_id, self._open_sessions.shown.session_id

    @property
    def _may_read(self) -> bool:
        """Whether the settings, the server and the sessions allow to read ahead now.

        While any session has a turn, nothing is read: its request may be to the same server.
        """
        options = self._next_turn.options
        target = options.target
        if target is None or not options.is_ready or not target.model_id:
            return False
        if not product_named(target.product).can_read_ahead or self._failed_place == self._place:
            return False
        wanted = options.chat.read_ahead
        is_wanted = wanted == "always" or (wanted == "local" and target.endpoint.is_loopback)
        has_messages = self._open_sessions.shown.has_all_messages
        # only a prompt that is sent starts the servers of tools
        toolbox = self._next_turn.toolbox
        has_tools = toolbox is None or toolbox.has_started or not toolbox.can_use(target)
        return is_wanted and has_messages and has_tools and not self._open_sessions.busy

    async def _read(self, draft: str) -> None:
        """Read the shown session and the files of a draft, step by step.

        After an error, nothing is read until the server, the model or the session changes.
        """
        place = self._place
        try:
            await self._read_steps(draft)
        except LMChatError as error:
            _log.info("reading ahead: %s", error.kind)
            self._failed_place = place
            self._cached_prompts.clear()
        finally:
            # else `cancel` has ended this task, and `fraction` may be that of the next one
            if self._task is asyncio.current_task():
                self.fraction = None
            self.on_change()

    async def _read_steps(self, draft: str) -> None:
        """Send one request for each step, unless too little is new.

        Stop before a step if another session, server or model was chosen since, or may not be read.
        """
        place = self._place
        request, steps = await self._request_and_steps(draft)
        total_tokens = sum(step.tokens for step in steps)
        if total_tokens < LEAST_TOKENS:
            return

        read_tokens = 0
        for step in steps:
            if self._place != place or not self._may_read:
                return
            self._set_fraction(read_tokens / total_tokens)
            step_request = replace(request, messages=step.messages)
            async with aclosing(self._server.read_ahead(step_request)) as reports:
                async for progress in reports:
                    read_of_step = progress.fraction * step.tokens
                    self.fraction = (read_tokens + read_of_step) / total_tokens
            read_tokens += step.tokens
            self._note_cached(step.messages[:-1])  # the last one may be read in part only

    async def _request_and_steps(self, draft: str) -> tuple[ChatRequest, list[Step]]:
        """Return the next request of the shown session, and the steps in which to read it.

        Its last message has what is final of a draft: the files, and the words between them.
        """
        opened = self._open_sessions.shown
        typed, images = self._open_sessions.files.split(draft)
        words = _up_to_last_file(typed)
        settings = self._next_turn.settings(opened.own_sampling)
        stream = self._open_sessions.planned(opened, words, settings, images)
        request = await stream.prepared_request()
        messages = request.messages
        if not words and not images:  # an empty prompt is not in the plan
            messages = (*messages, text_message(Role.USER, ""))
        cached = self.cached_count(messages)
        factor = self._next_turn.meter.factor(settings.target)
        extra_tokens = 0 if cached else stream.tool_tokens  # the tools are before all messages
        steps = list(steps_of(messages, cached, factor, extra_tokens))
        if has_images(messages):  # they would be sent with each step, so there is only one
            tokens = sum(step.tokens for step in steps)
            steps = [Step(messages=messages, tokens=tokens)]
        return request, steps

    def _set_fraction(self, fraction: float) -> None:
        """Set the fraction that is read, and report the beginning of the reading."""
        is_begun = self.fraction is None
        self.fraction = fraction
        if is_begun:
            self.on_change()

    def _note_cached(self, messages: Sequence[ChatMessage]) -> None:
        """Note that messages are in the cache of the model of the next turn."""
        self._forget_other_model()
        self._cached_prompts.append(tuple(message.message_id for message in messages))
        del self._cached_prompts[:-_KEPT_PROMPTS]

    def cached_count(self, messages: Sequence[ChatMessage]) -> int:
        """Return how many messages at the beginning of a prompt are in the cache.

        They are those that it has in common with one of the known prompts.
        """
        self._forget_other_model()
        most = 0
        for prompt in self._cached_prompts:
            count = 0
            for message, cached_id in zip(messages, prompt, strict=False):
                if message.message_id != cached_id:
                    break
                count += 1
            most = max(most, count)
        return most

    def _forget_other_model(self) -> None:
        """Forget what is in the cache if another server or model answers next."""
        model = self._place[:2]
        if model != self._cached_model:
            self._cached_model = model
            self._cached_prompts.clear()


def _up_to_last_file(words: str) -> str:
    """Return the words of a draft up to the end of its last text file; empty without files.

    Words behind the files still change, and are not sent before Enter.
    """
    pieces = split_files(words)
    while pieces and not isinstance(pieces[-1], AttachedFile):
        pieces.pop()
    sources = [piece.source if isinstance(piece, AttachedFile) else piece for piece in pieces]
    return "".join(sources)


def _repeated(messages: Sequence[ChatMessage], sent_thoughts: SentThoughts) -> list[ChatMessage]:
    """Return the messages of an answered request up to the first that later requests change.

    That is the first answer of the turn with a thought: the server has it in its cache with this
    thought, and most chat templates leave it out later.
    """
    repeated = list(messages)
    if sent_thoughts is SentThoughts.ALL:
        return repeated
    for index in reversed(range(len(messages))):
        message = messages[index]
        if message.role is Role.USER:
            break
        if message.reasoning:
            repeated = repeated[:index]
    return repeated


def steps_of(
    messages: tuple[ChatMessage, ...], cached: int, factor: float, extra_tokens: int
) -> Iterator[Step]:
    """Yield the steps in which a prompt is read, each of about `STEP_TOKENS` new tokens.

    A step ends in a user message, of which it may have only the beginning: so each chat template
    writes the messages before it as it will write them for the whole prompt. Answers are not cut.

    Args:
        messages: The prompt; the last one is what is typed, perhaps without any text yet.
        cached: Number of messages at its beginning that need not be read.
        factor: Correction of the estimates for the model.
        extra_tokens: Tokens of the tools, which come before all messages.
    """
    pending_tokens = extra_tokens  # before this message, and not in a step yet
    for index in range(cached, len(messages)):
        message = messages[index]
        message_tokens = MessageSize.of(message).tokens(factor)
        done_tokens = 0  # of this message, which are in a step already
        if message.role is Role.USER:
            # each round makes one step, which ends with a part of this message, or with all of it
            while pending_tokens + message_tokens - done_tokens >= STEP_TOKENS:
                # 0 if the pending messages alone are more than a step: answers are not cut
                next_tokens = max(STEP_TOKENS - pending_tokens, 0)
                begun = _cut(message, (done_tokens + next_tokens) / message_tokens)
                yield Step(messages=(*messages[:index], begun), tokens=pending_tokens + next_tokens)
                done_tokens += next_tokens
                pending_tokens = 0
        pending_tokens += message_tokens - done_tokens
    if pending_tokens:
        yield Step(messages=messages, tokens=pending_tokens)


def _cut(message: ChatMessage, fraction: float) -> ChatMessage:
    """Return a user message with its files and this fraction of its text, from its beginning."""
    text = message.text[: int(len(message.text) * fraction)]
    text_parts = text_message(Role.USER, text).parts if text else ()
    return replace(message, parts=(*message.files, *text_parts))
