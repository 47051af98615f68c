"""The user's lmchat for programs: configuration, keys, saved sessions and tool servers."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, aclosing
from pathlib import Path
from typing import Any, Self, Unpack, cast

from msgspec.structs import replace

from lmchat.api.clients import Client, Options, checked_options, chosen_model
from lmchat.api.runtime import Runtime, Setup
from lmchat.base.errors import LMChatError, RequestInvalid, StillAnswering, WrongUse
from lmchat.base.files.paths import Paths
from lmchat.base.processes.background import run_abandonable
from lmchat.base.safe_text import safe_line
from lmchat.core.answers.repetition import Repetition
from lmchat.core.attachments.attachment import read_attachment
from lmchat.core.chat.answering import check_start
from lmchat.core.chat.events import (
    AnswerStarted,
    ChatEvent,
    MessageAdded,
    MessageEnded,
    TurnListener,
)
from lmchat.core.chat.service import ChatService
from lmchat.core.chat.session import OpenSession, TurnEnded
from lmchat.core.chat.settings import SamplingLayers
from lmchat.core.chat.toolbox import Toolbox, ToolQuestion
from lmchat.core.config.load import Flags, load
from lmchat.core.formats.exports import EXPORT_FORMATS
from lmchat.core.library.library import ExportAs, Library
from lmchat.core.servers.discovery.finder import ServerFinder
from lmchat.core.servers.endpoint import configured_endpoints
from lmchat.core.servers.events import StreamEvent
from lmchat.core.servers.model import ModelInfo
from lmchat.core.servers.request import SAMPLING_FIELDS, Sampling
from lmchat.core.servers.target import Target
from lmchat.core.sessions.message import Role, is_continuable
from lmchat.core.sessions.prompts import Prompt
from lmchat.core.sessions.session import SearchHit, Session, SessionHeader
from lmchat.core.storage.store import Store
from lmchat.core.tools.calls import Decision, Tell, ToolResult, ToolServer

_logger = logging.getLogger(__name__)

Approve = Callable[[ToolQuestion], Awaitable[Decision]]
"""Decides whether a tool runs: `question.message.tool_calls[0].arguments` is JSON by the model."""

TurnEvent = MessageAdded | AnswerStarted | StreamEvent | Repetition | MessageEnded | TurnEnded


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
        """Return a session as `md`, `html`, `txt` or `json`; JSON has its files and branches.

        Raises `WrongUse` for another form.
        """
        if form not in EXPORT_FORMATS:
            step = f"The forms are {', '.join(EXPORT_FORMATS)}."
            raise WrongUse(f"A session cannot be exported as {safe_line(form)}.", next_step=step)
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
        toolbox, server_name = self._toolbox, name.partition("/")[0]
        servers = await self.start()
        tool = toolbox.find(name)
        if tool is None:
            for server in servers:
                if server.name == server_name and server.error:
                    raise LMChatError(server.error, kind="tools", next_step=server.next_step)
            raise WrongUse(f"There is no tool {name}.", next_step="`lmchat tools` lists the tools.")
        if toolbox.approval("", tool) == "never":
            next_step = "Change its approval in config.toml."
            raise WrongUse(f"{name} may never run.", next_step=next_step)
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
            self._use(setup, runtime, runtime.finder())
            await stack.enter_async_context(aclosing(self._toolbox.host))
            stack.push_async_callback(self._close_chat)
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
    def on(cls, setup: Setup, runtime: Runtime, finder: ServerFinder) -> Self:
        """For the command line, which opens and closes these."""
        home = cls()
        home._use(setup, runtime, finder)
        return home

    def _use(self, setup: Setup, runtime: Runtime, finder: ServerFinder) -> None:
        self._setup = setup
        self._runtime = runtime
        self._finder = finder
        self._toolbox = setup.make_toolbox(runtime.settings, setup.loaded.servers, runtime.state)
        chat = replace(runtime.settings.chat, auto_compact=False, auto_title=False)
        self._chat = ChatService(
            chat=chat,
            backend=runtime.backend,
            store=runtime.store,
            stats_store=runtime.stats_store,
            layers=SamplingLayers.of(setup.loaded, self._profile, {}),
        )
        self._chat.drafts.is_kept = False  # a prompt of a program is no draft of the user
        self._turns = _Turns()
        self._chat.reporter.listener = self._turns
        named = configured_endpoints(runtime.settings)
        self.client = Client.sharing(runtime.backend, self._finder, *named)
        self.sessions = Sessions(runtime.store)
        self.tools = Tools(self._toolbox, self._require_open)

    def _require_open(self) -> None:
        if self._is_closed:
            raise WrongUse("This home is closed.", next_step="Use it within `async with`.")

    async def _close_chat(self) -> None:
        for session in self._chat.open_sessions.running:
            await self._chat.stop_and_wait(session)
        await self._chat.close()
        await self._setup.keep_unsaved(self._chat, _logger.error)

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
        layers = replace(self._chat.turn_options.layers, command_line=checked_options(given))
        layers.refuse_ignored(model.product)
        return layers.values(session_options, model.model_id)

    async def turn(
        self,
        prompt: str,
        session_id: str = "",
        *,
        files: Sequence[Path] = (),
        system: str | None = None,
        replaces: str = "",
        continues: str = "",
        model: str | ModelInfo = "",
        approve: Approve | None = None,
        **options: Unpack[Options],
    ) -> AsyncGenerator[TurnEvent, None]:
        """Send a prompt, yield all that answers it, and save both.

        Wrap it in `contextlib.aclosing`: leaving it early stops the turn, and what has come is
        saved. A failed answer is no exception, but the `error` of `TurnEnded`.

        A prompt is a `MessageAdded`, whose `session_id` continues the session. An answer begins
        with an `AnswerStarted`, and its `StreamEvent`s follow. If it calls tools, a `MessageEnded`
        is its end; then each call is a `MessageAdded` and a `MessageEnded`, and the next answer
        begins. The last event is a `TurnEnded`.

        Args:
            prompt: Text of the prompt.
            session_id: Session to continue, as `word` of `Sessions`; empty: a new one.
            files: Texts, images and PDFs that are sent with the prompt.
            system: System prompt from this turn on, also in later ones; empty: none; None: that of
                the session, for a new one that of the configuration.
            replaces: Id of a message of the session. The prompt becomes another version of this
                prompt. An empty prompt asks for another answer to it, or in place of this answer.
            continues: Id of an unfinished answer, which the model continues as another version.
            model: Name of the model; a remote one has to be named here, by its whole name.
            approve: Decides about each call of a tool that the user has not always allowed; without
                it, the model gets no tools.
            options: Options for the model, above those of session and configuration.

        Raises:
            LMChatError: Nothing was sent: `SessionNotFound`, `FileRefused`, `WrongUse`,
                `RequestInvalid` while a turn runs in the session, and for a message that cannot be
                replaced or continued, or as `model` does.
            StoreUnavailable: After `TurnEnded`, if the answer could not be saved.
        """
        self._require_open()
        chat, store = self._chat, self._runtime.store
        has_prompt = bool(prompt.strip() or files)
        if continues and (has_prompt or system is not None):
            raise RequestInvalid("A continued answer takes neither a prompt nor a system prompt.")
        if not (has_prompt or replaces or continues):
            raise RequestInvalid("The prompt is empty.", next_step="Pass a text or files.")
        chosen = await chosen_model(self._finder, model)
        attached = [await read_attachment(path) for path in files]
        for file in attached:
            await store.files.save(file.data)
        if session_id and session_id not in chat.open_sessions.running_ids:  # else it may be new
            session_id = await store.find_id(session_id)
        # from here to the reservation, no `await`: another turn may begin with each
        new = None if session_id else chat.open_sessions.switch_to_new()
        session_id = new.session_id if new else session_id
        running = self._turns.start(session_id, approve)
        try:
            session = new or await chat.open_sessions.find_or_load(session_id)
            await session.load_older()
            old = session.messages.find(continues or replaces)
            if continues or replaces:
                roles = [Role.USER] if has_prompt else [Role.USER, Role.ASSISTANT]
                if old is None or not (is_continuable(old) if continues else old.role in roles):
                    message = "This message cannot be replaced or continued in this way."
                    step = "Pass a prompt of the shown branch, or an answer without a prompt."
                    raise RequestInvalid(message, next_step=step)
            chat.turn_options.use_target(Target.of(chosen))
            values = self._values(chosen, session.session_sampling, options)
            settings = chat.turn_options.settings({})
            settings = replace(
                settings,
                sampling=Sampling().with_options(values),
                toolbox=None if approve is None else self._toolbox,
            )
            sent = Prompt(prompt, tuple(file.part for file in attached))
            if system is not None:  # a refused turn leaves none behind
                start = chat.turn_options.prompt_start(sent, "")(session.messages)
                check_start(start, settings, chat.context_window.estimator)
                await session.set_system_prompt(system)
            self._require_open()  # it may have been closed since
            chat.open_sessions.switch_to(session)
            if old is None:
                chat.send_now(session, sent, settings)
            elif has_prompt:
                chat.edit(session, old.message_id, sent, settings=settings)
            elif continues:
                chat.continue_answer(session, old, settings=settings)
            else:
                chat.regenerate(session, old, settings=settings)
            while not isinstance(event := await running.events.get(), TurnEnded):
                if isinstance(event, BaseException):
                    raise event
                yield event
            if event.error is not None:
                self._finder.forget()
            await chat.wait(session)  # raises what no answer shows
            yield event
        finally:
            # whoever is cancelled twice does not wait; no other turn begins until it has ended
            await asyncio.shield(asyncio.create_task(self._end_turn(session_id)))
        if chat.save_queue.warning is not None:
            raise chat.save_queue.warning

    async def _end_turn(self, session_id: str) -> None:
        session = self._chat.open_sessions.find(session_id)
        if session is not None:
            await self._chat.stop_and_wait(session)
        self._turns.end(session_id)


class _RunningTurn:
    """Turn of a session: what its caller gets, an error of the front end, too."""

    def __init__(self, approve: Approve | None) -> None:
        self.approve = approve
        self.events: asyncio.Queue[TurnEvent | BaseException] = asyncio.Queue()


class _Turns(TurnListener):
    """Front end of all turns: passes the events of each to its caller."""

    def __init__(self) -> None:
        self._running: dict[str, _RunningTurn] = {}  # by the id of the session

    def start(self, session_id: str, approve: Approve | None) -> _RunningTurn:
        """Reserve a session; raises `RequestInvalid` while it has a turn."""
        if session_id in self._running:
            raise StillAnswering
        running = self._running[session_id] = _RunningTurn(approve)
        return running

    def end(self, session_id: str) -> None:
        del self._running[session_id]

    def on_event(self, session: OpenSession, event: ChatEvent) -> None:
        if isinstance(event, TurnEvent):
            self._running[session.session_id].events.put_nowait(event)

    async def approve(self, session: OpenSession, question: ToolQuestion) -> Decision:
        running = self._running[session.session_id]
        try:
            return await cast(Approve, running.approve)(question)  # without it, there are no tools
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - its caller gets it as it is
            running.events.put_nowait(error)
            return await asyncio.Future()  # until the caller has stopped the turn
