"""The user's lmchat for programs: configuration, keys, saved sessions and tool servers."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Mapping,
    Sequence,
)
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Generic, Self, TypeVar, Unpack, cast

from msgspec import Struct
from msgspec.structs import replace

from lmchat.api.clients import Client, Options, checked_options, chosen_model
from lmchat.api.runtime import Runtime, Setup
from lmchat.base.errors import LMChatError, RequestInvalid, StillAnswering, WrongUse
from lmchat.base.files.paths import Paths
from lmchat.base.matching import did_you_mean
from lmchat.base.processes.background import run_abandonable
from lmchat.base.safe_text import safe_line
from lmchat.core.answers.json_schema import SchemaOutput
from lmchat.core.answers.live_stats import LiveStats
from lmchat.core.answers.repetition import Repetition
from lmchat.core.answers.streamed_answer import StreamedAnswer
from lmchat.core.attachments.attachment import Attachment, read_attachment
from lmchat.core.chat.answering import check_start
from lmchat.core.chat.events import (
    AnswerStarted,
    ChatEvent,
    MessageAdded,
    MessageEnded,
    TurnListener,
)
from lmchat.core.chat.preview import curl_command, json_text
from lmchat.core.chat.service import ChatService
from lmchat.core.chat.session import OpenSession, TurnEnded, TurnState
from lmchat.core.chat.settings import SamplingLayers, TurnSettings
from lmchat.core.chat.toolbox import Toolbox, ToolQuestion
from lmchat.core.chat.turn_starts import MakeStart, continued, edited, regenerated
from lmchat.core.config.load import Flags, load
from lmchat.core.formats.exports import EXPORT_FORMATS
from lmchat.core.library.library import ExportAs, Library
from lmchat.core.servers.discovery.finder import ServerFinder
from lmchat.core.servers.endpoint import configured_endpoints
from lmchat.core.servers.events import StreamEvent
from lmchat.core.servers.model import ModelInfo
from lmchat.core.servers.request import SAMPLING_FIELDS, Sampling
from lmchat.core.servers.target import Target
from lmchat.core.sessions.message import (
    AnswerState,
    ChatMessage,
    Role,
    has_text_to_continue,
    is_continuable,
)
from lmchat.core.sessions.prompts import PendingPrompt, Prompt
from lmchat.core.sessions.session import SearchHit, Session, SessionHeader
from lmchat.core.storage.store import Store
from lmchat.core.tools.calls import Decision, Tell, ToolResult, ToolServer

_logger = logging.getLogger(__name__)

Approve = Callable[[ToolQuestion], Awaitable[Decision] | Decision]
"""Decides whether a tool runs: `question.message.tool_calls[0].arguments` is JSON by the model."""

Events = TypeVar("Events")  # asynchronous, or blocking ones
TurnEvent = MessageAdded | AnswerStarted | StreamEvent | Repetition | MessageEnded | TurnEnded
_EventQueue = asyncio.Queue[TurnEvent | BaseException]


class Ask(Struct, frozen=True, kw_only=True):
    """A prompt for a session, or a wish for another answer."""

    prompt: str = ""
    session_id: str = ""  # as `word` of `Sessions`; empty: a new session
    files: Sequence[Path | Attachment] = ()  # texts, images and PDFs that are sent with the prompt
    system: str | None = None
    """System prompt from this turn on, also in later ones; empty: none.

    None: that of the session, for a new one that of the configuration.
    """
    replaces: str = ""
    """Id of a message of the session, of which the prompt becomes another version.

    An empty prompt asks for another answer to it, or in place of this answer.
    """
    continues: str = ""
    """Id of an unfinished answer, which the model continues as another version."""
    model: str | ModelInfo = ""  # a remote one has to be named here, by its whole name
    approve: Approve | None = None
    """Decides about each call of a tool that the user has not always allowed.

    Without it, the model gets no tools.
    """
    start: str = ""  # words with which the answer begins; the model continues them
    wanted: SchemaOutput | None = None  # JSON value that is wanted; the answer is not checked
    options: Options = {}  # for the model, above those of session and configuration

    @property
    def has_prompt(self) -> bool:
        return bool(self.prompt.strip() or self.files)


class NextRequest(Struct, frozen=True, kw_only=True):
    """What a prompt would send."""

    json: str  # the body, indented; images are cut
    curl: str  # a command for a POSIX shell
    notes: tuple[str, ...]  # options that are not sent, and why


class RunningTurn(Generic[Events]):
    """A turn that runs while its `events`, those of `Home.turn`, are read.

    After its end, also a stop: `ended`, `answer`, and `save_error`, which says why the disk lacks
    it. While it runs and then: `session_id`, `stats`, and `streamed`, the answer that started last.
    """

    events: Events

    def __init__(self, ask: Ask | str) -> None:
        self.ask = ask if isinstance(ask, Ask) else Ask(prompt=ask)
        self.queue: _EventQueue = asyncio.Queue()
        self.session_id = ""
        self.session: OpenSession | None = None  # once it has started
        self.state = TurnState()
        self.ended: TurnEnded | None = None
        self.messages: Sequence[ChatMessage] = ()  # at the end
        self.save_error: LMChatError | None = None

    @property
    def stats(self) -> LiveStats | None:
        return self.state.stats

    @property
    def streamed(self) -> StreamedAnswer | None:
        return self.state.answer

    @property
    def answer(self) -> ChatMessage | None:
        """The last answer; `STOPPED` also if the model did not get the results of its calls."""
        if self.ended is None or self.ended.answer is None:
            return None
        is_last = self.ended.answer.message_id == self.messages[-1].message_id
        return (
            self.ended.answer if is_last else replace(self.ended.answer, state=AnswerState.STOPPED)
        )


class _Sending(Struct, frozen=True, kw_only=True):
    """What an `Ask` means."""

    session_id: str  # empty: a new session
    model: ModelInfo
    prompt: Prompt


class Sessions:
    """Saved sessions; `word` is an id, at least its first 4 letters, or `last`.

    All methods raise `StoreUnavailable` if the file cannot be used, and those with a `word`
    `SessionNotFound`.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._library = Library(store)

    async def list(self, *, is_trash: bool = False) -> tuple[SessionHeader, ...]:
        """Return pinned sessions, then those that were changed last; or the trash."""
        return await self._store.list_sessions(is_trash=is_trash)

    async def search(self, words: str, *, limit: int = 20) -> tuple[SearchHit, ...]:
        """Search titles and messages, with filters such as `after:2026-11-01`.

        Raises `WrongUse` for a wrong filter.
        """
        return await self._store.search(words, limit=limit)

    async def read(self, word: str) -> Session:
        """Return a session with its shown path, oldest first, all branches, and files."""
        session = await self._store.open_session(await self._store.find_id(word))
        return await self._library.with_files(await self._library.with_branches(session))

    async def add(self, session: Session) -> bool:
        """Save a session, or the messages that one with its id lacks; return whether any came."""
        for content in session.files.values():  # first, as messages refer to them
            await self._store.files.save(content)
        imported = await self._store.import_session(session)
        return imported.is_new or imported.message_count > 0

    async def rename(self, word: str, title: str) -> None:
        """Change the title; a blank one becomes the beginning of the first prompt."""
        await self._library.rename(await self._store.find_id(word), title)

    async def delete(self, word: str) -> None:
        """Put a session into the trash, where it stays for 30 days."""
        await self._library.delete(await self._store.find_id(word))

    async def restore(self, word: str) -> None:
        """Take a session out of the trash; `last` is the one that was deleted last."""
        await self._library.restore(await self._library.find_deleted(word))

    async def export(self, word: str, form: str = "md", *, with_branches: bool = False) -> str:
        """Return a session in a format of `lmchat export`; JSON has its files and branches.

        Raises `WrongUse` for another form.
        """
        if form not in EXPORT_FORMATS:
            raise WrongUse(
                f"A session cannot be exported as {safe_line(form)}.",
                next_step=f"The forms are {', '.join(EXPORT_FORMATS)}.",
            )
        export_as = ExportAs(form=form, with_branches=with_branches)
        return await self._library.export_text(await self.read(word), export_as)


