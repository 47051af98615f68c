"""Clients for programs: a model server in few calls, without a screen and without files."""

from __future__ import annotations

import asyncio
import threading
import warnings
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Mapping
from concurrent.futures import CancelledError
from contextlib import aclosing, suppress
from functools import wraps
from typing import Any, Concatenate, ParamSpec, Self, TypedDict, TypeVar, Unpack

from msgspec import Struct
from msgspec.structs import replace

from lmchat.answers.cut_prompts import with_cut_prompt
from lmchat.answers.json_schema import SchemaOutput
from lmchat.answers.streamed_answer import StreamedAnswer
from lmchat.config.settings import LimitSettings, Settings, TimeoutSettings
from lmchat.config.state import State
from lmchat.errors import AnswerUnfit, LMChatError, RequestInvalid, WrongUse
from lmchat.metrics import Metrics
from lmchat.processes.background import end_tasks
from lmchat.servers.client import HttpServerClient
from lmchat.servers.discovery.choose import no_server_error
from lmchat.servers.discovery.finder import ServerFinder
from lmchat.servers.discovery.status import ServerStatus, usable_of
from lmchat.servers.endpoint import Endpoint
from lmchat.servers.events import StreamEvent
from lmchat.servers.http.connections import NoKeys
from lmchat.servers.model import ModelInfo
from lmchat.servers.request import AnyText, ChatRequest, OutputFormat, Sampling
from lmchat.servers.sampling_options import checked_option
from lmchat.servers.target import Target
from lmchat.sessions.given_messages import Messages, messages_of
from lmchat.sessions.message import (
    AnswerStats,
    ChatMessage,
    ReasoningPart,
    Role,
    ToolCallPart,
    text_message,
)


class Options(TypedDict, total=False):
    """Options for the model; unset options are not sent.

    An option that the server is known not to take is not sent either. `AnswerStats.sampling` has
    those that were sent.
    """

    temperature: float | None
    """Randomness, 0 to 2."""
    top_p: float | None
    """Nucleus sampling, 0 to 1."""
    max_tokens: int | None
    """Longest answer in tokens."""
    stop: tuple[str, ...]
    """Strings that end the answer."""
    seed: int | None
    """Makes answers repeatable, if the server supports it."""
    reasoning_effort: str
    """How much the model thinks, `none` to `max` or a number of tokens, if it is supported."""
    more: Mapping[str, object]
    """Further sampling options by name, such as `top_k`; `extra.NAME` sends any other field."""


class Answer(Struct, frozen=True, kw_only=True):
    """A complete answer."""

    text: str
    """The answer without reasoning."""
    reasoning: str
    """Reasoning of the model before it answered."""
    refusal: str = ""
    """The part of `text` in which the model refuses to answer."""
    tool_calls: tuple[ToolCallPart, ...]
    """Tool calls of the model, which lmchat does not run."""
    model: str
    """The model that answered, as the server named it."""
    endpoint: str
    """URL of the server that answered."""
    finish_reason: str
    """Why the answer ended, as the server said it; empty if it did not."""
    stats: AnswerStats
    """Tokens, times and retries."""

    @property
    def message(self) -> ChatMessage:
        """The answer with its reasoning as a message, to continue the session with."""
        message = text_message(Role.ASSISTANT, self.text)
        if not self.reasoning:
            return message
        return replace(message, parts=(ReasoningPart(text=self.reasoning), *message.parts))


class JsonAnswer(Struct, frozen=True, kw_only=True):
    """An answer that is a JSON value."""

    value: Any
    answer: Answer
    first_misfit: str = ""
    """Why the first answer did not match, if lmchat asked again; else empty."""


class ClientOptions(TypedDict, total=False):
    """How to reach a server."""

    model: str
    """Model to use; default: a loaded one, never a remote one."""
    key: str
    """API key of the server; without an address, it is sent only to servers on this machine."""
    allowed_hosts: tuple[str, ...]
    """Other machines that lmchat may connect to, "host" or "host:port"."""
    limits: LimitSettings | None
    """Requests per minute, size of a request, attempts."""
    timeouts: TimeoutSettings | None
    """Timeouts in seconds."""


