"""The Python API with blocking calls, for programs without an event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator
from concurrent.futures import Future
from contextlib import suppress
from functools import partial, wraps
from pathlib import Path
from typing import Any, Concatenate, Generic, NamedTuple, ParamSpec, Self, TypeVar, Unpack

from msgspec.structs import replace

from lmchat.api.clients import Client, ClientOptions, RequestOptions
from lmchat.api.home import Ask, Home, RunningTurn, Sessions, Tools, TurnEvent
from lmchat.base.errors import WrongUse
from lmchat.base.processes.background import end_tasks, run_abandonable
from lmchat.core.answers.repetition import Repetition
from lmchat.core.chat.toolbox import ToolQuestion
from lmchat.core.servers.events import StreamEvent
from lmchat.core.servers.model import ModelInfo
from lmchat.core.sessions.given_messages import Messages
from lmchat.core.tools.calls import Decision

S = TypeVar("S")  # class with coroutine methods
T = TypeVar("T")  # result of a method
P = ParamSpec("P")  # parameters of a method, without `self`
_CLOSED = "This client is closed."


class _Exit(NamedTuple):
    """What would end the loop, and is raised in the thread of the caller."""

    error: KeyboardInterrupt | SystemExit


async def _with_exits(work: Coroutine[Any, Any, T]) -> T | _Exit:
    try:
        return await work
    except (KeyboardInterrupt, SystemExit) as error:
        return _Exit(error)


class LoopThread:
    """Thread with an event loop, in which blocking calls run their coroutines."""

    def __init__(self) -> None:
        self._start_lock = threading.Lock()  # no coroutine is started while `close` runs
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="lmchat-client", daemon=True
        )
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the thread of the loop, and wait for it.

        Raises `WrongUse` if `close` was called before, or is called while the coroutine runs, and
        in a child that was forked since. If the wait is interrupted, for example by Ctrl+C, the
        coroutine is cancelled.
        """
        tasks: list[asyncio.Task[T | _Exit]] = []
        ended: Future[None] = Future()

        def start() -> None:
            tasks.append(self._loop.create_task(_with_exits(work)))
            tasks[0].add_done_callback(lambda _: ended.set_result(None))

        with self._start_lock:
            if self._loop.is_closed() or not self._thread.is_alive():
                work.close()
                raise WrongUse(_CLOSED, next_step="Make one in each process, and use it there.")
            self._loop.call_soon_threadsafe(start)
        try:
            ended.result()
        except BaseException:  # Ctrl+C: what is cancelled has ended before the caller goes on
            self._loop.call_soon_threadsafe(lambda: tasks[0].cancel())  # noqa: PLW0108 - `start` makes it
            ended.result()
            raise
        finally:
            if ended.done():
                work.close()  # if it was cancelled before its first step
        if tasks[0].cancelled():
            raise WrongUse(_CLOSED)
        result = tasks[0].result()
        if isinstance(result, _Exit):
            raise result.error
        return result

    def each(self, events: AsyncGenerator[T, None]) -> Generator[T, None, None]:
        """Yield what a generator yields; leaving the loop early closes it."""

        async def next_event() -> T | None:  # `run` needs a coroutine; `anext` is none
            return await anext(events, None)

        try:
            while (event := self.run(next_event())) is not None:
                yield event
        finally:
            # Python's garbage collector may close this generator in the thread of the loop, which
            # must not wait for itself. The loop then closes `events`, which is garbage, too.
            if threading.current_thread() is not self._thread:
                with suppress(WrongUse):  # `close` has closed it
                    self.run(events.aclose())

    def close(self, end: Callable[[], Awaitable[object]]) -> None:
        """Stop what runs, await `end`, and end the thread."""
        with self._start_lock:  # meanwhile, `run` starts nothing in the loop
            if self._loop.is_closed() or not self._thread.is_alive():
                return
            asyncio.run_coroutine_threadsafe(self._stop_tasks(end), self._loop).result()
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    @staticmethod
    async def _stop_tasks(end: Callable[[], Awaitable[object]]) -> None:
        await end_tasks(*(asyncio.all_tasks() - {asyncio.current_task()}))
        await end()


class Blocking(Generic[S]):
    """Blocking calls of an object with coroutine methods."""

    def __init__(self, source: S, thread: LoopThread) -> None:
        self.source = source
        self.thread = thread


