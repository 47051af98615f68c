"""One chat request on its way: its form, which is adapted to the server, and its answer.

An `Exchange` says what is sent and reads what comes; its `Sender` says when it is sent once more.
"""

from __future__ import annotations

import httpx
from msgspec import Struct

from lmchat.errors import ServerRejected
from lmchat.servers.events import (
    ModelLoading,
    RequestAdapted,
    RequestSent,
    StreamEvent,
    StreamFinished,
)
from lmchat.servers.products.refusals import RefusalContext
from lmchat.servers.request import CHAT_PATH, ID_HEADER, OutgoingRequest, kept_answer_url
from lmchat.servers.sending.request_writer import WrittenRequest
from lmchat.servers.sending.sender import Sender, stream_headers
from lmchat.servers.stream.response_reader import EventQueue, ResponseReader
from lmchat.servers.stream.think_tags import ThinkSplitter
from lmchat.servers.stream.timeouts import IdleTimeout


class Exchange(Struct, kw_only=True):
    """One chat request, from the first attempt to the end of its answer.

    `run` puts events into the queue. To stop the answer, cancel the task in which it runs: this
    closes the connection (R-28).
    """

    written: WrittenRequest
    sender: Sender
    events: EventQueue  # `post` and the sender put them in
    has_think_tags: bool  # whether `<think>` tags in a text mark thoughts
    is_kept: bool = False  # whether the server keeps the answer, under its `replay_id`
    must_be_dropped: bool = False
    """Whether the server has to be told to drop the answer if this exchange is closed now.

    A server that keeps an answer (R-42) would continue it. True from the request for such an answer
    until the answer has ended, the server has refused it, or the connection has broken."""

    def outgoing_request(self) -> OutgoingRequest:
        """Return the request without its API key, to be sent, or to be shown to the user.

        After a refusal, it has the form that `_adapt` gave it. The key is added when it is sent.
        """
        headers = stream_headers("", has_body=True)
        if self.is_kept:  # the server keeps the answer if it gets an id to keep it under
            headers[ID_HEADER] = self.written.request.replay_id
        endpoint = self.written.request.endpoint
        return OutgoingRequest(
            url=f"{endpoint.base_url}{CHAT_PATH}",
            headers=headers,
            has_key=bool(self.sender.key),
            body=self.written.encoded_body(),
        )

    def post(self, event: StreamEvent) -> None:
        self.events.put_nowait(event)

    @property
    def _facts(self) -> RefusalContext:
        return self.written.facts_for_refusal(self.sender.facts)

    async def run(self) -> StreamFinished:
        """Send the request, read the answer, and return its last event.

        Raises:
            ServerUnavailable: the server does not answer.
            ServerRejected: it refuses the request.
            StreamInterrupted: the answer is not complete.
        """
        return await self.sender.attempts(self._send_once, self._adapt)

    async def _adapt(self, error: ServerRejected) -> bool:
        """Change the request after a refusal; return whether to send it again."""
        if self.written.request.fetches_kept:  # it has no body with fields that could be changed
            return False
        notes = self.written.adapt(error)
        if notes is None:  # no other form would help
            return False
        for note in notes:
            self.post(RequestAdapted(note=note))
        return True

    async def _send_once(self, idle_timeout: IdleTimeout) -> StreamFinished:
        """Send the request once, read its answer, and return the last event.

        A `ModelLoading` is posted if the model has to be loaded first, or if the server has refused
        an earlier attempt because the model was loading. While the answer is awaited and read,
        limits of silence apply. Raises the error of a refusal.
        """
        written = self.written
        self.post(RequestSent(sampling=written.sent_options(), is_kept=self.is_kept))
        # from now on, a server that keeps the answer would continue it without this connection
        self.must_be_dropped = self.is_kept
        if written.is_known_to_load or self.sender.is_loading:
            self.post(ModelLoading(is_asleep=written.is_asleep))
        if written.request.fetches_kept:
            # the server has kept the answer: fetch it, from its first byte
            url = kept_answer_url(written.request.endpoint, written.request.replay_id)
            opening = self.sender.response("GET", f"{url}&from=0", idle_timeout)
        else:
            outgoing = self.outgoing_request()
            opening = self.sender.response(
                "POST", outgoing.url, idle_timeout, body=outgoing.body, headers=outgoing.headers
            )
        async with opening as response:
            return await self._read_answer(response, idle_timeout)

    async def _read_answer(
        self, response: httpx.Response, idle_timeout: IdleTimeout
    ) -> StreamFinished:
        """Read the events of an answer to its end; raise the error with which a server refuses.

        Also tell the sender if text has arrived, and note in `must_be_dropped` whether the server
        still has to drop the answer that it keeps.
        """
        if not response.is_success:
            self.must_be_dropped = False  # no answer was begun
            _, error = await self.sender.read_refusal(response, self._facts)
            raise error

        model = self.written.model
        reader = ResponseReader(
            response,
            facts=self._facts,
            window=model.context if model is not None else None,
            names_reason=self.written.product.names_finish_reason,
            events=self.events,
            idle_timeout=idle_timeout,
            splitter=ThinkSplitter() if self.has_think_tags else None,
        )
        try:
            finished = await reader.read()
            self.must_be_dropped = False
            return finished
        finally:
            if reader.has_posted_token:
                self.sender.note_token()
            if reader.network_error:  # the server continues the answer, which is fetched later
                self.must_be_dropped = False
