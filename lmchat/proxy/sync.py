"""The same client for programs without an event loop: it has one in a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import aclosing, suppress
from queue import SimpleQueue
from typing import Any, Generic, Self, TypeVar, Unpack

from lmchat.config.settings import LimitSettings, TimeoutSettings
from lmchat.domain.event import StreamEvent
from lmchat.domain.server import Candidate, ModelInfo
from lmchat.domain.telemetry import Metrics
from lmchat.errors import WrongUse
from lmchat.proxy.api import Client
from lmchat.proxy.messages import Messages
from lmchat.proxy.whole_answer import Answer, JsonAnswer, Options

T = TypeVar("T")

_CLOSED = "This client is closed."
_OWN_THREAD = "This client cannot be used from its own `on_progress`."


class _Running(Generic[T]):
    """Something that runs in the event loop of another thread."""

    def __init__(
        self, loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, T], on_end: Callable[[], None]
    ) -> None:
        self._loop = loop
        self._on_end = on_end
        self._is_over = threading.Event()
        self._task: asyncio.Task[T] | None = None
        loop.call_soon_threadsafe(self._start, work)

    def result(self) -> T:
        """Wait for its end; return its result or raise its error."""
        self._is_over.wait()
        if self._task is None or self._task.cancelled():
            raise WrongUse(_CLOSED)
        return self._task.result()

    def stop(self) -> None:
        """Stop it and wait until it has ended."""
        if not self._is_over.is_set():
            with suppress(RuntimeError):  # the loop is closed: then it has ended, or is about to
                self._loop.call_soon_threadsafe(self._cancel)
        self._is_over.wait()

    def _start(self, work: Coroutine[Any, Any, T]) -> None:
        self._task = self._loop.create_task(work)
        self._task.add_done_callback(self._end)

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()

    def _end(self, _: asyncio.Task[T]) -> None:
        self._is_over.set()
        self._on_end()


class SyncClient:
    """`Client` with calls that block; close it: `with SyncClient() as client`.

    What it takes and what it raises is as for `Client`. Several threads may use one.
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
        self._client = Client(
            endpoint, model=model, key=key, allowed_hosts=allowed_hosts, limits=limits, timeouts=timeouts
        )
        self._lock = threading.Lock()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run_loop, name="lmchat-client", daemon=True)
        self._is_closed = False
        self._thread.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def health(self) -> Candidate:
        """Look at the server and return what was found; one that is away is no error."""
        return self._do(self._client.health())

    def detect(self) -> tuple[Candidate, ...]:
        """Look at every place where a model server usually is; the best is the first."""
        return self._do(self._client.detect())

    def models(self, *, is_refresh: bool = False) -> tuple[ModelInfo, ...]:
        """List the models of the server."""
        return self._do(self._client.models(is_refresh=is_refresh))

    def load(
        self,
        model: str,
        *,
        context: int | None = None,
        keep_loaded_s: int | None = None,
        on_progress: Callable[[float], None] | None = None,
    ) -> None:
        """Load a model; `on_progress` is called in another thread."""
        self._do(
            self._client.load(model, context=context, keep_loaded_s=keep_loaded_s, on_progress=on_progress)
        )

    def unload(self, model: str) -> None:
        """Unload a model."""
        self._do(self._client.unload(model))

    def chat(self, messages: Messages, *, model: str = "", **options: Unpack[Options]) -> Answer:
        """Return the whole answer to a prompt, or to messages, oldest first."""
        return self._do(self._client.chat(messages, model=model, **options))

    def count_tokens(self, messages: Messages, *, model: str = "", **options: Unpack[Options]) -> int | None:
        """Return how many tokens a prompt has, as the server counts; None where it cannot, or not now."""
        return self._do(self._client.count_tokens(messages, model=model, **options))

    def chat_json(
        self,
        messages: Messages,
        schema: Mapping[str, object] | None = None,
        *,
        name: str = "answer",
        model: str = "",
        **options: Unpack[Options],
    ) -> JsonAnswer:
        """Return one JSON value that fits a JSON schema; without a schema, one JSON object."""
        return self._do(self._client.chat_json(messages, schema, name=name, model=model, **options))

    def stream(
        self, messages: Messages, *, model: str = "", **options: Unpack[Options]
    ) -> Iterator[StreamEvent]:
        """Yield what happens while an answer is on its way; leaving the loop early closes the connection."""
        events: SimpleQueue[StreamEvent | None] = SimpleQueue()

        async def pump() -> None:
            async with aclosing(self._client.stream(messages, model=model, **options)) as incoming:
                async for event in incoming:
                    events.put(event)

        running = self._begin(pump(), on_end=lambda: events.put(None))
        try:
            while (event := events.get()) is not None:
                yield event
            running.result()
        finally:
            running.stop()

    def metrics(self) -> Metrics:
        """Return what this client has counted."""
        return self._client.metrics()

    def reset_metrics(self) -> None:
        """Set the counters to 0."""
        self._client.reset_metrics()

    def close(self) -> None:
        """Close all connections and end the thread; what still runs is stopped."""
        self._refuse_own_thread()
        with self._lock:
            if self._is_closed:
                return
            self._is_closed = True
            self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a call in the thread and wait for it; Ctrl-C stops it."""
        running = self._begin(work)
        try:
            return running.result()
        finally:
            running.stop()

    def _begin(self, work: Coroutine[Any, Any, T], on_end: Callable[[], None] = lambda: None) -> _Running[T]:
        try:
            self._refuse_own_thread()
        except WrongUse:
            work.close()
            raise
        with self._lock:  # so that whatever is begun is known to the loop before it stops
            if self._is_closed:
                work.close()
                raise WrongUse(_CLOSED)
            return _Running(self._loop, work, on_end)

    def _refuse_own_thread(self) -> None:
        """Refuse a call by what the client itself calls: its thread would wait for itself for ever."""
        if threading.current_thread() is self._thread:
            raise WrongUse(_OWN_THREAD)

    def _run_loop(self) -> None:
        try:
            self._loop.run_forever()
            running = asyncio.all_tasks(self._loop)
            for task in running:
                task.cancel()
            self._loop.run_until_complete(asyncio.wait(running) if running else asyncio.sleep(0))
            self._loop.run_until_complete(self._client.aclose())
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.run_until_complete(self._loop.shutdown_default_executor())
        finally:
            self._loop.close()
