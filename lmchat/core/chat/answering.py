"""Asks for one answer: which messages are sent, and what changes after a refusal.

A *refusal* is a `ServerRejected` before the answer has started. `turn_starts.py` explains prefill.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, suppress
from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from lmchat.base.errors import (
    FileRefused,
    LMChatError,
    RequestInvalid,
    ServerRejected,
    with_next_step,
)
from lmchat.base.files.images import as_sent
from lmchat.base.processes.background import run_abandonable
from lmchat.base.safe_text import safe_line
from lmchat.base.token_estimate import estimate_tokens
from lmchat.base.units import counted
from lmchat.core.answers.cut_prompts import cut_prompt_error, is_prompt_cut
from lmchat.core.answers.live_stats import LiveStats
from lmchat.core.chat.context import (
    ContextSelection,
    TokenEstimator,
    cut_note,
    has_images,
    larger_window_step,
    selection_of,
    tools_tokens,
)
from lmchat.core.chat.lesser import (
    learn_taken,
    left_out_note,
    lesser,
    why_named,
    with_fitting_results,
    without_other_images,
)
from lmchat.core.chat.settings import TurnSettings
from lmchat.core.chat.tool_rounds import ToolRounds
from lmchat.core.chat.turn_starts import (
    CONTINUE,
    QUOTED_END_CHARS,
    Prefill,
    TurnStart,
    needs_blank,
    require_prefill,
)
from lmchat.core.servers.events import (
    ReasoningDelta,
    RefusalDelta,
    RequestAdapted,
    Rethought,
    StreamEvent,
    TextDelta,
    ToolCallDelta,
    UsageReported,
)
from lmchat.core.servers.products import product_named, sent_thoughts_to
from lmchat.core.servers.protocols import AnswerSource
from lmchat.core.servers.request import (
    ChatRequest,
    Tool,
)
from lmchat.core.servers.target import Target
from lmchat.core.sessions.message import (
    AnswerState,
    AnswerStats,
    ChatMessage,
    Role,
    SentThoughts,
    text_message,
)
from lmchat.core.sessions.session import MessagePath
from lmchat.core.storage.stats_store import StatsStore
from lmchat.core.storage.store import Store

_ANSWER_EVENTS = {TextDelta, RefusalDelta, ToolCallDelta}
_CONTENT_EVENTS = {*_ANSWER_EVENTS, ReasoningDelta}
"""Once the user has seen one, the request is not sent again."""
_PREFILL_REFUSED = ("bad_request", "template", "server_error", "unsupported")
"""Kinds of errors with which servers refuse a prefill, as for models that think."""
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
    target = settings.target
    prefill = start.prefill
    if target.is_blind and has_images(start.prompts):
        raise FileRefused(
            f"{safe_line(target.model_id, limit=80)} cannot see images.",
            next_step="Choose a model with vision, or remove the image.",
            kind="no_vision",
        )
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
) -> ContextSelection:
    """With `is_quoted`, a prompt quotes the prefill.

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
    selection = estimator.select(
        path,
        target,
        max_tokens=settings.sampling.max_tokens,
        tool_tokens=tools_tokens(tools),
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


async def chat_request(
    selection: ContextSelection,
    settings: TurnSettings,
    estimator: TokenEstimator,
    store: Store,
    *,
    tools: Sequence[Tool] = (),
    must_call: bool = False,
    message_id: str = "",
) -> ChatRequest:
    """Results of tools behind the newest prompt are cut where they do not fit."""
    target = settings.target
    request = product_named(target.product).seeded(
        ChatRequest(
            target=target,
            messages=selection.messages,
            sampling=settings.sampling,
            output=settings.output,
            tools=tuple(tools),
            files=await _files_of(selection.messages, target, store),
            must_call=must_call,
            message_id=message_id,
        )
    )
    if not settings.is_truncating:
        return request
    if estimator.memory_of(target).has_refused_images:
        request = without_other_images(request)
    window_room = estimator.window_room(target, settings.sampling.max_tokens)
    return with_fitting_results(request, min(estimator.room(target), window_room))


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
    news: Callable[[Mapping[tuple[str, str], int]], Sequence[tuple[str, str]]]
    """Takes how often what is said of left out parts, and returns what is new of it."""
    request: ChatRequest | None = None  # of the last attempt
    has_noted_length: bool = False  # that it may not fit into the window

    async def events(self) -> AsyncGenerator[StreamEvent, None]:
        """Select the messages, send them, and yield the events of the answer.

        Notes about what is left out come first. Raises as `select` and `ToolRounds.offered` do, and
        `ServerRejected` if no change of the request helps.
        """
        settings = self.settings
        prefill = self.prefill
        rounds = self.rounds
        services = self.services
        target = settings.target
        estimator = services.estimator
        tools = await rounds.offered(target) if rounds is not None else ()
        choose = partial(select, self.path, settings, estimator, prefill=prefill, tools=tools)
        make = partial(
            chat_request,
            settings=settings,
            estimator=estimator,
            store=services.store,
            tools=tools,
            must_call=rounds is not None and rounds.must_call,
            message_id=self.message_id,
        )
        selection = choose()
        whole = await make(selection)
        sent = [whole]
        for note in self._notes(selection, whole):
            yield RequestAdapted(note=note)
        refusal: ServerRejected | None = None  # the last one
        while True:
            self.request = request = sent[-1]
            is_continued = request.messages[-1].role is Role.ASSISTANT
            seen: set[type[StreamEvent]] = set()
            counted_tokens: int | None = None  # of the prompt, by the server
            stream = services.backend.stream(request)
            if prefill is not None and not is_continued:
                stream = _with_blank(stream, prefill, request)
            try:
                async with aclosing(stream) as events:
                    async for event in events:
                        if type(event) in _CONTENT_EVENTS and not seen & _CONTENT_EVENTS:
                            learn_taken(estimator.memory_of(target), sent, refusal)
                        seen.add(type(event))
                        if isinstance(event, UsageReported):
                            counted_tokens = event.prompt_tokens or counted_tokens
                        yield event
                if (
                    seen & _ANSWER_EVENTS
                    or counted_tokens is None
                    or not is_prompt_cut(request, counted_tokens)
                ):
                    if not seen & _CONTENT_EVENTS:  # it is empty, but was not refused
                        learn_taken(estimator.memory_of(target), sent, refusal)
                    return
                tokens = estimator.tokens(request)
                raise cut_prompt_error(
                    request,
                    tokens=tokens,
                    counted=counted_tokens,
                    next_step=larger_window_step(target, tokens),
                )
            except ServerRejected as error:
                if seen & _CONTENT_EVENTS:
                    raise
                if error.room_tokens:
                    estimator.memory_of(target).window = error.room_tokens
                is_exact = prefill is not None and prefill.is_exact  # continued, or not sent at all
                if is_continued and not is_exact and error.kind in _PREFILL_REFUSED:
                    whole = await make(choose(is_quoted=True))
                    sent, refusal = [whole], None  # its form was refused, not its size
                    continue
                refusal = error
                less = lesser(
                    sent,
                    error,
                    estimator,
                    has_quote=prefill is not None
                    and not is_continued
                    and bool(prefill.message.text),
                )
                if less is None or not settings.is_truncating:
                    raise
                lost = left_out_note(whole, less, selection.left_out)
                yield RequestAdapted(note=with_next_step(error.message, lost))
                sent.append(less)

    def _notes(self, selection: ContextSelection, request: ChatRequest) -> Iterator[str]:
        """Say what is left out, and whether the rest may be too long."""
        target = request.target
        estimator = self.services.estimator
        pairs = zip(selection.messages, request.messages, strict=True)
        counts = Counter(
            {
                ("oldest message", "The context window is full: {} left out."): selection.left_out,
                ("result", "The context window is full: {} of tools cut."): sum(
                    whole is not part for whole, part in pairs
                ),
            }
        )
        for message in request.messages:
            for part in message.files:
                if why := why_named(part, message, request, estimator.memory_of(target)):
                    what = "picture" if part.is_image else "file"
                    counts[what, f"{{}} is not sent: {why}."] += 1
        for what, sentence in self.news(counts):
            count = counts[what, sentence]
            text = sentence if count == 1 else sentence.replace(" is not", " are not")
            yield text.format(counted(count, what))
        window = estimator.window(target)
        tokens = estimator.tokens(request)
        if window is not None and tokens > window:
            self.has_noted_length = True
            yield cut_note(target, tokens=tokens, window=window)


async def _with_blank(
    stream: AsyncGenerator[StreamEvent, None], prefill: Prefill, request: ChatRequest
) -> AsyncGenerator[StreamEvent, None]:
    """A model that continues the prefill writes the blank itself. The last message quotes it."""
    prefill_text = prefill.message.text
    texts = [prefill_text, *(one.text for one in request.messages[-_MOST_TEXTS - 1 : -1])]
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


def ended_stats(live: LiveStats, asking: Asking) -> tuple[AnswerStats, str]:
    """Return stats, with those of the continued answer, and a note about a cut prompt or ""."""
    request = asking.request
    target = asking.settings.target
    estimator = asking.services.estimator
    counted_tokens = live.usage.prompt_tokens
    live.context = estimator.window(target)
    if not product_named(target.product).chat.names_build:
        live.build = ""  # it is something else in `system_fingerprint`
    if request is not None:
        live.estimated_prompt_tokens = estimator.tokens(request)
    stats = live.saved().after(_earlier_stats(asking.prefill, estimator.factor(target)))
    if request is None or counted_tokens is None:
        return stats, ""
    if not is_prompt_cut(request, counted_tokens):
        estimator.learn(target, selection_of(request), counted_tokens - tools_tokens(request.tools))
        return stats, ""
    tokens = estimator.tokens(request)
    has_note = asking.has_noted_length
    note = "" if has_note else cut_note(target, tokens=tokens, read_tokens=counted_tokens)
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
