"""Asks for one answer: which messages are sent, and what changes after a refusal.

A *refusal* is a `ServerRejected` before the answer has started. `turn_starts.py` explains prefill.
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing, suppress
from functools import partial

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
from lmchat.chat.settings import TurnSettings
from lmchat.chat.tool_rounds import ToolRounds
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
from lmchat.storage.stats_store import StatsStore
from lmchat.storage.store import Store
from lmchat.token_estimate import estimate_tokens

_ANSWER_EVENTS = {TextDelta, RefusalDelta, ToolCallDelta}
_CONTENT_EVENTS = {*_ANSWER_EVENTS, ReasoningDelta}
"""Once the user has seen one, the request is not sent again."""
_PREFILL_REFUSED = ("bad_request", "template", "server_error", "unsupported")
"""Kinds of errors with which servers refuse a prefill, as for models that think."""
_TOO_LONG = ("context_overflow", "answer_limit")
"""Kinds of errors that a shorter prompt avoids."""
_MOST_TEXTS = 20  # for `needs_blank`
_MAX_IMAGE_BYTES = 20_000_000
"""Sum of sizes from which older images are only named."""


class TurnServices(Struct, frozen=True, kw_only=True):
    """What all turns use."""

    backend: AnswerSource
    store: Store
    stats_store: StatsStore
    estimator: TokenEstimator
    clock: Callable[[], float]  # monotonic seconds


def check_start(start: TurnStart, settings: TurnSettings, estimator: TokenEstimator) -> None:
    """Raise `FileRefused` for an image that the model cannot see, and `RequestInvalid`.

    The server may not be able to continue words of the user; else as `select`.
    """
    target, prefill = settings.target, start.prefill
    if target.is_blind and has_images(start.prompts):
        problem = f"{safe_line(target.model_id, limit=80)} cannot see images."
        next_step = "Choose a model with vision, or remove the image."
        raise FileRefused(problem, next_step=next_step, kind="no_vision")
    if prefill is not None and prefill.is_exact:
        require_prefill(target, prefill)
    if not settings.is_truncating:
        select(start.sent_path, settings, estimator, prefill=prefill)


def select(
    path: MessagePath,
    settings: TurnSettings,
    estimator: TokenEstimator,
    *,
    prefill: Prefill | None,
    is_quoted: bool = False,
    tools: Sequence[Tool] = (),
    limit: int | None = None,
    factor: float | None = None,
) -> ContextSelection:
    """With `is_quoted`, a prompt quotes the prefill. `limit` and `factor` come from a refusal.

    Raises `RequestInvalid` if the messages do not fit and none may be left out.
    """
    target = settings.target
    sent_thoughts = sent_thoughts_to(target)
    is_continued = prefill is not None and not is_quoted and prefill.can_prefill(target)
    if prefill is not None:
        path = path.added(prefill.message)
        # no thought follows the prompt that asks to continue
        if not is_continued and sent_thoughts is SentThoughts.SINCE_PROMPT:
            sent_thoughts = SentThoughts.NONE
    selection = select_context(
        path,
        limit=limit or estimator.window(target),
        max_tokens=settings.sampling.max_tokens,
        factor=factor or estimator.factor(target),
        tool_tokens=_tool_tokens(tools),
        sent_thoughts=sent_thoughts,
        is_continued=is_continued,
        may_leave_out=settings.is_truncating,
    )
    if not selection.fits and not settings.is_truncating:
        raise RequestInvalid(
            f"The session needs about {selection.tokens} tokens, plus {selection.reserve} "
            f"for the answer; the context window has {selection.limit}.",
            next_step="Start a new session, set auto_truncate = true, or use a larger context "
            "window.",
            kind="context_overflow",
        )
    # a thought alone cannot be quoted: the model answers the prompt again
    if prefill is None or is_continued or not prefill.message.text:
        return selection
    text = f"{CONTINUE}\n\n{prefill.message.text.rstrip()[-QUOTED_END_CHARS:]}"
    return replace(selection, messages=(*selection.messages, text_message(Role.USER, text)))


def _tool_tokens(tools: Sequence[Tool]) -> int:
    """Return an estimate."""
    return sum(
        estimate_tokens(json.dumps(tool_in_request(tool), ensure_ascii=False)) for tool in tools
    )


async def request_of(
    selection: ContextSelection,
    settings: TurnSettings,
    store: Store,
    *,
    tools: Sequence[Tool] = (),
    must_call: bool = False,
    message_id: str = "",
) -> ChatRequest:
    """Draw a random seed, which lets the user repeat the answer, where the server takes one."""
    target, sampling = settings.target, settings.sampling
    seed = product_named(target.product).drawn_seed(sampling.options)
    return ChatRequest(
        target=target,
        messages=selection.messages,
        sampling=sampling if seed is None else replace(sampling, seed=seed),
        has_drawn_seed=seed is not None,
        output=settings.output,
        tools=tuple(tools),
        files=await _files_of(selection.messages, target, store),
        must_call=must_call,
        message_id=message_id,
    )


async def _files_of(
    messages: Sequence[ChatMessage], target: Target, store: Store
) -> dict[str, bytes]:
    """Return contents by digest; b"" for images that are not sent. Missing files have no entry.

    A picture of a tool, which no user has chosen, is sent to a model that is known to see.
    """
    files: dict[str, bytes] = {}
    image_room = 0 if target.is_blind else _MAX_IMAGE_BYTES
    parts = ((part, message.role) for message in reversed(messages) for part in message.files)
    for part, role in parts:
        if files.get(part.digest):
            continue
        if part.is_image:
            if image_room <= 0 or (role is Role.TOOL and not target.sees):
                files[part.digest] = b""
                continue
            image_room -= part.size
        with suppress(LMChatError):  # the model gets a note that it is missing
            data = await store.files.read(part.digest)
            if part.is_image:
                data = await run_abandonable(partial(as_sent, data))
            files[part.digest] = data
    return files


class Asking(Struct):
    """One answer, for which a server is asked until no change of the request helps."""

    services: TurnServices
    settings: TurnSettings
    path: MessagePath
    message_id: str
    prefill: Prefill | None
    rounds: ToolRounds | None  # None: the model gets no tools
    note_left_out: Callable[[int], list[str]]
    # of the last attempt
    selection: ContextSelection | None = None
    request: ChatRequest | None = None

    async def events(self) -> AsyncGenerator[StreamEvent, None]:
        """Select the messages, send them, and yield the events of the answer.

        Notes about left out messages come first. Raises as `select` and `ToolRounds.offered` do,
        and `ServerRejected` if no change of the request helps.
        """
        settings, prefill, rounds = self.settings, self.prefill, self.rounds
        target, estimator = settings.target, self.services.estimator
        has_noted_length = False
        factor: float | None = None  # with which the prompt was shortened
        limit: int | None = None  # tokens that a server read of a prompt that it has cut
        tools = await rounds.offered(target) if rounds is not None else ()
        choose = partial(select, self.path, settings, estimator, prefill=prefill, tools=tools)
        selection = choose()
        while True:
            for note in self.note_left_out(selection.left_out):
                yield RequestAdapted(note=note)
            if selection.is_too_long and not has_noted_length:
                has_noted_length = True
                note = cut_note(target, tokens=selection.tokens, window=selection.limit)
                yield RequestAdapted(note=note)
            request = await request_of(
                selection,
                settings,
                self.services.store,
                tools=tools,
                must_call=rounds is not None and rounds.must_call,
                message_id=self.message_id,
            )
            self.selection, self.request = selection, request
            seen: set[type[StreamEvent]] = set()
            counted: int | None = None  # tokens of the prompt, by the server
            stream = self.services.backend.stream(request)
            if prefill is not None and not selection.is_continued:
                stream = _with_blank(stream, prefill, selection)
            try:
                async with aclosing(stream) as events:
                    async for event in events:
                        seen.add(type(event))
                        if isinstance(event, UsageReported):
                            counted = event.prompt_tokens or counted
                        yield event
                if seen & _ANSWER_EVENTS or counted is None or not is_prompt_cut(request, counted):
                    return
                tokens, window = selection.tokens, estimator.window(target)
                # Ollama keeps half of the window
                limit = window if window and window < tokens else counted
                next_step = larger_window_step(target, tokens)
                raise cut_prompt_error(request, tokens=tokens, counted=counted, next_step=next_step)
            except ServerRejected as error:
                if seen & _CONTENT_EVENTS:
                    raise
                is_exact = prefill is not None and prefill.is_exact  # continued, or not sent at all
                if selection.is_continued and not is_exact and error.kind in _PREFILL_REFUSED:
                    selection = choose(is_quoted=True)
                    continue
                factor = _learned_factor(
                    error, selection, target, estimator, is_again=factor is not None
                )
                if factor is None or not settings.is_truncating:
                    raise
                limit = error.room_tokens or limit
                shorter = choose(is_quoted=not selection.is_continued, limit=limit, factor=factor)
                if shorter.left_out <= selection.left_out:
                    raise
                selection = shorter


async def _with_blank(
    stream: AsyncGenerator[StreamEvent, None], prefill: Prefill, selection: ContextSelection
) -> AsyncGenerator[StreamEvent, None]:
    """A model that continues the prefill writes the blank itself. The last message quotes it."""
    prefill_text = prefill.message.text
    texts = [prefill_text, *(one.text for one in selection.messages[-_MOST_TEXTS - 1 : -1])]
    has_text = False
    async with aclosing(stream) as events:
        async for event in events:
            if isinstance(event, TextDelta) and not has_text:
                has_text = True
                is_missing = needs_blank(prefill_text, event.text, texts)
                yield replace(event, text=f" {event.text}") if is_missing else event
            else:
                has_text = has_text and not isinstance(event, Rethought)
                yield event


def _learned_factor(
    error: ServerRejected,
    selection: ContextSelection,
    target: Target,
    estimator: TokenEstimator,
    *,
    is_again: bool,
) -> float | None:
    """Learn from a refusal, also for later plans and the stats; None if no shorter prompt helps.

    More messages are left out at most once.
    """
    if error.kind not in _TOO_LONG:
        return None
    if error.room_tokens:
        estimator.learn_window(target, error.room_tokens)
    is_about_prompt = error.kind != "answer_limit" or error.needed_tokens
    # the server's count, or else the window that the prompt exceeds
    least_tokens = error.needed_tokens or error.room_tokens or selection.limit
    if is_again or not is_about_prompt or not least_tokens:
        return None
    return estimator.learn_refusal(target, selection, least_tokens)


def ended_stats(
    live: LiveStats, asking: Asking, error: LMChatError | None
) -> tuple[AnswerStats, str]:
    """Return stats, with those of the continued answer, and a note about a cut prompt or ""."""
    request, selection = asking.request, asking.selection
    target, estimator = asking.settings.target, asking.services.estimator
    counted = live.usage.prompt_tokens
    if counted is None and isinstance(error, ServerRejected) and error.needed_tokens:
        live.usage = UsageReported(prompt_tokens=error.needed_tokens, completion_tokens=0)
    live.context = estimator.window(target)
    if not product_named(target.product).chat.names_build:
        live.build = ""  # it is something else in `system_fingerprint`
    if selection is not None:
        live.estimated_prompt_tokens = selection.tokens
    stats = live.saved().after(_earlier_stats(asking.prefill, estimator.factor(target)))
    if request is None or selection is None or counted is None:
        return stats, ""
    if not is_prompt_cut(request, counted):
        estimator.learn(target, selection, counted - _tool_tokens(request.tools))
        return stats, ""
    has_note = selection.is_too_long
    note = "" if has_note else cut_note(target, tokens=selection.tokens, read_tokens=counted)
    return replace(stats, is_prompt_cut=True), note


def _earlier_stats(prefill: Prefill | None, factor: float) -> AnswerStats | None:
    """Return the stats of the continued answer; of one that a crash ended, an estimate."""
    if prefill is None:
        return None
    message = prefill.message
    if message.stats is not None or message.state is not AnswerState.INTERRUPTED:
        return message.stats
    tokens = estimate_tokens(message.reasoning + message.text, factor=factor)
    return AnswerStats(completion_tokens=tokens or None, is_estimated=True)
