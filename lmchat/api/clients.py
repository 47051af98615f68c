"""Client for programs: a model server in few calls, without a screen and without files."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Self, TypedDict, Unpack

from msgspec import Struct
from msgspec.structs import replace

from lmchat.base.errors import AnswerUnfit, LMChatError, RequestInvalid, ServerRejected
from lmchat.base.metrics import Metrics
from lmchat.base.safe_text import safe_line
from lmchat.core.answers.cut_prompts import with_cut_prompt
from lmchat.core.answers.json_schema import SchemaOutput
from lmchat.core.answers.repetition import Repetition
from lmchat.core.answers.streamed_answer import StreamedAnswer
from lmchat.core.chat.followers import AnswerNow, RepetitionFollower
from lmchat.core.config.settings import LimitSettings, Settings, Stuck, TimeoutSettings
from lmchat.core.config.state import State
from lmchat.core.servers.client import HttpServerClient
from lmchat.core.servers.discovery.choose import no_server_error
from lmchat.core.servers.discovery.finder import ServerFinder
from lmchat.core.servers.discovery.status import ServerStatus, usable_of
from lmchat.core.servers.endpoint import Endpoint
from lmchat.core.servers.events import StreamEvent
from lmchat.core.servers.http.connections import OneKey
from lmchat.core.servers.model import OPENAI_COMPATIBLE, ModelInfo
from lmchat.core.servers.products import product_named
from lmchat.core.servers.request import AnyText, ChatRequest, Sampling
from lmchat.core.servers.sampling_options import checked_option
from lmchat.core.servers.target import Target
from lmchat.core.sessions.given_messages import Messages, messages_of
from lmchat.core.sessions.message import (
    AnswerState,
    AnswerStats,
    ChatMessage,
    ReasoningPart,
    Role,
    ToolCallPart,
    is_cut_end,
    new_id,
    text_message,
)
from lmchat.core.sessions.tokens import MAX_ALTERNATIVES, TokenProbabilities
from lmchat.core.storage.stats_store import StatsStore

_USUAL_ALTERNATIVES = 20  # vLLM and OpenAI refuse to report more


class Options(TypedDict, total=False):
    """Options for the model; unset options are not sent, but for a seed, which lmchat draws.

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


class RequestOptions(Options, total=False):
    """Options for the model, and what a request may have beside them."""

    wanted: SchemaOutput | None
    """JSON value that is wanted; the answer is not checked: `Answer.value_of` returns the value."""
    files: Mapping[str, bytes]
    """Contents of the attached files of the messages, by `FilePart.digest`."""
    stuck: Stuck
    """What happens if the model repeats itself for about 8,000 tokens.

    "tell", the default: a `Repetition` says so; "act": lmchat ends the thought, or the answer;
    "off": nothing.
    """
    is_batch: bool
    """One of many: at a server of this machine, the limit of requests a minute does not count it.
    """


Show = Callable[[StreamEvent | Repetition], object]
"""Gets each event of an answer."""