class Client:
    """A client for one model server: the given address, or the best server found on this machine.

    It reads no configuration and writes no files. Use it in one event loop, and close it:
    `async with Client() as client`.

    Args:
        endpoint: Address of the server, with or without `/v1`; empty: find one when it is needed.

    Raises:
        EndpointNotAllowed: `endpoint` or an allowed host is not a valid address.
    """

    def __init__(self, endpoint: str = "", **settings: Unpack[ClientOptions]) -> None:
        # Python itself accepts any name, as `settings` takes them all
        for name in settings.keys() - ClientOptions.__annotations__.keys():
            raise TypeError(f"Unexpected keyword argument {name!r}")
        self._named = (Endpoint.parse(endpoint),) if endpoint else ()
        self._model = settings.get("model", "")
        own_settings = Settings(
            endpoint=endpoint,
            allowed_hosts=tuple(settings.get("allowed_hosts", ())),
            limits=settings.get("limits") or LimitSettings(),
            timeouts=settings.get("timeouts") or TimeoutSettings(),
        )
        keys = _CallersKey(settings.get("key", ""), *self._named)
        self._backend = HttpServerClient(own_settings, keys=keys)
        # without a memory of earlier chats, whose server and model the screen would prefer
        self._finder = ServerFinder(self._backend.models, own_settings, State())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def health(self) -> ServerStatus:
        """Check the server, or find one, and return its state.

        A server that does not answer is not an error: `next_step` says what to do. If no server
        can be used, one that answers is returned, or else the first address that was tried.

        Raises:
            EndpointNotAllowed: the host of the given address is not allowed.
        """
        servers = await self._finder.look()
        return self._finder.choice(self._model).server or servers[0]

    async def detect(self) -> tuple[ServerStatus, ...]:
        """Check the given address and all usual ones at the same time; the best comes first.

        A product has one result if nothing answers at any of its usual addresses.
        """
        return await self._backend.models.detect(named=self._named)

    async def models(self, *, is_refresh: bool = False) -> tuple[ModelInfo, ...]:
        """List the models.

        The list is cached for ten minutes; `is_refresh=True` asks the server again.
        """
        # the server itself is remembered for longer, until a request to it fails
        if not usable_of(self._finder.servers):
            await self._finder.look()
        best = self._finder.choice(self._model).server
        if best is None or not best.state.is_usable:
            raise no_server_error(self._finder.servers)
        return await self._backend.models.listed(best.endpoint, is_refresh=is_refresh)

    async def chat(
        self, messages: Messages, *, model: str = "", **options: Unpack[Options]
    ) -> Answer:
        """Return the answer to a prompt or a list of messages.

        An answer that breaks off raises an error.
        """
        return await self._answer(messages_of(messages), model, options)

    async def chat_json(
        self,
        messages: Messages,
        schema: Mapping[str, object] | None = None,
        *,
        name: str = "answer",
        model: str = "",
        **options: Unpack[Options],
    ) -> JsonAnswer:
        """Return a JSON value that matches a JSON schema; without a schema, a JSON object.

        lmchat uses the strictest method that the server accepts, and checks the answer. If the
        value does not match, lmchat asks once more, then raises `AnswerUnfit`. It does not ask
        again after a refusal or an answer cut short. `name` is the name that the server gets for
        the schema. Names at the top level of the schema that check nothing are a `UserWarning`.
        """
        sent = messages_of(messages)
        first_misfit = ""
        wanted = SchemaOutput(schema, name=name)
        if wanted.note:
            warnings.warn(wanted.note, stacklevel=2)
        while True:
            answer = await self._answer(sent, model, options, wanted.output)
            try:
                value = wanted.value_in(
                    answer.text,
                    thought=answer.reasoning,
                    finish_reason=answer.finish_reason,
                    is_refusal=bool(answer.refusal),
                )
            except AnswerUnfit as error:
                if first_misfit or not error.retry_prompt:  # only one more answer is asked for
                    raise
                first_misfit = error.message
                if answer.text.strip():  # a message without text would be refused
                    sent = (*sent, answer.message)
                sent = (*sent, text_message(Role.USER, error.retry_prompt))
            else:
                return JsonAnswer(value=value, answer=answer, first_misfit=first_misfit)

    async def stream(
        self, messages: Messages, *, model: str = "", **options: Unpack[Options]
    ) -> AsyncGenerator[StreamEvent, None]:
        """Yield the events of an answer; the last is a `StreamFinished`.

        Wrap it in `contextlib.aclosing`: leaving it early closes the connection, and the server
        stops.
        """
        sent = messages_of(messages)
        request = _request(await self._target(model), sent, options)
        async with aclosing(self._events_of(request)) as events:
            async for event in events:
                yield event

    def metrics(self) -> Metrics:
        """Return what this client has counted."""
        return self._backend.metrics()

    def reset_metrics(self) -> None:
        """Set the counters to 0."""
        self._backend.reset_metrics()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._backend.aclose()

    async def _answer(
        self,
        messages: tuple[ChatMessage, ...],
        model: str,
        options: Options,
        output: OutputFormat | None = None,
    ) -> Answer:
        """Raises the error that ended the answer."""
        target = await self._target(model)
        request = _request(target, messages, options, output)
        streamed = StreamedAnswer(target.model_id)
        await streamed.read(self._events_of(request))
        content = streamed.content
        live = streamed.stats
        live.product = target.product
        # they show which of both limits cut the answer short
        live.context, live.max_tokens = target.context, request.sampling.max_tokens
        has_reply = any(not isinstance(part, ReasoningPart) for part in content.parts)
        return Answer(
            text=content.text("text", "refusal"),
            reasoning=content.text("reasoning"),
            refusal=content.text("refusal"),  # also in `text`
            tool_calls=tuple(part for part in content.parts if isinstance(part, ToolCallPart)),
            model=live.model,
            endpoint=target.endpoint.url,
            finish_reason=live.finish_reason,
            stats=with_cut_prompt(live.saved(), request, has_reply=has_reply),
        )

    async def _events_of(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        """After an error, the next request looks for the server again."""
        try:
            async with aclosing(self._backend.stream(request)) as events:
                async for event in events:
                    yield event
        except LMChatError:
            self._finder.forget()
            raise

    async def _target(self, model: str) -> Target:
        name: object = model or self._model  # a program may have passed anything
        if not isinstance(name, str):
            raise RequestInvalid("Invalid model parameter: a model name must be a text.")
        return await self._finder.ready_target(name)


def _request(
    target: Target,
    messages: tuple[ChatMessage, ...],
    options: Options,
    output: OutputFormat | None = None,
) -> ChatRequest:
    """Raises `WrongUse` for a wrong option."""
    # an option in `more` replaces one with a field of its own, such as `top_p`
    set_options = Sampling(**options).options
    checked = {name: checked_option(name, value) for name, value in set_options.items()}
    return ChatRequest(
        target=target,
        messages=messages,
        sampling=Sampling().with_options(checked),
        output=output or AnyText(),
    )


class _CallersKey(NoKeys):
    """API key of a program, for the server that it named, or else any server of this machine."""

    def __init__(self, key: str, *named: Endpoint) -> None:
        self._key = key
        self._origins = [endpoint.origin for endpoint in named]

    def known_key(self, endpoint: Endpoint) -> str:
        may_send = endpoint.origin in self._origins if self._origins else endpoint.is_loopback
        return self._key if may_send else ""


T = TypeVar("T")  # result of a method
P = ParamSpec("P")  # parameters of a method, without `self`


def _blocking(
    method: Callable[Concatenate[Client, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[SyncClient, P], T]:
    @wraps(method)
    def run_and_wait(self: SyncClient, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._run(method(self._client, *args, **kwargs))

    return run_and_wait


_CLOSED = "This client is closed."


class SyncClient:
    """`Client` with blocking calls; close it: `with SyncClient() as client`.

    Its methods are those of `Client` without `await`. Several threads may share one client.
    """

    health = _blocking(Client.health)
    detect = _blocking(Client.detect)
    models = _blocking(Client.models)
    chat = _blocking(Client.chat)
    chat_json = _blocking(Client.chat_json)

    def __init__(self, endpoint: str = "", **settings: Unpack[ClientOptions]) -> None:
        self._client = Client(endpoint, **settings)
        self._start_lock = threading.Lock()  # no coroutine is started while `close` runs
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="lmchat-client", daemon=True
        )
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def stream(
        self, messages: Messages, *, model: str = "", **options: Unpack[Options]
    ) -> Iterator[StreamEvent]:
        """Yield the events of an answer; leaving the loop early closes the connection."""
        events = self._client.stream(messages, model=model, **options)

        async def next_event() -> StreamEvent | None:  # `_run` needs a coroutine; `anext` is none
            return await anext(events, None)

        try:
            while (event := self._run(next_event())) is not None:
                yield event
        finally:
            # Python's garbage collector may close this generator in the thread of the loop, which
            # must not wait for itself. The loop then closes the stream, which is garbage, too.
            if threading.current_thread() is not self._thread:
                with suppress(WrongUse):  # a closed client has closed the stream
                    self._run(events.aclose())

    def metrics(self) -> Metrics:
        """Return what this client has counted."""
        return self._client.metrics()

    def reset_metrics(self) -> None:
        """Set the counters to 0."""
        self._client.reset_metrics()

    def close(self) -> None:
        """Close all connections and end the thread; running calls are stopped."""
        with self._start_lock:  # meanwhile, `_run` starts nothing in the loop
            if self._loop.is_closed():
                return
            asyncio.run_coroutine_threadsafe(self._stop_tasks(), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    async def _stop_tasks(self) -> None:
        await end_tasks(*(asyncio.all_tasks() - {asyncio.current_task()}))
        await self._client.aclose()

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the thread of the loop, and wait for it.

        Raises `WrongUse` if `close` was called before, or is called while the coroutine runs. If
        the wait is interrupted, for example by Ctrl+C, the coroutine is cancelled.
        """
        with self._start_lock:
            if self._loop.is_closed():
                work.close()
                raise WrongUse(_CLOSED)
            running = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return running.result()
        except CancelledError:
            raise WrongUse(_CLOSED) from None
        finally:
            running.cancel()  # changes nothing if the coroutine has ended
