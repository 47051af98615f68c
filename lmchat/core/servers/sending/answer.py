"""The answer to one chat request."""

from __future__ import annotations

from msgspec.structs import replace

from lmchat.base.errors import ServerRejected
from lmchat.core.servers.events import (
    ModelLoading,
    ReasoningDelta,
    RefusalDelta,
    RequestAdapted,
    RequestSent,
    StreamEvent,
    StreamFinished,
    TextDelta,
    ToolCallDelta,
)
from lmchat.core.servers.request import CHAT_PATH
from lmchat.core.servers.sending.exchange import Exchange
from lmchat.core.servers.sending.prepared_request import PreparedRequest
from lmchat.core.servers.sending.request_checks import largest_part
from lmchat.core.servers.stream.chunk_parser import ChunkParser
from lmchat.core.servers.stream.end import AnswerEnd
from lmchat.core.servers.stream.read_answer import EventQueue, read_answer
from lmchat.core.servers.stream.think_tags import ThoughtFilter
from lmchat.core.servers.stream.timeouts import IdleTimeout
from lmchat.core.servers.wire.marks import FAMILIES
from lmchat.core.servers.wire.refusals import refusal_in_stream


async def answer(
    exchange: Exchange, prepared: PreparedRequest, events: EventQueue
) -> StreamFinished:
    """Send the request in a form that the server takes; put what comes into `events`.

    Cancelling the task closes the connection (R-28). Raises `ServerUnavailable`, `ServerRejected`,
    `StreamInterrupted`.
    """

    async def adapt(error: ServerRejected) -> bool:
        notes = prepared.adapt(error)
        if notes is None:  # no other form would help
            return False
        for note in notes:
            exchange.post(RequestAdapted(note=note))
        return True

    async def send(idle_timeout: IdleTimeout) -> StreamFinished:
        exchange.post(RequestSent(sampling=prepared.sent_options()))
        if prepared.is_known_to_load or exchange.is_loading:
            exchange.post(ModelLoading(is_asleep=prepared.is_asleep))
        body = prepared.body
        context = prepared.refusal_context(exchange.refusal_context(body))
        written: list[str] = []

        def post(event: StreamEvent) -> None:
            if isinstance(event, TextDelta | ReasoningDelta | RefusalDelta):
                written.append(event.text)
            elif isinstance(event, ToolCallDelta):
                written.append(event.arguments)
            exchange.post(event)

        def refused(value: object) -> ServerRejected:
            return refusal_in_stream(value, replace(context, written="".join(written)))

        async with exchange.response(CHAT_PATH, body, idle_timeout) as response:
            if not response.is_success:
                _, error = await exchange.read_refusal(response, context)
                prepared.name_cause(error, exchange.key)
                raise error
            model = prepared.model
            chunks = ChunkParser(
                refused,
                post,
                end=AnswerEnd(
                    exchange.timeouts, needs_reason=prepared.product.chat.names_finish_reason
                ),
                thought_filter=ThoughtFilter(
                    FAMILIES if exchange.access.settings.chat.think_tags else (),
                    may_close_alone=model is None or model.opens_thoughts is not False,
                ),
                tools=context.tools,
            )
            window = model.context_loaded if model is not None else None
            try:
                return await read_answer(
                    response, chunks, events, idle_timeout, context, window=window
                )
            finally:
                exchange.has_token = chunks.has_posted_token

    try:
        return await exchange.attempts(send, adapt)
    except ServerRejected as error:
        if error.kind in ("context_overflow", "too_large"):
            window = ", or load the model with a larger context window"
            error.next_step = largest_part(
                prepared.request, otherwise=window if error.kind == "context_overflow" else ""
            )
        raise
