"""The request for one answer: which messages are sent, and what changes after a refusal.

A *refusal* is a `ServerRejected` before the answer has begun. `turn_starts.py` explains prefill.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, suppress
from functools import partial
from itertools import chain

from msgspec import Struct
from msgspec.structs import replace

from lmchat.answers.cut_prompts import cut_prompt_error, is_prompt_cut
from lmchat.answers.live_stats import LiveStats
from lmchat.chat.context import (
    ContextSelection,
    TokenEstimator,
    cut_note,
    has_images,
    larger_window_step,
    select_context,
)
from lmchat.chat.save_queue import SaveQueue
from lmchat.chat.settings import TurnSettings
from lmchat.chat.tool_rounds import ToolRounds, call_in_text
from lmchat.chat.turn_starts import (
    CONTINUE,
    QUOTED_END_CHARS,
    Prefill,
    TurnStart,
    needs_blank,
    require_prefill,
)
from lmchat.errors import FileRefused, LMChatError, RequestInvalid, ServerRejected
from lmchat.files.images import as_sent
from lmchat.processes.background import run_abandonable
from lmchat.safe_text import safe_line
from lmchat.servers.events import (
    ReasoningDelta,
    RefusalDelta,
    RequestAdapted,
    Rethought,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
    UsageReported,
)
from lmchat.servers.products import product_named, sent_thoughts_to
from lmchat.servers.protocols import AnswerSource
from lmchat.servers.request import (
    ChatRequest,
    Tool,
    tool_in_request,
)
from lmchat.servers.target import Target
from lmchat.sessions.message import (
    AnswerState,
    AnswerStats,
    ChatMessage,
    Role,
    SentThoughts,
    text_message,
)
from lmchat.sessions.session import MessagePath
from lmchat.token_estimate import estimate_tokens

_ANSWER_EVENTS = (TextDelta, RefusalDelta, ToolCallDelta)
_CONTENT_EVENTS = (*_ANSWER_EVENTS, ReasoningDelta)
_PREFILL_REFUSED = ("bad_request", "template", "server_error", "unsupported")
"""Kinds of errors with which servers refuse a prefill, as for models that think."""
_TOO_LONG = ("context_overflow", "answer_limit")
"""Kinds of errors that a shorter prompt avoids."""
_MOST_TEXTS = 20  # for `needs_blank`
_MAX_IMAGE_BYTES = 20_000_000
"""Sum of sizes from which older images are only named."""


def refuse_unseen_images(target: Target, prompts: Sequence[ChatMessage]) -> None:
    """Raise `FileRefused` if a prompt has an image and the model cannot see."""
    if target.is_blind and has_images(prompts):
        problem = f"{safe_line(target.model_id, limit=80)} cannot see images."
        hint = "Choose a model with vision, or remove the image."
        raise FileRefused(problem, hint=hint, kind="no_vision")


class TurnServices(Struct, frozen=True, kw_only=True):
    """What all turns use."""

    backend: AnswerSource
    save_queue: SaveQueue
    estimator: TokenEstimator
    clock: Callable[[], float]  # monotonic seconds


class _Arrived:
    """What has arrived of one answer."""

    def __init__(self) -> None:
        self.prompt_tokens: int | None = None  # as the server counted them
        self.has_text = False
        self.has_answer = False  # more than a thought
        self.has_content = False  # the user has seen it: the request is not sent again

    def add(self, event: StreamEvent) -> None:
        match event:
            case UsageReported():
                self.prompt_tokens = event.prompt_tokens or self.prompt_tokens
            case TextDelta():
                self.has_text = True
            case Rethought():
                self.has_text = False
            case _:
                pass
        self.has_answer |= isinstance(event, _ANSWER_EVENTS)
        self.has_content |= isinstance(event, _CONTENT_EVENTS)


class AnswerRequest:
    """The request for one answer, and its events."""

    def __init__(
        self,
        settings: TurnSettings,
        path: MessagePath,
        services: TurnServices,
        *,
        rounds: ToolRounds | None = None,
        prefill: Prefill | None = None,
    ) -> None:
        """Without `rounds`, the model gets no tools.

        Raises `RequestInvalid` if the messages do not fit and none may be left out (after calls of
        tools, `events` raises it), or if the server cannot continue words of the user.
        """
        self.settings = settings
        self.target = target = settings.target
        self.path = path
        self.rounds = rounds
        self.prefill = prefill
        self._services = services
        self._estimator = services.estimator
        self._product = product = product_named(target.product)

        if prefill is not None and prefill.is_exact:
            require_prefill(target, prefill)
        self._is_prefilled = prefill is not None and prefill.can_prefill(target)
        self._tools: tuple[Tool, ...] = ()
        self._tool_tokens = 0  # estimate
        self.selection = self._select()  # reads the attributes above
        # after calls of tools, `events` raises it: else the error would not be saved with an answer
        if rounds is None or rounds.steps == 0:
            self._require_fit()

        self.sampling = settings.sampling
        """Has a random seed, which lets the user repeat the answer."""
        self._has_drawn_seed = False
        seed = product.drawn_seed(self.sampling.options)
        if seed is not None:
            self._has_drawn_seed = True
            self.sampling = replace(self.sampling, seed=seed)
        self._has_noted_length = False
        self._files: dict[str, bytes] = {}
        """Contents by digest; b"" for images that are not sent. Missing files have no entry."""
        self._was_shortened = False  # by a refusal
        self._refused_tokens: int | None = None  # the server's count of a prompt that failed
        self._most_tokens: int | None = None  # room, after a prompt was cut

    @classmethod
    def of_start(
        cls,
        start: TurnStart,
        settings: TurnSettings,
        services: TurnServices,
        rounds: ToolRounds | None,
    ) -> AnswerRequest:
        """Make the first one of a turn; raises also `FileRefused` for an image that is not seen."""
        refuse_unseen_images(settings.target, start.prompts)
        return cls(settings, start.sent_path, services, rounds=rounds, prefill=start.prefill)

    def for_path(self, path: MessagePath, prefill: Prefill | None = None) -> AnswerRequest:
        return AnswerRequest(
            self.settings,
            path,
            self._services,
            rounds=self.rounds,
            prefill=prefill,
        )

    async def events(
        self, message_id: str, note_left_out: Callable[[int], list[str]]
    ) -> AsyncGenerator[StreamEvent, None]:
        """Select the messages, send them, and yield the events of the answer with this id.

        Notes about left out messages come first. Raises `ServerRejected` if no change of the
        request helps.
        """
        await self._prepare()
        while True:
            for note in self._note_what_does_not_fit(note_left_out):
                yield RequestAdapted(note=note)
            request = self._make_request(message_id)
            arrived = _Arrived()
            try:
                async with aclosing(self._services.backend.stream(request)) as events:
                    async for event in events:
                        is_first_text = isinstance(event, TextDelta) and not arrived.has_text
                        arrived.add(event)
                        yield self._with_blank(event) if is_first_text else event
                self._require_useful_answer(request, arrived)
            except ServerRejected as error:
                if arrived.has_content or not self._adapt_request(error):
                    self._refused_tokens = error.needed_tokens
                    raise
            else:
                return

    async def first_request(self) -> ChatRequest:
        await self._prepare()
        return self._make_request()

    def call_in(self, text: str) -> str:
        """Return the full name of the tool that a text calls, or ""."""
        name = call_in_text(text) if self._tools else ""
        return self.rounds.full_name(name) if name and self.rounds is not None else ""

    def ended(self, live: LiveStats) -> tuple[AnswerStats, str]:
        """Return stats, with those of the continued answer, and a note about a cut prompt or ""."""
        live.estimated_prompt_tokens = self.selection.tokens
        counted, target = live.prompt_tokens, self.target
        if counted is None:
            if self._refused_tokens:
                live.usage = UsageReported(prompt_tokens=self._refused_tokens, completion_tokens=0)
            return self._saved(live), ""
        stats = self._saved(live)
        is_cut = is_prompt_cut(self._make_request(), counted)
        if not is_cut:
            self._estimator.learn(target, self.selection, counted - self._tool_tokens)
        note = ""
        if is_cut and not self._has_noted_length:
            note = cut_note(target, tokens=self.selection.tokens, read_tokens=counted)
        return replace(stats, is_prompt_cut=stats.is_prompt_cut or is_cut), note

    def _saved(self, live: LiveStats) -> AnswerStats:
        live.product = self.target.product
        # they show which of both limits cut the answer short
        live.context = self._estimator.window(self.target)
        live.max_tokens = self.settings.sampling.max_tokens
        if not self._product.chat.names_build:
            live.build = ""  # it is something else in `system_fingerprint`
        return live.saved().after(self._earlier_stats())

    def _earlier_stats(self) -> AnswerStats | None:
        """Return the stats of the continued answer; of one that a crash ended, an estimate."""
        if self.prefill is None:
            return None
        message = self.prefill.message
        if message.stats is not None or message.state is not AnswerState.INTERRUPTED:
            return message.stats
        factor = self._estimator.factor(self.target)
        tokens = estimate_tokens(message.reasoning + message.text, factor=factor)
        return AnswerStats(completion_tokens=tokens or None, is_estimated=True)

    def _with_blank(self, event: StreamEvent) -> StreamEvent:
        """A model that gets the prefill writes the blank itself."""
        if not isinstance(event, TextDelta) or self.prefill is None or self._is_prefilled:
            return event
        prefill_text = self.prefill.message.text
        texts = (message.text for message in self.selection.messages[-_MOST_TEXTS:])
        is_missing = needs_blank(prefill_text, event.text, (prefill_text, *texts))
        return replace(event, text=f" {event.text}") if is_missing else event

    def _require_useful_answer(self, request: ChatRequest, arrived: _Arrived) -> None:
        """Raises `ServerRejected` if the server has cut the prompt and the answer is empty."""
        prompt_tokens = arrived.prompt_tokens
        if arrived.has_answer or prompt_tokens is None:
            return
        if not is_prompt_cut(request, prompt_tokens):
            return
        tokens, window = self.selection.tokens, self._estimator.window(self.target)
        # Ollama keeps half of the window
        self._most_tokens = window if window and window < tokens else prompt_tokens
        hint = larger_window_step(self.target, tokens)
        raise cut_prompt_error(request, tokens=tokens, counted=prompt_tokens, hint=hint)

    def _adapt_request(self, error: ServerRejected) -> bool:
        """Return whether to send a changed request; more messages are left out at most once."""
        prefill = self.prefill
        if prefill is not None and self._is_prefilled and error.kind in _PREFILL_REFUSED:
            if prefill.is_exact:  # it is continued or not sent at all
                return False
            self._is_prefilled = False
            self.selection = self._select()
            self._require_fit()
            return True
        if error.kind not in _TOO_LONG:
            return False
        if error.room_tokens:
            self._estimator.learn_window(self.target, error.room_tokens)
        if self._was_shortened:
            return False
        if error.kind == "answer_limit" and not error.needed_tokens:
            return False  # nothing about the prompt
        # the server's count, or else the window that the prompt exceeds
        least_tokens = error.needed_tokens or error.room_tokens or self.selection.limit
        if not least_tokens:
            return False
        refused_selection = self.selection
        # also for later plans and the stats
        factor = self._estimator.learn_refusal(self.target, refused_selection, least_tokens)
        if self.settings.is_truncating:
            self.selection = self._select(error.room_tokens or self._most_tokens, factor=factor)
        self._was_shortened = self.selection.left_out > refused_selection.left_out
        return self._was_shortened

    # What is sent

    async def _prepare(self) -> None:
        """Raises `RequestInvalid` as `__init__` does, and the error of `ToolRounds.offered`."""
        if self.rounds is not None:
            self._tools = await self.rounds.offered(self.target)
            self._tool_tokens = sum(
                estimate_tokens(json.dumps(tool_in_request(tool), ensure_ascii=False))
                for tool in self._tools
            )
            self.selection = self._select()
            self._require_fit()
        image_room = 0 if self.target.is_blind else _MAX_IMAGE_BYTES
        newest_first = reversed(self.selection.messages)
        for part in chain.from_iterable(message.files for message in newest_first):
            if part.digest in self._files:
                continue
            if part.is_image:
                if image_room <= 0:
                    self._files[part.digest] = b""
                    continue
                image_room -= part.size
            with suppress(LMChatError):  # the model gets a note that it is missing
                data = await self._services.save_queue.store.read_file(part.digest)
                if part.is_image:
                    data = await run_abandonable(partial(as_sent, data))
                self._files[part.digest] = data

    def _select(self, limit: int | None = None, *, factor: float | None = None) -> ContextSelection:
        """`limit` and `factor` come from a refusal."""
        target, path = self.target, self.path
        sent_thoughts = sent_thoughts_to(target)
        if self.prefill is not None:
            path = path.added(self.prefill.message)
            # no thought follows the prompt that asks to continue
            if not self._is_prefilled and sent_thoughts is SentThoughts.SINCE_PROMPT:
                sent_thoughts = SentThoughts.NONE
        return select_context(
            path,
            limit=limit or self._estimator.window(target),
            max_tokens=self.settings.sampling.max_tokens,
            factor=factor or self._estimator.factor(target),
            tool_tokens=self._tool_tokens,
            sent_thoughts=sent_thoughts,
            is_continued=self._is_prefilled,
        )

    def _require_fit(self) -> None:
        selection = self.selection
        if selection.fits or self.settings.is_truncating:
            return
        raise RequestInvalid(
            f"The session needs about {selection.needed_tokens} tokens, plus {selection.reserve} "
            f"for the answer; the context window has {selection.limit}.",
            hint="Start a new session, set auto_truncate = true, or use a larger context window.",
            kind="context_overflow",
        )

    def _note_what_does_not_fit(self, note_left_out: Callable[[int], list[str]]) -> list[str]:
        selection = self.selection
        notes = note_left_out(selection.left_out)
        if (
            selection.limit is not None
            and selection.tokens > selection.limit
            and not self._has_noted_length
        ):
            self._has_noted_length = True
            notes.append(cut_note(self.target, tokens=selection.tokens, window=selection.limit))
        return notes

    def _make_request(self, message_id: str = "") -> ChatRequest:
        messages = self.selection.messages
        prefill_text = self.prefill.message.text if self.prefill is not None else ""
        # a thought alone cannot be quoted: the model answers the prompt again
        if prefill_text and not self._is_prefilled:
            text = f"{CONTINUE}\n\n{prefill_text.rstrip()[-QUOTED_END_CHARS:]}"
            messages = (*messages, text_message(Role.USER, text))
        settings = self.settings
        return ChatRequest(
            target=self.target,
            messages=messages,
            sampling=self.sampling,
            has_drawn_seed=self._has_drawn_seed,
            output=settings.output,
            tools=self._tools,
            files=self._files,
            must_call=self.rounds is not None and self.rounds.must_call,
            message_id=message_id,
        )