class Answer(Struct, frozen=True, kw_only=True):
    """An answer, which is complete unless it has an `error`."""

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
    tokens: tuple[TokenProbabilities, ...] = ()
    """Tokens with their probabilities, if they were asked for, as with `more={"logprobs": 5}`."""
    is_stuck: bool = False
    """Whether lmchat has ended it, or its thought, as it repeated itself."""
    error: LMChatError | None = None
    """Why it is not complete, with `may_fail`."""

    def value_of(self, wanted: SchemaOutput) -> Any:
        """Return the JSON value of the answer; raise `AnswerUnfit`."""
        return wanted.value_in(
            self.text,
            thought=self.reasoning,
            finish_reason=self.finish_reason,
            is_refusal=bool(self.refusal),
        )

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

    @classmethod
    def sharing(
        cls,
        backend: HttpServerClient,
        finder: ServerFinder,
        *named: Endpoint,
        stats_store: StatsStore,
    ) -> Self:
        """For `Home`, which closes what is shared."""
        client = cls.__new__(cls)
        client._connect(backend, finder, *named, stats_store=stats_store)  # noqa: SLF001 - its own class
        return client

    def __init__(self, endpoint: str = "", **settings: Unpack[ClientOptions]) -> None:
        # Python itself accepts any name, as `settings` takes them all
        for name in settings.keys() - ClientOptions.__annotations__.keys():
            raise TypeError(f"Unexpected keyword argument {name!r}")
        named = (Endpoint.parse(endpoint),) if endpoint else ()
        own_settings = Settings(
            endpoint=endpoint,
            allowed_hosts=tuple(settings.get("allowed_hosts", ())),
            limits=settings.get("limits") or LimitSettings(),
            timeouts=settings.get("timeouts") or TimeoutSettings(),
        )
        backend = HttpServerClient(own_settings, keys=OneKey(settings.get("key", ""), *named))
        # without a memory of earlier chats, whose server and model the screen would prefer
        finder = ServerFinder(backend.models, own_settings, State)
        self._connect(backend, finder, *named, model=settings.get("model", ""))

    def _connect(
        self,
        backend: HttpServerClient,
        finder: ServerFinder,
        *named: Endpoint,
        model: str = "",
        stats_store: StatsStore | None = None,
    ) -> None:
        self._stats_store = stats_store  # that of `Home`, where all answers count
        self._backend = backend
        self._finder = finder
        self._named = named
        self._model = model

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

    async def model(self, name: str = "") -> ModelInfo:
        """Return the model that a request would use, once its server has loaded one.

        A remote model is returned only for its whole name. At a named address, a name that the
        server does not list is taken: its chat decides. Raises as `chat` does.
        """
        return await self._chosen(name)

    def beside(self, model: ModelInfo) -> Callable[[str], ModelInfo]:
        """Return a function that finds models of the same server by name, in its list of now.

        `model` is that of the last look. A missing one raises `WrongUse`, but not at a named
        address, as in `model`. The name may be a remote one's: the caller decides.
        """
        return self._finder.beside(model)

    def slots(self, model: ModelInfo) -> int:
        """Return how many requests its server answers at once; the others wait."""
        return model.slots or product_named(model.product).lists.slots

    async def chat(
        self,
        messages: Messages,
        *,
        model: str | ModelInfo = "",
        show: Show = lambda _: None,
        may_fail: bool = False,
        **options: Unpack[RequestOptions],
    ) -> Answer:
        """Return the answer to a prompt or a list of messages; `show` gets its events.

        An answer that breaks off raises an error; with `may_fail`, it is returned with its `error`.
        If no seed is set and the server takes one, a seed is drawn, so that `AnswerStats.sampling`
        can repeat the answer.
        """
        stuck = options.pop("stuck", "tell")
        request = await self._request(messages_of(messages), model, options)
        return await self._answer(request, stuck=stuck, show=show, may_fail=may_fail)

    async def chat_json(
        self,
        messages: Messages,
        schema: Mapping[str, object] | None = None,
        *,
        name: str = "answer",
        model: str | ModelInfo = "",
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
            answer = await self.chat(sent, model=model, wanted=wanted, **options)
            try:
                value = answer.value_of(wanted)
            except AnswerUnfit as error:
                if first_misfit or not error.retry_prompt:  # only one more answer is asked for
                    raise
                first_misfit = error.message
                if answer.text.strip():  # a message without text would be refused
                    sent = (*sent, answer.message)
                sent = (*sent, text_message(Role.USER, error.retry_prompt))
            else:
                return JsonAnswer(value=value, answer=answer, first_misfit=first_misfit)

    async def choose(
        self,
        messages: Messages,
        labels: Sequence[str],
        *,
        model: str | ModelInfo = "",
        show: Show = lambda _: None,
        **options: Unpack[Options],
    ) -> Answer:
        """Return an answer of one token: `tokens[0]` has it, with others and their probabilities.

        Where the server can do so, it is one of `labels`, which are single letters and digits.
        Raises `ServerRejected` if the server reports no probabilities, or has left out a part of
        the prompt.
        """
        target = Target.of(await self._chosen(model))
        given = checked_options(options)
        values = _label_options(target, labels, given)
        request = ChatRequest(
            target=target,
            messages=messages_of(messages),
            # they replace those of the caller: else no probability would be reported
            sampling=Sampling().with_options({**given, **values}),
        )
        answer = await self._answer(request, show=show, is_label=True)
        if not answer.tokens:
            raise _no_probabilities_error(target.product)
        return answer

    async def stream(
        self,
        messages: Messages,
        *,
        model: str | ModelInfo = "",
        **options: Unpack[RequestOptions],
    ) -> AsyncGenerator[StreamEvent | Repetition, None]:
        """Yield the events of an answer; the last is a `StreamFinished`.

        Wrap it in `contextlib.aclosing`: leaving it early closes the connection, and the server
        stops. An answer that lmchat ends has no `StreamFinished`.
        """
        stuck = options.pop("stuck", "tell")
        request = await self._request(messages_of(messages), model, options)
        streamed = StreamedAnswer(request.target)
        async with aclosing(self._events_of(request, streamed, stuck)) as events:
            async for event in events:
                yield event

    def metrics(self) -> Metrics:
        """Return what this client has counted."""
        return self._backend.counters.metrics

    def reset_metrics(self) -> None:
        """Set the counters to 0."""
        self._backend.counters.reset()

    async def aclose(self) -> None:
        """Close all connections."""
        await self._backend.aclose()

    async def _answer(
        self,
        request: ChatRequest,
        *,
        show: Show,
        stuck: Stuck = "tell",
        may_fail: bool = False,
        is_label: bool = False,
    ) -> Answer:
        """An answer that `is_label` is worth nothing if the prompt was cut."""
        streamed = StreamedAnswer(request.target, max_tokens=request.sampling.max_tokens)
        content = streamed.content
        live = streamed.stats
        failure = None
        try:
            async with aclosing(self._events_of(request, streamed, stuck)) as events:
                async for event in events:
                    show(event)
            has_reply = any(not isinstance(part, ReasoningPart) for part in content.parts)
            stats = with_cut_prompt(live.saved(), request, has_reply=has_reply and not is_label)
        except LMChatError as error:
            if not may_fail:
                raise
            failure = error
            stats = live.saved()
        return Answer(
            text=content.text("text", "refusal"),
            reasoning=content.text("reasoning"),
            refusal=content.text("refusal"),  # also in `text`
            tool_calls=tuple(part for part in content.parts if isinstance(part, ToolCallPart)),
            model=live.model,
            endpoint=request.target.endpoint.url,
            finish_reason=live.finish_reason,
            stats=stats,
            tokens=tuple(streamed.tokens),
            is_stuck=streamed.is_stuck,
            error=failure,
        )

    async def _events_of(
        self, request: ChatRequest, streamed: StreamedAnswer, stuck: Stuck
    ) -> AsyncGenerator[StreamEvent | Repetition, None]:
        """Yield events, which are added to `streamed`, and what is told of them.

        After an error, the next request looks for the server again.
        """
        told: list[StreamEvent | Repetition] = []
        is_stopped = asyncio.Event()
        answer_now = AnswerNow(self._backend, request.target, streamed, told.append)
        repetition = RepetitionFollower(
            stuck, streamed, answer_now, stop=is_stopped.set, report=told.append
        )
        state = AnswerState.STOPPED
        try:
            async with aclosing(self._backend.stream(request)) as events:
                async for event in events:
                    streamed.add(event)
                    yield event
                    for follower in (answer_now, repetition):
                        await follower.add(event)
                    while told:
                        yield told.pop(0)
                    if is_stopped.is_set():
                        break
            if is_cut_end(streamed.stats.finish_reason) and (said := repetition.at_cut_end()):
                yield said
            state = AnswerState.COMPLETE
        except LMChatError:
            self._finder.forget()
            state = AnswerState.INTERRUPTED if streamed.stats.has_text else AnswerState.FAILED
            raise
        finally:
            streamed.end(state)
            if self._stats_store is not None:
                await self._stats_store.add(
                    new_id(),
                    endpoint=request.target.server_id,
                    model=streamed.stats.model,
                    state=state,
                    stats=streamed.stats.saved(),
                    stalls=streamed.stats.stalls,
                )

    async def _request(
        self, messages: tuple[ChatMessage, ...], model: str | ModelInfo, options: RequestOptions
    ) -> ChatRequest:
        """Raises `WrongUse` for a wrong option."""
        wanted = options.pop("wanted", None)
        is_batch = options.pop("is_batch", False)
        files = options.pop("files", {})
        sampling = Sampling().with_options(checked_options(options))
        target = Target.of(await self._chosen(model))
        return product_named(target.product).seeded(
            ChatRequest(
                target=target,
                messages=messages,
                sampling=sampling,
                output=wanted.output if wanted else AnyText(),
                files=files,
                is_batch=is_batch,
            )
        )

    async def _chosen(self, model: str | ModelInfo) -> ModelInfo:
        return await chosen_model(self._finder, model or self._model)


async def chosen_model(finder: ServerFinder, chosen: object) -> ModelInfo:
    """Return the model of a request.

    Raises `RequestInvalid` for a remote model that was not named here, but in the configuration.
    """
    if isinstance(chosen, ModelInfo):
        return chosen
    if not isinstance(chosen, str):  # a program may have passed anything
        raise RequestInvalid("Invalid model parameter: a model name must be a text.")
    model = await finder.ready_model(chosen)
    if model.is_remote and not chosen:
        raise RequestInvalid(
            f"{safe_line(model.model_id)} does not run on this machine, and was not named here.",
            next_step="Pass its whole name as the model.",
            kind="model_missing",
        )
    return model


def checked_options(options: Options) -> dict[str, object]:
    """Return values by name; one in `more` replaces one with a field of its own, such as `top_p`.

    Raises `WrongUse` for a wrong option.
    """
    set_options = Sampling(**options).options
    return {name: checked_option(name, value) for name, value in set_options.items()}


def _label_options(
    target: Target, labels: Sequence[str], given: Mapping[str, object]
) -> dict[str, object]:
    """Make a server report the probabilities of labels; `given` are the caller's options.

    llama.cpp reports them as they were before its samplers and the grammar. Without the grammar,
    the model could end its answer at once, with no token. Its cache is not used, unless `given`
    sets `cache_prompt`: it changes the probabilities by up to 0.01, but the same call should always
    get the same.

    An unknown server may report them. Raises `ServerRejected` for a product that is known to report
    none.
    """
    product = product_named(target.product)
    options: dict[str, object] = {"max_tokens": 1, "temperature": 1.0}
    if product.options.takes_effort("none", target.model):
        options["reasoning_effort"] = "none"
    if product.options.takes_further_options:  # llama.cpp, the built-in engine and Jan
        options |= {
            "logprobs": MAX_ALTERNATIVES,
            "post_sampling_probs": False,
            "grammar": f"root ::= [{''.join(labels)}]",
            "cache_prompt": given.get("cache_prompt", False),
        }
    elif "logprobs" in product.options.sampling_fields:
        options |= {"logprobs": _USUAL_ALTERNATIVES}
    elif target.product == OPENAI_COMPATIBLE:
        options |= {"extra.logprobs": True, "extra.top_logprobs": _USUAL_ALTERNATIVES}
    else:
        raise _no_probabilities_error(target.product)
    return options


def _no_probabilities_error(product_name: str) -> ServerRejected:
    return ServerRejected(
        f"{product_named(product_name).subject} does not report the probabilities of tokens.",
        kind="unsupported",
        next_step="Use a server that does, such as llama.cpp or vLLM.",
    )
