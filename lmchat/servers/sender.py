"""One chat request on its way: retries, adaptation to the server, and the answer.

`Exchange.run` repeats the request after temporary failures. `_send_adapted` repeats it in another
form after a refusal. `_send_once` sends it and reads the answer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any

import httpx
from msgspec import Struct, field
from msgspec.structs import replace

from lmchat.config.settings import Settings, TimeoutSettings
from lmchat.errors import LMChatError, ServerRejected, ServerUnavailable
from lmchat.safe_text import without_secret
from lmchat.servers.events import (
    ModelLoading,
    RequestAdapted,
    RequestSent,
    RetryScheduled,
    StreamEvent,
    StreamFinished,
)
from lmchat.servers.http.api_keys import KeySource
from lmchat.servers.http.connections import (
    POOL_S,
    WRITE_S,
    Connections,
    Reply,
    RequestTrace,
    connect_timeout_s,
    read_up_to,
    request_headers,
)
from lmchat.servers.http.json_values import encode
from lmchat.servers.http.network_errors import errors_as_unavailable
from lmchat.servers.products.base import Server
from lmchat.servers.products.kept_answers import ID_HEADER, kept_answer_url
from lmchat.servers.products.product import product_named
from lmchat.servers.products.refusals import RequestFacts, refusal, shown_address
from lmchat.servers.products.request_body import body_of, json_mode_note
from lmchat.servers.products.request_format import Dialect
from lmchat.servers.request import ChatRequest, OutgoingRequest
from lmchat.servers.retries import RetryPlan, plan_for
from lmchat.servers.stream.answer_reader import (
    MAX_WHOLE_BYTES,
    AnswerReader,
    EventQueue,
    joined_events,
)
from lmchat.servers.stream.life_signs import ask_health, is_alive
from lmchat.servers.stream.think_tags import ThinkSplitter
from lmchat.servers.stream.timeouts import IdleTimeout, Loading
from lmchat.sessions.message import Role, SentThoughts

REFUSAL_S = 10.0  # timeout for the words of a refusal, whose status has already arrived
_RECONNECT_PLAN = RetryPlan()  # the waits that the settings name
_log = logging.getLogger(__name__)


class Exchange(Struct, kw_only=True):
    """One chat request, from the first attempt to the end of its answer.

    `run` must be called in the task that owns the response (R-28); it puts events into a queue.
    """

    request: ChatRequest
    server: Server
    connections: Connections
    settings: Settings
    timeouts: TimeoutSettings
    dialect: Dialect
    extra_fields: Mapping[str, Any]  # fields of the product, and those of tools
    sampling_options: Mapping[str, object]  # those that the product takes, by name
    sent_thoughts: SentThoughts
    is_model_unloaded: bool  # whether the request will make the server load its model first
    is_model_asleep: bool  # whether that is because the server has put the model to sleep
    keys: KeySource
    on_retry: Callable[[], None]  # called before each further attempt
    keeps_answer: bool = False  # whether the server keeps the answer under its id
    must_be_dropped: bool = False
    """Whether closing this exchange has to stop the answer at its server, which would continue it.

    True from the request for an answer that is kept (R-42) until it has ended or cannot be had."""
    has_response: bool = False  # whether a response has begun
    events: EventQueue = field(default_factory=asyncio.Queue)  # what `post` puts in
    _key: str = ""  # the API key that is sent; empty: none
    _has_token: bool = False  # whether any text has arrived; then the request is not repeated
    _tried_dialects: set[Dialect] = field(default_factory=set)  # those that were refused
    _trace: RequestTrace = field(default_factory=RequestTrace)  # of the last request
    _reader: AnswerReader | None = None  # of the last answer

    def outgoing(self) -> OutgoingRequest:
        """Return the request in the current dialect, without its key: the user may be shown it."""
        headers = self._stream_headers(key="", has_body=True)
        if self.keeps_answer:
            headers[ID_HEADER] = self.request.replay_id
        endpoint = self.request.endpoint
        body = body_of(self.request, self.extra_fields, self.dialect, self.sent_thoughts)
        return OutgoingRequest(
            url=f"{endpoint.base_url}/chat/completions",
            headers=headers,
            has_key=bool(self.keys.key_for(endpoint)),
            body=encode(body),
        )

    def post(self, event: StreamEvent) -> None:
        self.events.put_nowait(event)

    def joined_events(self) -> AsyncIterator[StreamEvent]:
        """Yield the posted events until None; neighbouring texts that wait together are joined."""
        return joined_events(self.events)

    @property
    def answer_id(self) -> str:
        """The server's name of the answer; empty before its first chunk."""
        return self._reader.answer_id if self._reader is not None else ""

    @property
    def _facts(self) -> RequestFacts:
        """Facts of the request that messages about its refusal name."""
        request = self.request
        return RequestFacts(
            product=request.product,
            key=self._key,
            model=request.model,
            host=request.endpoint.host,
        )

    async def run(self) -> StreamFinished:
        """Send the request, read the answer, and return its last event.

        After a temporary failure, wait and try again, at most as often as the settings and the plan
        for this failure allow. Then the last failure is raised.

        Raises:
            ServerUnavailable: the server does not answer.
            ServerRejected: it refuses the request.
            StreamInterrupted: the answer is not complete.
        """
        attempt = 1
        self._key = self.keys.key_for(self.request.endpoint) or ""
        limits = self.settings.limits
        while True:
            try:
                return await self._send_adapted()
            except (ServerUnavailable, ServerRejected) as error:
                plan = self._retry_plan(error)
                if plan is None:
                    raise
                max_attempts = plan.max_attempts(limits)
                if attempt >= max_attempts:
                    raise
                wait_s = plan.wait_after(attempt, limits)
                reason = error.message

            attempt += 1
            self.on_retry()
            _log.info("chat request: another attempt")
            self.post(
                RetryScheduled(attempt=attempt, attempts=max_attempts, wait_s=wait_s, reason=reason)
            )
            await asyncio.sleep(wait_s)

    def _retry_plan(self, error: LMChatError) -> RetryPlan | None:
        """Return how to try again after a failure.

        None if a part of the answer has been posted, or if the failure is not temporary.
        """
        if self._has_token:
            return None
        return plan_for(error, self.request.endpoint, self.server.product)

    async def _send_adapted(self) -> StreamFinished:
        """Send the request, read the answer, and return its last event.

        After a refusal that `_handle_refusal` can remedy, send it again; raise any other refusal,
        and any that comes after a token. If the connection is refused, the hint of the raised
        `ServerUnavailable` says how to start the product.
        """
        check_health = self._ask_health if self.server.health_path else None
        loading = Loading(check_health, self.timeouts, self.post)
        try:
            while True:
                try:
                    return await self._send_once(loading)
                except ServerRejected as error:
                    if self._has_token or not await self._handle_refusal(error, loading):
                        raise
        except ServerUnavailable as error:
            self.server.add_hint(error)
            raise

    async def _handle_refusal(self, error: ServerRejected, loading: Loading) -> bool:
        """Remedy a refusal; return whether the request should be sent again.

        If the model is loading, wait. Otherwise try in this order: ask for JSON in another way,
        leave out or rename refused fields. If a key is set but may not be sent, the hint of the
        error says why.
        """
        if error.kind == "loading":
            await loading.wait()
            return True
        if error.kind == "auth" and not self._key:
            error.hint = self.keys.why_withheld(self.request.endpoint) or error.hint
        if self.request.is_replay:  # it has no fields that could be changed
            return False
        if self._change_json_mode(error):
            return True
        return self._drop_refused_fields(error)

    def _change_json_mode(self, error: ServerRejected) -> bool:
        """Change the dialect to another way of asking for JSON if the refusal is about this way.

        Returns whether the dialect was changed. A change is posted as a note.
        """
        output = self.request.output
        dialect = self.dialect.after_json_refusal(error, output)
        if dialect is None:
            return False
        note = json_mode_note(error, output, dialect.json_mode(output))
        self.post(RequestAdapted(note=note))
        self._tried_dialects.add(self.dialect)
        self.dialect = dialect
        return True

    def _drop_refused_fields(self, error: ServerRejected) -> bool:
        """Change the dialect so that the refused fields are left out or renamed.

        Returns whether it was changed. False if the refusal is about something else, or if the new
        dialect was refused before. Each field that is left out, and lost thoughts, are posted as a
        note. A renamed limit, `stream_options` and a drawn seed are not: no setting is lost then.
        """
        self._tried_dialects.add(self.dialect)
        dialect = self.dialect.after_refusal(
            error,
            has_limit=self.request.sampling.max_tokens is not None,
            extra_fields=self.extra_fields,
            thought_fields=product_named(self.request.product).thought_fields,
        )
        if dialect is None or dialect in self._tried_dialects:
            return False

        newly_dropped = dialect.dropped - self.dialect.dropped  # pairs of a field and its value
        dropped_names = [name for name, _ in sorted(newly_dropped)]
        seed_field = product_named(self.request.product).sampling_fields.get("seed")
        if self.request.has_drawn_seed and seed_field in dropped_names:
            dropped_names.remove(seed_field)  # the user has not set it
        if dialect.has_thoughts != self.dialect.has_thoughts:
            dropped_names.append("the earlier reasoning")
        reason = error.message.rstrip(".")
        for name in dropped_names:
            note = f"{reason}. Sending the request again without {name}."
            self.post(RequestAdapted(note=note))
        self.dialect = dialect
        return True

    async def _ask_health(self) -> Reply:
        """GET the health path of the product, over another connection than that of the request."""
        return await ask_health(
            self.connections,
            self.server,
            self.request.endpoint,
            key=self._key,
            health_s=self.timeouts.health_s,
        )

    async def _is_alive(self) -> bool:
        """Whether the server, or at least its machine, answers while the request waits."""
        return await is_alive(
            self.connections,
            self.server,
            self.request.endpoint,
            self._trace,
            key=self._key,
            health_s=self.timeouts.health_s,
        )

    async def _send_once(self, loading: Loading) -> StreamFinished:
        """Send the request once, read its answer, and return the last event.

        A `ModelLoading` is posted if the model has to be loaded first, or if only this request can
        tell whether it still loads. While the answer is awaited and read, limits of silence apply.
        Raises the error of a refusal.
        """
        endpoint = self.request.endpoint
        client = await self.connections.client(endpoint)
        self.post(RequestSent(sampling=self._sent_options(), is_kept=self.keeps_answer))
        self.must_be_dropped = self.keeps_answer
        if self.is_model_unloaded or loading.needs_request:
            self.post(ModelLoading(is_asleep=self.is_model_asleep))
        idle_timeout = IdleTimeout(
            self.timeouts, self.post, is_alive=self._is_alive, loading_begun_s=loading.begun_s
        )
        async with idle_timeout.watching():
            self._trace = RequestTrace()
            request = self._new_http_request(client)
            response = await self.connections.send(endpoint, request, self._trace)
            self.has_response = True
            try:
                return await self._read_answer(response, idle_timeout)
            finally:
                await response.aclose()

    def _sent_options(self) -> dict[str, object]:
        """Return the sampling options of the request, without those that were refused."""
        refused_fields = {name for name, _ in self.dialect.dropped}
        options: dict[str, object] = {}
        for name, value in self.sampling_options.items():
            # The first field is the option; further ones, such as `top_logprobs`, only go with it.
            option_field, *_ = self.server.fields_of_option(name, value)
            if option_field not in refused_fields:
                options[name] = value
        return options

    def _new_http_request(self, client: httpx.AsyncClient) -> httpx.Request:
        """Return the request in the current dialect and with the current key.

        Its answer has no time limit for a read: `IdleTimeout` watches it.
        """
        if self.request.is_replay:
            return self._new_replay_request(client, offset=0)
        outgoing = self.outgoing()  # without the key, because users may be shown it
        headers_with_key = self._stream_headers(self._key, has_body=True)
        return client.build_request(
            "POST",
            outgoing.url,
            content=outgoing.body,
            headers={**outgoing.headers, **headers_with_key},
            timeout=self._stream_timeout,
        )

    def _new_replay_request(self, client: httpx.AsyncClient, offset: int) -> httpx.Request:
        """Return the request for the kept answer, from the byte `offset` of its body on."""
        return client.build_request(
            "GET",
            kept_answer_url(self.request.endpoint, self.request.replay_id, offset),
            headers=self._stream_headers(self._key),
            timeout=self._stream_timeout,
        )

    def _stream_headers(self, key: str, *, has_body: bool = False) -> dict[str, str]:
        """Return the headers of a request for an uncompressed stream (R-34).

        An empty key is not sent.
        """
        headers = request_headers(key, has_body=has_body)
        headers["Accept"] = "text/event-stream, application/json"
        headers["Accept-Encoding"] = "identity"
        return headers

    @property
    def _stream_timeout(self) -> httpx.Timeout:
        """Timeout of a request for a stream, which has no limit for a read."""
        connect_s = connect_timeout_s(self.request.endpoint, self.timeouts.connect_s)
        return httpx.Timeout(connect=connect_s, read=None, write=WRITE_S, pool=POOL_S)

    async def _reconnect(self, offset: int) -> httpx.Response | None:
        """After the connection broke, return a response with the rest of the answer (R-42).

        `offset` is the number of bytes of the body that were read. The broken connection counts as
        the first of the attempts that the settings allow. Returns None if the server does not
        answer any attempt; then `must_be_dropped` becomes False. Also returns None if the server
        answers, but has forgotten the answer.
        """
        endpoint = self.request.endpoint
        limits = self.settings.limits
        client = await self.connections.client(endpoint)
        for failed_attempts in range(1, limits.retries):
            wait_s = _RECONNECT_PLAN.wait_after(failed_attempts, limits)
            self.on_retry()
            self.post(
                RetryScheduled(
                    attempt=failed_attempts + 1,
                    attempts=limits.retries,
                    wait_s=wait_s,
                    reason="the connection broke",
                )
            )
            await asyncio.sleep(wait_s)
            request = self._new_replay_request(client, offset)
            try:
                response = await self.connections.send(endpoint, request, self._trace)
            except ServerUnavailable as error:
                if error.kind == "offline" and endpoint.is_loopback:
                    break  # the program has ended, so waiting would not help
                continue  # to the next attempt
            if response.is_success:
                return response
            await response.aclose()
            return None
        # The server would not receive the order to drop the answer. If it still has the answer at
        # the next start of lmchat, it is fetched then.
        self.must_be_dropped = False
        return None

    async def _read_answer(
        self,
        response: httpx.Response,
        idle_timeout: IdleTimeout,
    ) -> StreamFinished:
        """Read the answer and return its last event, or raise the error of a refusal.

        The splitter finds out whether the chat template opens a thought. The dialect keeps this,
        also after an error: the next answer of this model then begins within a thought. Nothing is
        kept after a continued answer, for which the template opens no thought.
        """
        if not response.is_success:
            self.must_be_dropped = False  # no answer was begun
            raise await self._read_refusal(response)

        reconnect = self._reconnect if self.keeps_answer else None
        splitter: ThinkSplitter | None = None
        if self.settings.chat.think_tags:
            starts_in_thought = self.dialect.starts_in_thought and not self._is_continued
            splitter = ThinkSplitter(starts_in_thought=starts_in_thought)
        reader = AnswerReader(
            response,
            facts=self._facts,
            events=self.events,
            idle_timeout=idle_timeout,
            splitter=splitter,
            # The reader counts bytes after decompression; the server's `offset` counts them before.
            reconnect=None if "content-encoding" in response.headers else reconnect,
        )
        self._reader = reader
        try:
            finished = await reader.read()
            self.must_be_dropped = False
            return finished
        finally:
            self._has_token = reader.has_token
            if splitter is not None and not self._is_continued:
                next_starts = splitter.starts_in_thought
                self.dialect = replace(self.dialect, starts_in_thought=next_starts)

    @property
    def _is_continued(self) -> bool:
        """Whether the server continues an answer; its template then opens no thought."""
        messages = self.request.messages
        return bool(messages) and messages[-1].role is Role.ASSISTANT

    async def _read_refusal(self, response: httpx.Response) -> ServerRejected:
        """Read the body of a refusal and return its error (it is not raised here).

        A redirect to another origin has a special error: lmchat does not follow it, because that
        would send the key there (R-9).
        """
        endpoint = self.request.endpoint
        with errors_as_unavailable(endpoint):
            body = await read_up_to(response, MAX_WHOLE_BYTES, REFUSAL_S)
        target = _other_origin(httpx.URL(endpoint.base_url), response)
        if target is None:
            return refusal(response.status_code, response.headers, body, self._facts)
        where = shown_address(without_secret(str(target), self._key))
        return ServerRejected(
            f"Endpoint not allowed: {endpoint.netloc} redirects to another host ({where}).",
            kind="not_allowed",
            hint="If you trust that host, use its address and allow it with --allow-host.",
        )


def _other_origin(url: httpx.URL, response: httpx.Response) -> httpx.URL | None:
    """Return the target of a redirect that leads to another origin than that of `url`.

    None for any other response, and if the target is not a valid address.
    """
    if not response.has_redirect_location:
        return None
    try:
        target = url.join(response.headers["location"])
    except (httpx.InvalidURL, ValueError):
        return None
    is_same = (target.scheme, target.host, target.port) == (url.scheme, url.host, url.port)
    return None if is_same else target
