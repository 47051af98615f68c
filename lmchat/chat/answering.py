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

_ANSWER_EVENTS = (TextDelta, RefusalDelta, ToolCallDelta)
_CONTENT_EVENTS = (*_ANSWER_EVENTS, ReasoningDelta)
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


class Asked(Struct, frozen=True):
    """What a server is asked for, before each attempt."""

    selection: ContextSelection
    request: ChatRequest


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


async def answer_events(
    services: TurnServices,
    settings: TurnSettings,
    path: MessagePath,
    message_id: str,
    *,
    prefill: Prefill | None,
    rounds: ToolRounds | None,
    note_left_out: Callable[[int], list[str]],
) -> AsyncGenerator[StreamEvent | Asked, None]:
    """Select the messages, send them, and yield the events of the answer with this id.

    Without `rounds`, the model gets no tools. Notes about left out messages come first. Raises as
    `select` and `ToolRounds.offered` do, and `ServerRejected` if no change of the request helps.
    """
    target, estimator = settings.target, services.estimator
    has_noted_length = was_shortened = False
    cut_to: int | None = None  # tokens that a server read of a prompt that it has cut
    tools = await rounds.offered(target) if rounds is not None else ()
    choose = partial(select, path, settings, estimator, prefill=prefill, tools=tools)
    selection = choose()
    while True:
        for note in note_left_out(selection.left_out):
            yield RequestAdapted(note=note)
        if selection.is_too_long and not has_noted_length:
            has_noted_length = True
            note = cut_note(target, tokens=selection.tokens, window=selection.limit)
            yield RequestAdapted(note=note)
        request = await request_of(
            selection,
            settings,
            services.store,
            tools=tools,
            must_call=rounds is not None and rounds.must_call,
            message_id=message_id,
        )
        yield Asked(selection, request)
        has_text = False
        has_answer = False  # more than a thought
        has_content = False  # the user has seen it: the request is not sent again
        counted: int | None = None  # tokens of the prompt, by the server
        try:
            async with aclosing(services.backend.stream(request)) as events:
                async for event in events:
                    has_answer = has_answer or isinstance(event, _ANSWER_EVENTS)
                    has_content = has_content or isinstance(event, _CONTENT_EVENTS)
                    shown: StreamEvent = event
                    match event:
                        case UsageReported():
                            counted = event.prompt_tokens or counted
                        case TextDelta() if not has_text:
                            has_text = True
                            if prefill is not None and not selection.is_continued:
                                shown = _with_blank(event, prefill, selection)
                        case Rethought():
                            has_text = False
                        case _:
                            pass
                    yield shown
            if not has_answer and counted is not None and is_prompt_cut(request, counted):
                tokens, window = selection.tokens, estimator.window(target)
                # Ollama keeps half of the window
                cut_to = window if window and window < tokens else counted
                next_step = larger_window_step(target, tokens)
                raise cut_prompt_error(request, tokens=tokens, counted=counted, next_step=next_step)
        except ServerRejected as error:
            if has_content:
                raise
            if selection.is_continued and error.kind in _PREFILL_REFUSED:
                if prefill is not None and prefill.is_exact:  # it is continued or not sent at all
                    raise
                selection = choose(is_quoted=True)
                continue
            factor = _learned_factor(error, selection, target, estimator, is_again=was_shortened)
            if factor is None or not settings.is_truncating:
                raise
            limit = error.room_tokens or cut_to
            shorter = choose(is_quoted=not selection.is_continued, limit=limit, factor=factor)
            if shorter.left_out <= selection.left_out:
                raise
            selection, was_shortened = shorter, True
        else:
            return


def _with_blank(event: TextDelta, prefill: Prefill, selection: ContextSelection) -> TextDelta:
    """A model that continues the prefill writes the blank itself. The last message quotes it."""
    prefill_text = prefill.message.text
    texts = (message.text for message in selection.messages[-_MOST_TEXTS - 1 : -1])
    is_missing = needs_blank(prefill_text, event.text, (prefill_text, *texts))
    return replace(event, text=f" {event.text}") if is_missing else event


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
    live: LiveStats,
    asked: Asked | None,
    settings: TurnSettings,
    estimator: TokenEstimator,
    *,
    prefill: Prefill | None,
    error: LMChatError | None,
) -> tuple[AnswerStats, str]:
    """Return stats, with those of the continued answer, and a note about a cut prompt or ""."""
    target = settings.target
    counted = live.prompt_tokens
    if counted is None and isinstance(error, ServerRejected) and error.needed_tokens:
        live.usage = UsageReported(prompt_tokens=error.needed_tokens, completion_tokens=0)
    live.product = target.product
    # they show which of both limits cut the answer short
    live.context = estimator.window(target)
    live.max_tokens = settings.sampling.max_tokens
    if not product_named(target.product).chat.names_build:
        live.build = ""  # it is something else in `system_fingerprint`
    if asked is not None:
        live.estimated_prompt_tokens = asked.selection.tokens
    stats = live.saved().after(_earlier_stats(prefill, estimator.factor(target)))
    if asked is None or counted is None:
        return stats, ""
    if not is_prompt_cut(asked.request, counted):
        estimator.learn(target, asked.selection, counted - _tool_tokens(asked.request.tools))
        return stats, ""
    tokens = asked.selection.tokens
    has_note = asked.selection.is_too_long
    note = "" if has_note else cut_note(target, tokens=tokens, read_tokens=counted)
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
