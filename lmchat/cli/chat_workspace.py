"""Assembly of the services of the chat screen.

Store, client and engine import httpx and SQLite, which takes longer than the first paint. So they
are made later: in a thread, when one of them is first used.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any

from msgspec.structs import replace

from lmchat.cli.context import Context
from lmchat.cli.sampling import sampling_layers
from lmchat.cli.screen_platform import ScreenPlatform
from lmchat.cli.target import own_endpoints, own_names
from lmchat.config.settings import Settings
from lmchat.config.state import State, read_state
from lmchat.formats.places import ChatPlace, chat_places
from lmchat.services.backend import Backend
from lmchat.services.catalogue import Catalogue
from lmchat.services.importing import Importer
from lmchat.services.late_store import LateStore
from lmchat.services.library import Library
from lmchat.services.monitor import Monitor
from lmchat.services.open_sessions import OpenSessions
from lmchat.services.ports import ChatStore, Engine, Lazy, PageFetcher, ServerClient
from lmchat.services.web_pages import WebPages
from lmchat.services.workspace import Workspace


def _import_wiring() -> ModuleType:
    """Import and return the module that imports httpx and SQLite.

    This takes longer than the first paint: call it in a thread.
    """
    from lmchat.cli import wiring

    return wiring


def late_store(context: Context) -> Lazy[Any]:
    """Return a `Lazy` that makes the store in a thread when something first waits for it."""
    return Lazy(lambda: _import_wiring().make_store(context))


def make_workspace(
    context: Context,
    settings: Settings,
    lazy_store: Lazy[Any],
    folders: ExitStack,
) -> Workspace:
    """Build the workspace of the chat screen; read a few small files, and use no network.

    `lazy_store` makes the store when it is first used. Temporary folders with files for other
    programs, such as the editor, are pushed on `folders`.
    """
    if context.local_model:  # a model file, or a name for the built-in engine: no server knows it
        settings = replace(settings, model="")
    options = context.options
    state, warning = read_state(context.paths.state_file)
    notices = [problem.sentence for problem in context.problems]
    engine = Lazy[Engine](lambda: _import_wiring().make_engine(context, settings))
    backend = _make_backend(context, settings, engine, state, notices)
    pages = WebPages(Lazy[PageFetcher](lambda: _import_wiring().make_page_client(settings)))
    store: ChatStore = LateStore(lazy_store)

    chat = settings.chat
    if options.temporary:  # no later run would know of an answer that a server has kept
        chat = replace(chat, detach=False)
    open_sessions = OpenSessions(
        chat=chat,
        backend=backend,
        store=store,
        profile_name=options.profile or "",
        layers=sampling_layers(context),
    )
    if context.has_tools:
        from lmchat.cli.tools import make_toolbox

        open_sessions.next_turn.toolbox = make_toolbox(context, settings, state)
    return Workspace(
        settings=settings,
        named=context.named,
        backend=backend,
        store=store,
        library=Library(store),
        open_sessions=open_sessions,
        monitor=Monitor(backend),
        catalogue=Catalogue(
            backend, store, expected=own_endpoints(settings), names=own_names(settings)
        ),
        platform=ScreenPlatform(context, settings, backend, folders),
        pages=pages,
        importer=None if options.temporary else _make_importer(context, store),
        engine=engine,
        state=state,
        is_temporary=options.temporary,
        resume_id=options.resume or "",
        notices=notices,
        warning=warning,
        is_local=context.is_local,
        local_model=context.local_model,
    )


def _make_backend(
    context: Context,
    settings: Settings,
    engine: Lazy[Engine],
    state: State,
    notices: list[str],
) -> Backend:
    """Return the backend of all servers, which makes its client with the first request.

    The client is made in a thread, which first loads the API keys, and adds warnings about them to
    the list `notices`.
    """

    def make_client() -> ServerClient:
        wiring = _import_wiring()
        keys = wiring.keys_of(context)
        keys.load()
        notices.extend(keys.warnings)
        client: ServerClient = wiring.make_client(
            context, settings, state, reads_per_second=settings.ui.frames_per_second
        )
        return client

    return Backend(make_client, engine)


def _make_importer(context: Context, store: ChatStore) -> Importer:
    """Return the importer, which looks for chats of other programs in this user's folders."""

    def find_chats() -> list[ChatPlace]:
        return chat_places(context.environ, Path.home())

    return Importer(store, find=find_chats)
