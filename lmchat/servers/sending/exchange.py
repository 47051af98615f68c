"""One chat request on its way: its form, and its answer."""

from __future__ import annotations

import httpx
from msgspec import Struct
from msgspec.structs import replace

from lmchat.errors import ServerRejected
from lmchat.servers.events import (
    ModelLoading,
    RequestAdapted,
    RequestSent,
    StreamEvent,
    StreamFinished,
)
from lmchat.servers.sending.prepared_request import PreparedRequest
from lmchat.servers.sending.sender import Sender
from lmchat.servers.stream.end import AnswerEnd
from lmchat.servers.stream.response_reader import EventQueue, ResponseReader
from lmchat.servers.stream.think_tags import FAMILIES, ThoughtFilter
from lmchat.servers.stream.timeouts import IdleTimeout
from lmchat.servers.wire.refusals import RefusalContext


class Exchange(Struct, kw_only=True):
    """One chat request, from the first attempt to the end of its answer.

    Cancelling the task of `run` closes the connection (R-28).
    """

    prepared: PreparedRequest
    sender: Sender
    events: EventQueue  # `post` and the sender put them in
    has_think_tags: bool  # `<think>` tags in a text mark thoughts

    def post(self, event: StreamEvent) -> None:
        self.events.put_nowait(event)

    async def run(self) -> StreamFinished:
        """Raise `ServerUnavailable`, `ServerRejected`, `StreamInterrupted`."""
        return await self.sender.attempts(self._send_once, self._adapt)

    async def _adapt(self, error: ServerRejected) -> bool:
        """Return whether to send the request again."""
        notes = self.prepared.adapt(error)
        if notes is None:  # no other form would help
            return False
        for note in notes:
            self.post(RequestAdapted(note=note))
        return True

    async def _send_once(self, idle_timeout: IdleTimeout) -> StreamFinished:
        """Raise the error of a refusal."""
        prepared = self.prepared
        self.post(RequestSent(sampling=prepared.sent_options()))
        if prepared.is_known_to_load or self.sender.is_loading:
            self.post(ModelLoading(is_asleep=prepared.is_asleep))
        body = prepared.body
        context = prepared.refusal_context(replace(self.sender.refusal_context, sent=body))
        async with self.sender.response(
            prepared.url, prepared.headers, body, idle_timeout
        ) as response:
            return await self._read_answer(response, context, idle_timeout)

    async def _read_answer(
        self, response: httpx.Response, context: RefusalContext, idle_timeout: IdleTimeout
    ) -> StreamFinished:
        """Tell the sender if text has arrived; raise a refusal."""
        if not response.is_success:
            _, error = await self.sender.read_refusal(response, context)
            raise error

        prepared = self.prepared
        reader = ResponseReader(
            response,
            refusal_context=context,
            window=prepared.model.context if prepared.model is not None else None,
            events=self.events,
            idle_timeout=idle_timeout,
            end=AnswerEnd(
                self.sender.timeouts, needs_reason=prepared.product.chat.names_finish_reason
            ),
            is_parallel=prepared.sent_options().get("extra.n", 1) != 1,
            thought_filter=ThoughtFilter(FAMILIES if self.has_think_tags else ()),
        )
        try:
            return await reader.read()
        finally:
            if reader.has_posted_token:
                self.sender.note_token()
