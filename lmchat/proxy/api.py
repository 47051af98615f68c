"""Clients for programs: a model server in few calls, without a screen and without files.

`Client` is for asyncio. `SyncClient` runs a `Client` in a thread and waits for its results.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import aclosing
from functools import wraps
from queue import SimpleQueue
from typing import Any, Concatenate, ParamSpec, Self, TypedDict, TypeVar, Unpack

from msgspec import Struct
from msgspec.structs import replace

from lmchat.config.settings import LimitSettings, Settings, TimeoutSettings, ToolSettings
from lmchat.domain.event import StreamEvent
from lmchat.domain.message import (
    ChatMessage,
    ReasoningPart,
    Receipt,
    Role,
    ToolCallPart,
    text_message,
)
from lmchat.domain.remembered import Remembered
from lmchat.domain.request import AnyText, ChatRequest, LoadOptions, Sampling, WantedOutput
from lmchat.domain.server import Candidate, Endpoint, ModelInfo, Target
from lmchat.domain.target_choice import choose, choose_without_asking, why_no_model, why_unusable
from lmchat.domain.telemetry import Metrics
from lmchat.domain.tool import Run, call_message, run_call
from lmchat.domain.turn import WholeAnswer
from lmchat.errors import (
    AnswerUnfit,
    LMChatError,
    RequestInvalid,
    ServerRejected,
    ServerUnavailable,
    WrongUse,
)
from lmchat.proxy.api_keys import NoKeys
from lmchat.proxy.client import ProxyClient
from lmchat.proxy.timeouts import first_token_limit

Messages = str | Sequence[ChatMessage | tuple[str, str] | Mapping[str, str]]
"""A prompt, or a list of messages, oldest first: `("user", "Hello")`,
`{"role": "user", "content": "Hello"}` or a `ChatMessage`."""


def messages_of(messages: Messages) -> tuple[ChatMessage, ...]:
    """Return a list of messages as `ChatMessage`s; a prompt becomes one message of the user.

    Raises:
        RequestInvalid: `messages` is neither a prompt nor a list, or the list is empty, or one of
            its entries is not a message.
    """
    if isinstance(messages, str):
        return (text_message(Role.USER, messages),)
    if not isinstance(messages, Sequence):
        raise RequestInvalid("Invalid messages array: pass a prompt or a list of messages.")
    if not messages:
        raise RequestInvalid("Invalid messages array: at least one message is needed.")
    return tuple(_message(entry, position) for position, entry in enumerate(messages, 1))


def _message(entry: object, position: int) -> ChatMessage:
    """Return an entry of a list of messages as a `ChatMessage`.

    Raises `RequestInvalid`, which names `position` (from 1), for an entry that is not a message.
    """
    match entry:
        case ChatMessage():
            return entry
        case {"role": role, "content": content} | (role, content):
            pass  # the message is made below
        case _:
            raise RequestInvalid(f"Invalid messages array: entry {position} is not a message.")

    if not isinstance(role, str) or role not in set(Role):
        raise RequestInvalid(f"Invalid message role: message {position} has an unknown role.")
    if not isinstance(content, str):
        raise RequestInvalid(f"Invalid message content: message {position} has no text.")
    return text_message(Role(role), content)


class Options(TypedDict, total=False):
    """Options for the model; unset options are not sent."""

    temperature: float | None
    """Randomness, 0 to 2."""
    top_p: float | None
    """Nucleus sampling, 0 to 1."""
    max_tokens: int | None
    """Longest answer in tokens."""
    stop: tuple[str, ...]
    """Strings that end the answer."""
    seed: int | None
    """For repeatable answers, if the server supports it."""
    reasoning_effort: str
    """How much the model thinks, `none` to `max`, if server and model support it."""
    keep_loaded_s: int | None
    """Seconds the unused model stays in memory, if a request can set this."""
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
    """Tool calls of the model that were not run, as no `tools` were passed."""
    steps: tuple[ChatMessage, ...] = ()
    """The calls of `tools` that were run, oldest first: messages with `tool_calls` and
    `tool_result`."""
    model: str
    """The model that answered, as the server named it."""
    endpoint: str
    """URL of the server that answered."""
    finish_reason: str
    """Why the answer ended, as the server said it; empty if it did not."""
    receipt: Receipt
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
    """The value as a Python object."""
    answer: Answer
    """The answer that contains the value."""
    first_misfit: str = ""
    """Why the first answer did not match, if lmchat asked again."""


def _sampling_of(options: Options) -> Sampling:
    """Return the sampling of options; raises `WrongUse` for a wrong one among the further options.

    A further option that `Sampling` has a field for, such as `top_p`, replaces this field.
    """
    from lmchat.domain.sampling import checked_option  # noqa: PLC0415 - few programs need it

    sampling = Sampling(**options)
    more = {name: checked_option(name, value) for name, value in sampling.more.items()}
    return replace(sampling, more={}).with_options(more)


_POLL_S = 0.5  # between two checks of a server that loads its model
_NOTHING_REMEMBERED = Remembered()  # a program has no servers and models of earlier chats


class ClientOptions(TypedDict, total=False):
    """How to reach a server."""

    model: str
    """Model to use; default: a loaded one."""
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
        self._given_endpoint = Endpoint.parse(endpoint) if endpoint else None
        self._model = settings.get("model", "")
        self._chosen_endpoint: Endpoint | None = None  # the server that was found
        self._targets: dict[str, Target] = {}  # by the name of the model; "" for any
        self._target_lock = asyncio.Lock()
        self._timeouts = settings.get("timeouts") or TimeoutSettings()
        proxy_settings = Settings(
            endpoint=endpoint,
            allowed_hosts=tuple(settings.get("allowed_hosts", ())),
            limits=settings.get("limits") or LimitSettings(),
            timeouts=self._timeouts,
        )
        keys = _CallersKey(settings.get("key", ""), self._given_endpoint)
        self._proxy = ProxyClient(proxy_settings, keys=keys)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def health(self) -> Candidate:
        """Check the server, or find one, and return its state.

        A server that does not answer is not an error: `next_step` says what to do. If no server
        can be used, one that answers is returned, or else the first address that was tried.
        """
        candidates = await self._candidates()
        chosen = choose(candidates, model=self._model, remembered=_NOTHING_REMEMBERED).candidate
        if chosen is not None:
            return chosen
        servers = [candidate for candidate in candidates if candidate.verdict.is_server]
        return servers[0] if servers else candidates[0]

    async def detect(self) -> tuple[Candidate, ...]:
        """Check the given address and all usual ones at the same time; the best comes first."""
        return await self._proxy.detect(
            expected=(self._given_endpoint,) if self._given_endpoint else ()
        )

    async def models(self, *, is_refresh: bool = False) -> tuple[ModelInfo, ...]:
        """List the models.

        The list is cached for ten minutes, `is_refresh=True` asks the server again. If the server
        does not answer, the last list is returned, however old it is.
        """
        endpoint = await self._find_endpoint()
        model_list = await self._proxy.models(endpoint, is_refresh=is_refresh)
        return model_list.models

    async def load(
        self,
        model: str,
        *,
        context: int | None = None,
        keep_loaded_s: int | None = None,
        on_progress: Callable[[float], None] | None = None,
    ) -> None:
        """Load a model and return when it is loaded, if the server supports that.

        `context` is the size of the context window in tokens. `keep_loaded_s` is how many seconds
        the unused model stays in memory. `on_progress` is called with a fraction from 0 to 1, if
        the server reports it.
        """
        await self._proxy.load(
            await self._model_info(model),
            options=LoadOptions(context=context, keep_loaded_s=keep_loaded_s),
            on_progress=on_progress,
        )

    async def unload(self, model: str) -> None:
        """Unload a model, if the server supports that."""
        await self._proxy.unload(await self._model_info(model))

    async def chat(
        self,
        messages: Messages,
        *,
        model: str = "",
        tools: Sequence[Callable[..., Any]] = (),
        **options: Unpack[Options],
    ) -> Answer:
        """Return the answer to a prompt or a list of messages.

        An answer that breaks off raises an error. `tools` are functions, also async ones, with type
        hints and a docstring. The model may call them, and they run without asking; results and
        errors are sent back until it answers, at most 10 times.
        """
        request = await self._new_request(messages, model, options)
        if tools:
            return await self._answer_with_tools(request, model, tools)
        return await self._whole_answer(request, model)

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
        the schema.
        """
        from lmchat.structured.json_schema import WantedValue  # noqa: PLC0415 - slow

        sent = messages_of(messages)
        first_misfit = ""
        wanted = WantedValue(schema, name=name)
        await wanted.require_valid()
        while True:
            request = await self._new_request(sent, model, options, wanted.output)
            answer = await self._whole_answer(request, model)
            try:
                value = await wanted.value_in(
                    answer.text,
                    thought=answer.reasoning,
                    finish_reason=answer.finish_reason,
                    is_refusal=bool(answer.refusal),
                )
            except AnswerUnfit as error:
                # Only one more answer is asked for; an empty prompt means that it would not help.
                retry_prompt = "" if first_misfit else wanted.retry_prompt()
                if not retry_prompt:
                    raise
                first_misfit = error.message
                if answer.text.strip():  # a message without text would be refused
                    sent = (*sent, answer.message)
                sent = (*sent, text_message(Role.USER, retry_prompt))
            else:
                return JsonAnswer(value=value, answer=answer, first_misfit=first_misfit)

    async def count_tokens(
        self, messages: Messages, *, model: str = "", **options: Unpack[Options]
    ) -> int | None:
        """Return how many tokens the server counts in a prompt; None if it cannot count now."""
        request = await self._new_request(messages, model, options)
        return await self._proxy.count_tokens(request)

    async def stream(
        self, messages: Messages, *, model: str = "", **options: Unpack[Options]
    ) -> AsyncGenerator[StreamEvent, None]:
        """Yield the events of an answer; the last is a `StreamFinished`.

        Wrap it in `contextlib.aclosing`: leaving it early closes the connection, and the server
        stops.
        """
        request = await self._new_request(messages, model, options)
        async with aclosing(self._events_of(request)) as events:
            async for event in events:
                yield event

    def metrics(self) -> Metrics:
        """Return what this client has counted."""
        return self._proxy.metrics()

    def reset_metrics(self) -> None:
        """Set the counters to 0."""
        self._proxy.reset_metrics()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._proxy.aclose()

    async def _whole_answer(self, request: ChatRequest, model: str) -> Answer:
        """Send a request and return its answer when it is complete.

        `model` is the name that the caller gave, by which the target is kept in `_targets`; the
        receipt needs the context window of this target.
        """
        target = self._targets.get(model or self._model)
        context = target.model.context if target and target.model else None
        whole = WholeAnswer(request.model)
        await whole.read(self._events_of(request))
        content = whole.growing
        turn = whole.turn
        return Answer(
            text=content.text("text", "refusal"),
            reasoning=content.text("reasoning"),
            refusal=content.text("refusal"),
            tool_calls=tuple(part for part in content.parts if isinstance(part, ToolCallPart)),
            model=turn.model,
            endpoint=request.endpoint.url,
            finish_reason=turn.finish_reason,
            receipt=turn.receipt(context=context, max_tokens=request.sampling.max_tokens),
        )

    async def _answer_with_tools(
        self, request: ChatRequest, model: str, functions: Sequence[Callable[..., Any]]
    ) -> Answer:
        """Return the first answer without a tool call; `functions` are the tools that are offered.

        The calls of each answer before it are run at the same time. Then the answer and the results
        of its calls are added to the request, which is sent again. `steps` of the returned answer
        are these results, oldest first.

        Raises:
            LMChatError: the results were sent `max_steps` times, and the model still calls tools.
        """
        from lmchat.structured.functions import FunctionTool  # noqa: PLC0415 - slow

        function_tools = {tool.tool.name: tool for tool in map(FunctionTool, functions)}
        runs: Mapping[str, Run] = {name: tool.call for name, tool in function_tools.items()}
        request = replace(request, tools=tuple(tool.tool for tool in function_tools.values()))
        steps: list[ChatMessage] = []
        max_steps = ToolSettings().max_steps
        for step in range(max_steps + 1):
            answer = await self._whole_answer(request, model)
            calls = answer.tool_calls
            if not calls:
                return replace(answer, steps=tuple(steps))
            if step == max_steps:  # results of these calls would not be sent any more
                break
            # `get` returns None for a tool that is not offered; the result is then an error.
            running = [run_call(call_message(call), runs.get(call.name)) for call in calls]
            results = await asyncio.gather(*running)
            steps += results
            message = replace(answer.message, parts=(*answer.message.parts, *calls))
            request = replace(request, messages=(*request.messages, message, *results))
        raise LMChatError(
            f"The model called tools {max_steps} times without an answer.",
            kind="tool_limit",
            hint="Change the prompt, or the results of the tools.",
        )

    async def _events_of(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        """Yield the events of an answer.

        If the server does not answer, or has no model of this name any more, forget the server and
        models that were found, and raise its error. The next request then finds them again.
        """
        try:
            async with aclosing(self._proxy.stream(request)) as events:
                async for event in events:
                    yield event
        except (ServerUnavailable, ServerRejected) as error:
            if isinstance(error, ServerUnavailable) or error.kind == "model_missing":
                self._targets.clear()
                self._chosen_endpoint = None
            raise

    async def _new_request(
        self, messages: Messages, model: str, options: Options, output: WantedOutput | None = None
    ) -> ChatRequest:
        """Return a request with these messages to the server and model that `_target` returns.

        An empty `model` means the model of the client; without an `output`, any text is wanted.
        """
        sent = messages_of(messages)
        target = await self._target(model or self._model)
        return ChatRequest(
            endpoint=target.endpoint,
            product=target.product,
            model=target.model_id,
            messages=sent,
            sampling=_sampling_of(options),
            output=output or AnyText(),
        )

    async def _target(self, model: str) -> Target:
        """Return the server and model for the name of a model; an empty name means any model.

        They are found with the first call for this name, and kept for later calls.
        """
        async with self._target_lock:  # requests at the same time share one search
            if model not in self._targets:
                self._targets[model] = await self._find_target(model)
            return self._targets[model]

    async def _find_target(self, model: str) -> Target:
        """Choose the server and the model of this name; an empty name means any model.

        If the server is loading the model, wait until that has ended. The address of the server is
        kept in `_chosen_endpoint` for later calls.

        Raises:
            ServerUnavailable: the model was not loaded within the limit for the first token.
            LMChatError: no server has a model that can be used.
        """
        candidates = await self._candidates()
        choice = choose_without_asking(candidates, model=model, remembered=_NOTHING_REMEMBERED)
        async with first_token_limit(self._timeouts.first_token_s):
            while choice.target is not None and choice.awaits_model:
                await asyncio.sleep(_POLL_S)
                candidate = await self._proxy.check(choice.target.endpoint)
                choice = choose_without_asking(
                    (candidate,), model=model, remembered=_NOTHING_REMEMBERED
                )
        if choice.target is None or choice.target.model is None:
            raise why_no_model(choice)
        self._chosen_endpoint = choice.target.endpoint
        return choice.target

    async def _candidates(self) -> tuple[Candidate, ...]:
        """Probe the server that was given, or found before; return its candidate alone.

        If there is neither, probe all usual addresses and return a candidate for each.
        """
        endpoint = self._given_endpoint or self._chosen_endpoint
        if endpoint is None:
            return await self.detect()
        return (await self._proxy.check(endpoint),)

    async def _find_endpoint(self) -> Endpoint:
        """Return the address of the server that was given, or found before.

        If there is neither, probe all usual addresses, and keep the best server that can be used.

        Raises:
            LMChatError: no server can be used.
        """
        endpoint = self._given_endpoint or self._chosen_endpoint
        if endpoint is not None:
            return endpoint
        candidates = await self.detect()
        chosen = choose(candidates, model=self._model, remembered=_NOTHING_REMEMBERED).candidate
        if chosen is None:
            raise why_unusable(candidates)
        self._chosen_endpoint = chosen.endpoint
        return chosen.endpoint

    async def _model_info(self, name: str) -> ModelInfo:
        """Ask the server for its models and return the one of this name.

        Raises `RequestInvalid` if none exists.
        """
        for model in await self.models(is_refresh=True):
            if model.model_id == name:
                return model
        raise RequestInvalid(f"The server has no model {name!r}.", kind="model_missing")


class _CallersKey(NoKeys):
    """API key that a program has passed to `Client`.

    It is sent to the server that the program named, or else to any server of this machine.
    """

    def __init__(self, key: str, given_endpoint: Endpoint | None) -> None:
        self._key = key
        self._given_endpoint = given_endpoint

    def key_for(self, endpoint: Endpoint) -> str | None:
        if self._given_endpoint is None:
            may_have_key = endpoint.is_loopback
        else:
            may_have_key = endpoint.origin == self._given_endpoint.origin
        if not may_have_key:
            return None
        return self._key or None


T = TypeVar("T")  # result of a method
P = ParamSpec("P")  # parameters of a method, without `self`


def _blocking(
    method: Callable[Concatenate[Client, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[SyncClient, P], T]:
    """Return a method of `SyncClient` that runs `method` of its `Client` and waits for it."""

    @wraps(method)
    def run_and_wait(self: SyncClient, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._wait_for(self._start(lambda: method(self._client, *args, **kwargs)))

    return run_and_wait


_CLOSED = "This client is closed."


class SyncClient:
    """`Client` with blocking calls; close it: `with SyncClient() as client`.

    Its methods are those of `Client` without `await`; `on_progress` is called in another thread.
    Several threads may share one client.
    """

    health = _blocking(Client.health)
    detect = _blocking(Client.detect)
    models = _blocking(Client.models)
    load = _blocking(Client.load)
    unload = _blocking(Client.unload)
    chat = _blocking(Client.chat)
    chat_json = _blocking(Client.chat_json)
    count_tokens = _blocking(Client.count_tokens)

    def __init__(self, endpoint: str = "", **settings: Unpack[ClientOptions]) -> None:
        self._client = Client(endpoint, **settings)
        self._start_lock = threading.Lock()  # nothing is started while `close` runs
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
        events: SimpleQueue[StreamEvent | None] = SimpleQueue()

        async def fill_queue() -> None:
            """Put each event into the queue, and None after the stream is closed."""
            try:
                stream = self._client.stream(messages, model=model, **options)
                async with aclosing(stream) as incoming:
                    async for event in incoming:
                        events.put(event)
            finally:
                events.put(None)

        running = self._start(fill_queue)
        event: StreamEvent | None = None  # the last one that was taken; None behind the stream
        try:
            while (event := events.get()) is not None:
                yield event
            self._wait_for(running)  # raises the error with which the stream has ended, if any
        finally:
            running.cancel()
            # If the caller has left early, wait until the stream is closed, and with it the
            # connection: None then follows. But if the garbage collector of Python closes this
            # generator in the thread of the loop, that thread must not wait for itself.
            is_own_thread = threading.current_thread() is self._thread
            while event is not None and not is_own_thread:
                event = events.get()

    def metrics(self) -> Metrics:
        """Return what this client has counted."""
        return self._client.metrics()

    def reset_metrics(self) -> None:
        """Set the counters to 0."""
        self._client.reset_metrics()

    def close(self) -> None:
        """Close all connections and end the thread; running calls are stopped."""
        self._refuse_own_thread()
        with self._start_lock:
            if self._loop.is_closed():
                return
            asyncio.run_coroutine_threadsafe(self._stop_tasks(), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    async def _stop_tasks(self) -> None:
        """Cancel all other tasks of the loop, wait for them, and close the connections."""
        running = asyncio.all_tasks() - {asyncio.current_task()}
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await self._client.aclose()

    def _start(self, work: Callable[[], Coroutine[Any, Any, T]]) -> Future[T]:
        """Call `work`, start its coroutine in the thread of the loop, and return the future.

        Raises `WrongUse` after `close`, or if this method is called in the thread of the loop.
        """
        self._refuse_own_thread()
        with self._start_lock:
            if self._loop.is_closed():
                raise WrongUse(_CLOSED)
            return asyncio.run_coroutine_threadsafe(work(), self._loop)

    def _wait_for(self, running: Future[T]) -> T:
        """Wait for a coroutine that was started; return its result, or raise its error.

        Raises `WrongUse` if `close` has cancelled the coroutine. If the wait is interrupted, for
        example by Ctrl+C, the coroutine is cancelled.
        """
        try:
            return running.result()
        except CancelledError:
            raise WrongUse(_CLOSED) from None
        finally:
            running.cancel()  # changes nothing if the coroutine has ended

    def _refuse_own_thread(self) -> None:
        """Raise `WrongUse` in the thread of the loop, which would wait for itself for ever.

        `on_progress` is called in that thread, and may try to use the client.
        """
        if threading.current_thread() is self._thread:
            raise WrongUse("This client cannot be used from its own `on_progress`.")