class Tools:
    """The user's tool servers, and the functions of his `tools.py` as the server `python`."""

    def __init__(self, toolbox: Toolbox, require_open: Callable[[], None] = lambda: None) -> None:
        self._toolbox = toolbox
        self._require_open = require_open

    async def start(self) -> tuple[ToolServer, ...]:
        """Start the servers, and return them when each is ready or has failed."""
        self._require_open()
        return await self._toolbox.host.start_servers()

    async def call(
        self, name: str, arguments: Mapping[str, Any], *, tell: Tell = lambda _: None
    ) -> ToolResult:
        """Run a tool, `SERVER/TOOL`, without asking; an error of the tool is a result, too.

        `tell` gets what the tool says while it runs. Raises `WrongUse` for an unknown tool or one
        that may never run, and `LMChatError` if its server does not work.
        """
        toolbox = self._toolbox
        server_name = name.partition("/")[0]
        servers = await self.start()
        tool = toolbox.find(name)
        if tool is None:
            for server in servers:
                if server.name == server_name and server.error:
                    raise LMChatError(server.error, kind="tools", next_step=server.next_step)
            known = tuple(one.full_name for one in toolbox.tools)
            raise WrongUse(
                f"There is no tool {name}{did_you_mean(name, known)}",
                next_step="`lmchat tools` lists the tools.",
            )
        if toolbox.approval("", tool) == "never":
            raise WrongUse(
                f"{name} may never run.", next_step="Change its approval in config.toml."
            )
        errors: list[BaseException] = []

        def told(words: str) -> None:
            try:
                tell(words)
            except BaseException as error:  # noqa: BLE001 - the caller gets it as it is
                errors.append(error)
                running.cancel()

        running = asyncio.create_task(toolbox.call(tool, arguments, told))
        try:
            return await running
        except asyncio.CancelledError:
            for error in errors:
                raise error from None
            raise


