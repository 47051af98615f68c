"""Assembly of what answers on the chat screen. Importing it takes longer than the first paint."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack, aclosing, asynccontextmanager, suppress
from pathlib import Path

from msgspec.structs import replace

from lmchat.chat.open_sessions import OpenSessions
from lmchat.cli import local, wiring
from lmchat.cli.context import Context
from lmchat.cli.sampling import sampling_layers
from lmchat.cli.screen_platform import ScreenPlatform
from lmchat.cli.store import make_store
from lmchat.cli.target import own_endpoints, own_names
from lmchat.cli.tools import make_toolbox
from lmchat.config.settings import Settings
from lmchat.config.state import State
from lmchat.formats.programs import ChatPlace, chat_places
from lmchat.importing import Importer
from lmchat.library import Library
from lmchat.servers.discovery.catalogue import Catalogue
from lmchat.servers.discovery.monitor import Monitor
from lmchat.tui.app import LMChatApp
from lmchat.tui.dispatch import Dispatcher
from lmchat.workspace import Workspace


@asynccontextmanager
async def second_half(
    app: LMChatApp, context: Context, settings: Settings, state: State, warning: str
) -> AsyncIterator[Dispatcher]:
    """Connect servers, store and controllers with the app for the block.

    At its end, save the sessions, remove the temporary folders, and end servers and tool servers
    that lmchat has started. `warning` is what was wrong with the file of `state`.
    """
    keys = wiring.keys_of(context)
    keys.lent_terminal = app.lent_terminal
    key_warning = await asyncio.to_thread(keys.load)
    folders = ExitStack()  # temporary ones, with the editor's and the viewer's files
    store = make_store(context)
    if context.local_model:  # a model file, or a name for the built-in engine: no server knows it
        settings = replace(settings, model="")
    backend, engine = wiring.make_backend(
        context, settings, state, reads_per_second=settings.ui.frames_per_second
    )
    options = context.options
    chat = settings.chat
    if options.temporary:  # no later run would know of an answer that a server has kept
        chat = replace(chat, detach=False)
    open_sessions = OpenSessions(
        chat=chat,
        server=backend,
        store=store,
        profile_name=options.profile or "",
        layers=sampling_layers(context),
        is_named=not options.temporary,
    )
    toolbox = make_toolbox(context, settings, state) if context.has_tools else None
    open_sessions.next_turn.toolbox = toolbox

    def find_chats() -> list[ChatPlace]:
        return chat_places(context.environ, Path.home())

    workspace = Workspace(
        settings=settings,
        backend=backend,
        store=store,
        library=Library(store),
        open_sessions=open_sessions,
        monitor=Monitor(backend.check),
        catalogue=Catalogue(
            backend,
            store.figures.speeds,
            expected=own_endpoints(settings),
            names=own_names(settings),
        ),
        platform=ScreenPlatform(context, settings, backend, folders),
        pages=wiring.make_pages(settings),
        importer=None if options.temporary else Importer(store, find=find_chats),
        engine=engine,
        launcher=local.make_launcher(context, backend),
        state=state,
        is_temporary=options.temporary,
        resume_id=options.resume or "",
        notices=[
            *(problem.sentence for problem in context.problems),
            *filter(None, [key_warning]),
        ],
        warning=warning,
        is_local=context.is_local,
        local_model=context.local_model,
    )
    # closed from the last to the first: the last counters of the backend are saved in the store
    async with (
        aclosing(store),
        wiring.counters_saved(backend, store),
        aclosing(backend),
    ):
        dispatcher = Dispatcher(app, workspace)
        dispatcher.start()
        try:
            yield dispatcher
        finally:
            await open_sessions.close()
            await asyncio.to_thread(folders.close)
            if toolbox is not None:
                await toolbox.host.aclose()
            _note_unsaved(context, open_sessions)


def _note_unsaved(context: Context, open_sessions: OpenSessions) -> None:
    """Print the titles of the sessions that could not be saved, and why, on stderr.

    Do nothing if all are saved. The screen has shown a warning, but it is closed by now.
    """
    titles = ", ".join(f"“{header.title}”" for header in open_sessions.unsaved())
    if not titles:
        return
    warning = open_sessions.save_queue.warning
    reason = "." if warning is None else f": {warning.message}"
    with suppress(OSError):  # the terminal may be gone, too
        context.output.note(f"lmchat: the end of {titles} could not be saved{reason}")
