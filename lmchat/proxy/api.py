"""The proxy-client layer for programs: a model server in few calls, without a screen and without files."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import aclosing
from typing import Self, Unpack

from lmchat.config.settings import LimitSettings, Settings, TimeoutSettings
from lmchat.domain.candidate import Need, Remembered, arrive, choose, why_no_model, why_unusable
from lmchat.domain.event import StreamEvent
from lmchat.domain.message import AnswerState
from lmchat.domain.request import AnyText, ChatRequest, Output, Sampling
from lmchat.domain.server import Candidate, Endpoint, ModelInfo, Target
from lmchat.domain.telemetry import Metrics
from lmchat.domain.turn import GrowingAnswer, Turn
from lmchat.errors import RequestInvalid, ServerUnavailable
from lmchat.proxy.client import ProxyClient
from lmchat.proxy.for_programs import for_programs
from lmchat.proxy.json_chat import fitting_answer
from lmchat.proxy.messages import Messages, messages_of
from lmchat.proxy.whole_answer import Answer, JsonAnswer, Options

_LOOK_EVERY_S = 0.5
_NOTHING = Remembered()


class Client:
    """A model server: the one that is named, else the best one that is found on this machine.

    Nothing is read from the configuration and nothing is written. Use it in one event loop, and close it:
    `async with Client() as client`.

    Args:
        endpoint: Address of the server, with or without `/v1`; empty: look for one when it is needed.
        model: Model to ask; empty: one that is loaded.
        key: Key of that server; without `endpoint` it goes to servers of this machine alone.
        allowed_hosts: Hosts beyond this machine that may be talked to, "host" or "host:port".
        limits: Requests a minute, size of a request, tries.
        timeouts: How long to wait.

    Raises:
        EndpointNotAllowed: `endpoint` is no address, or a host is none.
    """

    def __init__(
        self,
        endpoint: str = "",
        *,
        model: str = "",
        key: str = "",
        allowed_hosts: Iterable[str] = (),
        limits: LimitSettings | None = None,
        timeouts: TimeoutSettings | None = None,
    ) -> None:
        self._named = Endpoint.parse(endpoint) if endpoint else None
        self._model = model
        self._key = key
        self._found: Endpoint | None = None
        self._targets: dict[str, Target] = {}
        self._lock = asyncio.Lock()
        settings = Settings(
            endpoint=endpoint,
            allowed_hosts=tuple(allowed_hosts),
            limits=limits or LimitSettings(),
            timeouts=timeouts or TimeoutSettings(),
        )
        self._proxy = ProxyClient(settings, key_for=self._key_for)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def health(self) -> Candidate:
        """Look at the server and return what was found; one that is away is no error.

        `verdict` tells how it stands, `next_step` what helps.
        """
        with for_programs():
            candidates = await self._look()
            chosen = choose(candidates, model=self._model, remembered=_NOTHING).candidate
            return chosen or next((one for one in candidates if one.verdict.is_server), candidates[0])

    async def detect(self) -> tuple[Candidate, ...]:
        """Look at every place where a model server usually is, all at once; the best is the first."""
        with for_programs():
            return await self._proxy.detect(expected=(self._named,) if self._named else ())

    async def models(self, *, is_refresh: bool = False) -> tuple[ModelInfo, ...]:
        """List the models of the server; a list holds for ten minutes, unless `is_refresh`."""
        with for_programs():
            return (await self._proxy.models(await self._place(), is_refresh=is_refresh)).models

    async def load(
        self,
        model: str,
        *,
        context: int | None = None,
        keep_loaded_s: int | None = None,
        on_progress: Callable[[float], None] | None = None,
    ) -> None:
        """Load a model and return when it is loaded, where the server can do that.

        `context` is how large its window is to be, in tokens, and `keep_loaded_s` how long it stays in memory
        unused; a server that takes no `context` is an error. `on_progress` is told how far it is, 0 to 1,
        where the server says.
        """
        with for_programs():
            await self._proxy.load(
                await self._info(model), context=context, keep_loaded_s=keep_loaded_s, on_progress=on_progress
            )

    async def unload(self, model: str) -> None:
        """Unload a model, where the server can do that."""
        with for_programs():
            await self._proxy.unload(await self._info(model))

    async def chat(self, messages: Messages, *, model: str = "", **options: Unpack[Options]) -> Answer:
        """Return the whole answer to a prompt, or to messages, oldest first.

        An answer that breaks off is an error and what had come of it is gone: `stream` hands it out.
        """
        with for_programs():
            return await self._whole(await self._request(messages, model, options), model)

    async def chat_json(
        self,
        messages: Messages,
        schema: Mapping[str, object] | None = None,
        *,
        name: str = "answer",
        model: str = "",
        **options: Unpack[Options],
    ) -> JsonAnswer:
        """Return one JSON value that fits a JSON schema; without a schema, one JSON object.

        The server is asked for it in the form that it takes, and what comes is checked here all the same. An
        answer that does not fit is asked for once more; `AnswerUnfit` says what is wrong with the second.
        A schema that is none is refused before anything is sent, and nothing that it names is fetched.
        `name` is what the server is told that the value is.
        """

        async def ask(said: Messages, output: Output) -> Answer:
            return await self._whole(await self._request(said, model, options, output), model)

        with for_programs():
            return await fitting_answer(ask, messages_of(messages), schema, name)

    async def count_tokens(
        self, messages: Messages, *, model: str = "", **options: Unpack[Options]
    ) -> int | None:
        """Return how many tokens a prompt has, as the server counts; None where it cannot, or not now.

        Nothing is loaded for it, and it is not asked while an answer of this client is on its way.
        """
        with for_programs():
            return await self._proxy.count_tokens(await self._request(messages, model, options))

    async def stream(
        self, messages: Messages, *, model: str = "", **options: Unpack[Options]
    ) -> AsyncGenerator[StreamEvent, None]:
        """Yield what happens while an answer is on its way; the last event is a `StreamFinished`.

        Read it under `contextlib.aclosing`: leaving it early closes the connection, and the server stops.
        """
        with for_programs():
            request = await self._request(messages, model, options)
            async with aclosing(self._stream(request)) as events:
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

    async def _whole(self, request: ChatRequest, model: str) -> Answer:
        target = self._targets.get(model or self._model)
        context = target.model.context if target and target.model else None
        growing = GrowingAnswer()
        turn = Turn(model=request.model, started_s=time.monotonic())
        async with aclosing(self._stream(request)) as events:
            async for event in events:
                turn = turn.apply(event, time.monotonic())
                growing.add(event)
        turn = turn.end(AnswerState.COMPLETE, time.monotonic())
        return Answer(
            text="".join([*growing.texts, *growing.refusals]),
            reasoning="".join(growing.thoughts),
            refusal="".join(growing.refusals),
            tool_calls=tuple(growing.calls[index] for index in sorted(growing.calls)),
            model=turn.model,
            endpoint=request.endpoint.url,
            finish_reason=turn.finish_reason,
            receipt=turn.receipt(context=context, max_tokens=request.sampling.max_tokens),
        )

    async def _stream(self, request: ChatRequest) -> AsyncGenerator[StreamEvent, None]:
        try:
            async with aclosing(self._proxy.stream(request)) as events:
                async for event in events:
                    yield event
        except ServerUnavailable:
            self._forget()
            raise

    async def _request(
        self, messages: Messages, model: str, options: Options, output: Output | None = None
    ) -> ChatRequest:
        said = messages_of(messages)
        target = await self._target(model or self._model)
        return ChatRequest(
            endpoint=target.endpoint,
            product=target.product,
            model=target.model_id,
            messages=said,
            sampling=Sampling(**options),
            output=output or AnyText(),
        )

    async def _target(self, model: str) -> Target:
        """Return where to ask which model; looked for once, until the server is away."""
        async with self._lock:
            if model not in self._targets:
                self._targets[model] = await self._find(model)
            return self._targets[model]

    async def _find(self, model: str) -> Target:
        """Choose server and model; waits while a server loads its model."""
        arrival = arrive(await self._look(), model=model, remembered=_NOTHING)
        while arrival.target is not None and arrival.target.model is None and arrival.need is not Need.MODEL:
            await asyncio.sleep(_LOOK_EVERY_S)
            again = await self._proxy.check(arrival.target.endpoint)
            arrival = arrive((again,), model=model, remembered=_NOTHING)
        if arrival.target is None or arrival.target.model is None:
            raise why_no_model(arrival)
        self._found = arrival.target.endpoint
        return arrival.target

    async def _look(self) -> tuple[Candidate, ...]:
        place = self._named or self._found
        return (await self._proxy.check(place),) if place else await self.detect()

    async def _place(self) -> Endpoint:
        """Return the address of the server."""
        place = self._named or self._found
        if place is None:
            candidates = await self.detect()
            chosen = choose(candidates, model=self._model, remembered=_NOTHING).candidate
            if chosen is None:
                raise why_unusable(candidates)
            place = self._found = chosen.endpoint
        return place

    async def _info(self, model: str) -> ModelInfo:
        found = next((one for one in await self.models(is_refresh=True) if one.model_id == model), None)
        if found is None:
            raise RequestInvalid(f"The server has no model {model!r}.", kind="model_missing")
        return found

    def _forget(self) -> None:
        self._targets.clear()
        self._found = None

    def _key_for(self, endpoint: Endpoint) -> str | None:
        is_meant = endpoint.is_loopback if self._named is None else endpoint.origin == self._named.origin
        return self._key or None if is_meant else None