class Home:
    """The user's configuration, keys, sessions and tool servers.

    Use it in one event loop: `async with Home() as home`.

    Args:
        folder: Folder of lmchat's files; None: the user's own.
        profile: A profile of the configuration.
        is_temporary: Sessions are only in memory; those of the user are not read.
    """

    client: Client
    """Requests without a session, by the user's addresses, keys and limits."""
    sessions: Sessions
    tools: Tools

    def __init__(
        self, folder: Path | None = None, *, profile: str = "", is_temporary: bool = False
    ) -> None:
        self._folder = folder
        self._profile = profile
        self._is_temporary = is_temporary
        self._stack = AsyncExitStack()
        self._is_closed = False

    async def __aenter__(self) -> Self:
        """Read the configuration; raises `ConfigError`."""
        setup = await run_abandonable(self._find_setup)
        async with AsyncExitStack() as stack:
            runtime = await stack.enter_async_context(setup.open(note=_logger.warning))
            # a remote model that was chosen on the screen is none that this program names
            runtime = replace(runtime, state=replace(runtime.state, is_remote=False))
            layers = SamplingLayers.of(setup.loaded, self._profile, {})
            opened = self._open(setup, runtime, runtime.finder(), layers, _logger.error)
            await stack.enter_async_context(opened)
            self._chat.drafts.is_kept = False  # a prompt of a program is no draft of the user
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop running turns, save them, and end tool servers."""
        self._is_closed = True
        await self._stack.aclose()

    def _find_setup(self) -> Setup:
        environ = dict(os.environ)
        if self._folder is not None:
            environ["LMCHAT_HOME"] = os.path.abspath(self._folder)  # noqa: PTH100
        paths = Paths.find(environ)
        loaded = load(paths.config_file, environ, Flags(profile=self._profile or None))
        for note in loaded.notes:
            _logger.warning("%s", note.sentence)
        return Setup.of(paths, loaded, environ, is_temporary=self._is_temporary)

    @classmethod
    @asynccontextmanager
    async def on(
        cls,
        setup: Setup,
        runtime: Runtime,
        finder: ServerFinder,
        layers: SamplingLayers,
        note: Callable[[str], object],
    ) -> AsyncIterator[Self]:
        """For the command line, which opens these; `note` gets what is not saved at the end."""
        home = cls()
        async with home._open(setup, runtime, finder, layers, note):
            try:
                yield home
            finally:  # the draft may still have the prompt, in case of a kill
                await home._chat.drafts.write()

    @asynccontextmanager
    async def _open(
        self,
        setup: Setup,
        runtime: Runtime,
        finder: ServerFinder,
        layers: SamplingLayers,
        note: Callable[[str], object],
    ) -> AsyncIterator[None]:
        self._runtime = runtime
        self._finder = finder
        self._chat = chat = ChatService(
            chat=replace(runtime.settings.chat, auto_compact=False, auto_title=False),
            backend=runtime.backend,
            store=runtime.store,
            stats_store=runtime.stats_store,
            layers=layers,
        )
        self._turns = _Turns()
        chat.reporter.listener = self._turns
        named = configured_endpoints(runtime.settings)
        self.client = Client.sharing(
            runtime.backend, finder, *named, stats_store=runtime.stats_store
        )
        self.sessions = Sessions(runtime.store)
        self.toolbox = setup.make_toolbox(runtime.settings, setup.loaded.servers, runtime.state)
        self.tools = Tools(self.toolbox, self._require_open)
        async with aclosing(self.toolbox.host):
            try:
                yield
            finally:
                for session in chat.open_sessions.running:
                    await chat.stop_and_wait(session)
                await chat.close()
                await setup.keep_unsaved(chat, note)

    def _require_open(self) -> None:
        if self._is_closed:
            raise WrongUse("This home is closed.", next_step="Use it within `async with`.")

    async def model(self, name: str = "") -> ModelInfo:
        """Return the model that a chat would use; a remote one only by its whole name, given here.

        Raises as `client.model` does.
        """
        return await chosen_model(self._finder, name)

    async def load(
        self,
        model: ModelInfo,
        *,
        context: int | None = None,
        show: Callable[[float | None], object] = lambda _: None,
    ) -> float | None:
        """Load a model; return the seconds, or None if it was in memory.

        None also if its server loads it with the first prompt. `context` is its window in tokens;
        by default, the server chooses it. `show` gets the progress, 0 to 1, or None if it is not
        known. Raises why the model is not loaded.
        """
        return await self._runtime.load_if_needed(model, context=context, show=show)

    def options(self, model: ModelInfo, **given: Unpack[Options]) -> Options:
        """Return the options of configuration and profile for a model, below those given.

        Raises `WrongUse` for a wrong option, and for a given one that its server ignores.
        """
        values = self._values(model, {}, given)
        named = {name: values.pop(name) for name in SAMPLING_FIELDS if name in values}
        return cast(Options, {**named, "more": values})

    def _values(
        self, model: ModelInfo, session_options: Mapping[str, object], given: Options
    ) -> dict[str, object]:
        layers = self._chat.turn_options.layers
        layers = replace(layers, command_line={**layers.command_line, **checked_options(given)})
        layers.refuse_ignored(model.product)
        return layers.values(session_options, model.model_id)

    def turn(self, ask: Ask | str) -> AsyncGenerator[TurnEvent, None]:
        """Send a prompt, yield all that answers it, and save both.

        Wrap it in `contextlib.aclosing`: leaving it early stops the turn, and what has come is
        saved. A failed answer is no exception, but the `error` of `TurnEnded`.

        A prompt is a `MessageAdded`, whose `session_id` continues the session. An answer begins
        with an `AnswerStarted`, and its `StreamEvent`s follow. If it calls tools, a `MessageEnded`
        is its end; then each call is a `MessageAdded` and a `MessageEnded`, and the next answer
        begins. The last event is a `TurnEnded`.

        Raises:
            LMChatError: Nothing was sent: `SessionNotFound`, `FileRefused`, `WrongUse`,
                `RequestInvalid` while a turn runs in the session, and for a message that cannot be
                replaced or continued, or as `model` does.
            StoreUnavailable: After `TurnEnded`, if the answer could not be saved.
        """
        return self._events_of(RunningTurn(ask))

    def run(self, ask: Ask) -> RunningTurn[AsyncGenerator[TurnEvent, None]]:
        """As `turn`: the turn also knows what has come of it, and whether that is saved."""
        running: RunningTurn[AsyncGenerator[TurnEvent, None]] = RunningTurn(ask)
        running.events = self._events_of(running)
        return running

    async def next_request(self, ask: Ask) -> NextRequest:
        """Return what `run` would send; raise as it does. Nothing is sent or saved but files."""
        sending = await self._sending(ask)
        chat = self._chat
        session = chat.open_sessions.switch_to_new()
        if sending.session_id:
            session = await chat.open_sessions.find_or_load(sending.session_id)
        make_start, settings = await self._start_of(ask, session, sending)
        path = session.messages_so_far
        if message := session.system_message(ask.system):
            path = path.added(message)
        request = await chat.request_of(session, make_start(path), settings)
        prepared = await self._runtime.backend.prepare(request)
        return NextRequest(
            json=json_text(prepared),
            curl=curl_command(prepared),
            notes=tuple(prepared.option_notes.values()),
        )

    async def _sending(self, ask: Ask) -> _Sending:
        """Find what is to be sent, and where: all that does not need the session itself."""
        self._require_open()
        if ask.continues and (ask.has_prompt or ask.system is not None or ask.start):
            raise RequestInvalid("A continued answer takes neither a prompt nor a system prompt.")
        if not (ask.has_prompt or ask.replaces or ask.continues):
            raise RequestInvalid("The prompt is empty.", next_step="Pass a text or files.")
        model = await chosen_model(self._finder, ask.model)
        store = self._runtime.store
        files = [
            file if isinstance(file, Attachment) else await read_attachment(file)
            for file in ask.files
        ]
        for file in files:
            await store.files.save(file.data)
        session_id = ask.session_id
        open_sessions = self._chat.open_sessions
        # one that runs may be new, and the disk may have refused another
        if session_id and session_id not in open_sessions.running_ids | open_sessions.refused_ids:
            session_id = await store.find_id(session_id)
        return _Sending(
            session_id=session_id,
            model=model,
            prompt=Prompt(ask.prompt, tuple(file.part for file in files)),
        )

    async def _start_of(
        self, ask: Ask, session: OpenSession, sending: _Sending
    ) -> tuple[MakeStart, TurnSettings]:
        await session.load_older()
        old_id = ask.continues or ask.replaces
        prompt = sending.prompt
        old = session.messages.find(old_id)
        if old_id:
            roles = [Role.USER] if ask.has_prompt else [Role.USER, Role.ASSISTANT]
            if old is None or not (is_continuable(old) if ask.continues else old.role in roles):
                raise RequestInvalid(
                    "This message cannot be replaced or continued in this way.",
                    next_step="Pass a prompt of the shown branch, or an answer without a prompt.",
                )
        choices = self._chat.turn_options
        start = ask.start.rstrip()
        choices.target = Target.of(sending.model)
        values = self._values(sending.model, session.session_sampling, ask.options)
        settings = replace(
            choices.settings({}),
            sampling=Sampling().with_options(values),
            toolbox=None if ask.approve is None else self.toolbox,
        )
        if ask.wanted is not None:
            settings = replace(settings, output=ask.wanted.output)
        if not old_id:
            return choices.prompt_start(prompt, start), settings
        if ask.has_prompt:
            edit = partial(
                edited, message_id=old_id, text=prompt.text, files=prompt.files, prefill_text=start
            )
            return edit, settings
        if ask.continues and old is not None and has_text_to_continue(old):
            return partial(continued, answer_id=old_id, prefill=None), settings
        return partial(regenerated, message_id=old_id, prefill_text=start), settings

    async def _events_of(self, running: RunningTurn[Any]) -> AsyncGenerator[TurnEvent, None]:
        """For `SyncHome`, whose events are others."""
        ask = running.ask
        sending = await self._sending(ask)
        chat = self._chat
        session_id = sending.session_id
        # from here to the reservation, no `await`: another turn may begin with each
        new = None if session_id else chat.open_sessions.switch_to_new()
        running.session_id = new.session_id if new else session_id
        self._turns.start(running)
        try:
            session = new or await chat.open_sessions.find_or_load(session_id)
            make_start, settings = await self._start_of(ask, session, sending)
            if message := session.system_message(ask.system):
                path = session.messages.added(message)  # a refused turn leaves none behind
                check_start(make_start(path), settings, chat.context_window.estimator)
                await session.set_system_prompt(ask.system)
            self._require_open()  # it may have been closed since
            chat.open_sessions.switch_to(session)
            chat.start_turn(
                session,
                make_start,
                settings=settings,
                pending=PendingPrompt(draft=sending.prompt.draft) if ask.has_prompt else None,
            )
            running.session = session
            running.state = session.turn
            while not isinstance(event := await running.queue.get(), TurnEnded):
                if isinstance(event, BaseException):
                    raise event
                yield event
                running.queue.task_done()
            if event.error is not None:
                self._finder.forget()
            await chat.wait(session)  # raises what no answer shows
            yield event
        finally:
            # whoever is cancelled twice does not wait; no other turn begins until it has ended
            await asyncio.shield(asyncio.create_task(self._end_turn(running)))
        if running.save_error is not None:
            raise running.save_error

    async def _end_turn(self, running: RunningTurn[Any]) -> None:
        session = running.session
        if session is not None:
            await self._chat.stop_and_wait(session)
            running.ended = session.last_end
            running.messages = session.messages
            running.save_error = self._chat.save_queue.warning
        self._turns.end(running.session_id)


class _Turns(TurnListener):
    """Front end of all turns: passes the events of each to its caller."""

    def __init__(self) -> None:
        # by the id of the session; not the turn, which would live on if its program forgets it
        self._running: dict[str, tuple[_EventQueue, Approve | None]] = {}

    def start(self, running: RunningTurn[Any]) -> None:
        """Reserve a session; raises `RequestInvalid` while it has a turn."""
        if running.session_id in self._running:
            raise StillAnswering
        self._running[running.session_id] = running.queue, running.ask.approve

    def end(self, session_id: str) -> None:
        del self._running[session_id]

    def on_event(self, session: OpenSession, event: ChatEvent) -> None:
        if isinstance(event, TurnEvent):
            self._running[session.session_id][0].put_nowait(event)

    async def approve(self, session: OpenSession, question: ToolQuestion) -> Decision:
        events, approve = self._running[session.session_id]
        try:
            await events.join()  # what comes before the question is shown before it
            decision = cast(Approve, approve)(question)  # without it, no tools
            return decision if isinstance(decision, Decision) else await decision
        except BaseException as error:
            asking = asyncio.current_task()
            if asking is not None and asking.cancelling():  # the turn is stopped
                raise
            events.put_nowait(error)  # its caller gets it as it is
            return await asyncio.Future()  # until the caller has stopped the turn