def _blocking(
    method: Callable[Concatenate[S, P], Coroutine[Any, Any, T]],
) -> Callable[Concatenate[Blocking[S], P], T]:
    @wraps(method)
    def run_and_wait(self: Blocking[S], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self.thread.run(method(self.source, *args, **kwargs))

    return run_and_wait


def _passed_on(method: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[Blocking[S], P], T]:
    """For a method that waits for nothing."""

    @wraps(method)
    def call(self: Blocking[S], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return method(self.source, *args, **kwargs)

    return call


class SyncClient(Blocking[Client]):
    """`Client` with blocking calls; close it: `with SyncClient() as client`.

    Its methods are those of `Client` without `await`. Several threads may share one client.
    """

    health = _blocking(Client.health)
    detect = _blocking(Client.detect)
    models = _blocking(Client.models)
    model = _blocking(Client.model)
    beside = _passed_on(Client.beside)
    slots = _passed_on(Client.slots)
    chat = _blocking(Client.chat)
    chat_json = _blocking(Client.chat_json)
    choose = _blocking(Client.choose)
    metrics = _passed_on(Client.metrics)
    reset_metrics = _passed_on(Client.reset_metrics)

    @classmethod
    def sharing(cls, client: Client, thread: LoopThread) -> Self:
        """For `SyncHome`, which closes what is shared."""
        shared = cls.__new__(cls)
        Blocking.__init__(shared, client, thread)
        return shared

    def __init__(self, endpoint: str = "", **settings: Unpack[ClientOptions]) -> None:
        super().__init__(Client(endpoint, **settings), LoopThread())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def stream(
        self,
        messages: Messages,
        *,
        model: str | ModelInfo = "",
        **options: Unpack[RequestOptions],
    ) -> Generator[StreamEvent | Repetition, None, None]:
        """Yield the events of an answer; leaving the loop early closes the connection."""
        return self.thread.each(self.source.stream(messages, model=model, **options))

    def close(self) -> None:
        """Close all connections and end the thread; running calls are stopped."""
        self.thread.close(self.source.aclose)


class SyncSessions(Blocking[Sessions]):
    """`Sessions` with blocking calls."""

    list = _blocking(Sessions.list)
    search = _blocking(Sessions.search)
    read = _blocking(Sessions.read)
    add = _blocking(Sessions.add)
    rename = _blocking(Sessions.rename)
    delete = _blocking(Sessions.delete)
    restore = _blocking(Sessions.restore)
    export = _blocking(Sessions.export)


class SyncTools(Blocking[Tools]):
    """`Tools` with blocking calls."""

    start = _blocking(Tools.start)
    call = _blocking(Tools.call)


class SyncHome(Blocking[Home]):
    """`Home` with blocking calls: `with SyncHome() as home`.

    Its methods are those of `Home` without `await`, and its `client`, `sessions` and `tools` have
    blocking calls, too.
    """

    client: SyncClient
    sessions: SyncSessions
    tools: SyncTools

    model = _blocking(Home.model)
    load = _blocking(Home.load)
    options = _passed_on(Home.options)
    next_request = _blocking(Home.next_request)

    def __init__(
        self, folder: Path | None = None, *, profile: str = "", is_temporary: bool = False
    ) -> None:
        super().__init__(Home(folder, profile=profile, is_temporary=is_temporary), LoopThread())

    def __enter__(self) -> Self:
        """Raises `ConfigError`."""
        try:
            self.thread.run(self.source.__aenter__())
        except BaseException:
            self.__exit__()
            raise
        self.client = SyncClient.sharing(self.source.client, self.thread)
        self.sessions = SyncSessions(self.source.sessions, self.thread)
        self.tools = SyncTools(self.source.tools, self.thread)
        return self

    def __exit__(self, *_: object) -> None:
        self.thread.close(self.source.__aexit__)

    def turn(self, ask: Ask | str) -> Generator[TurnEvent, None, None]:
        """As `Home.turn`; `approve` may block: it is called in a thread of its own."""
        return self._events_of(RunningTurn(ask))

    def run(self, ask: Ask) -> RunningTurn[Generator[TurnEvent, None, None]]:
        running: RunningTurn[Generator[TurnEvent, None, None]] = RunningTurn(ask)
        running.events = self._events_of(running)
        return running

    def _events_of(self, running: RunningTurn[Any]) -> Generator[TurnEvent, None, None]:
        if (approve := running.ask.approve) is not None:

            async def decide(question: ToolQuestion) -> Decision:
                decision = await run_abandonable(partial(approve, question))
                return decision if isinstance(decision, Decision) else await decision

            running.ask = replace(running.ask, approve=decide)
        return self.thread.each(self.source._events_of(running))  # noqa: SLF001 - its own API
