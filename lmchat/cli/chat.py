"""`lmchat` without a command: builds the chat screen, runs it and cleans up."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress
from functools import cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any

from msgspec.structs import replace

from lmchat.cli.context import Context
from lmchat.cli.counters import counters_saved
from lmchat.cli.screen_platform import ScreenPlatform, Write
from lmchat.cli.target import own_endpoints, own_names
from lmchat.config.settings import Settings
from lmchat.domain.remembered import Remembered
from lmchat.domain.telemetry import Metrics
from lmchat.files import empty_log
from lmchat.machine.other_programs import ChatPlace, chat_places
from lmchat.machine.scratch import ScratchFolders, sweep_scratch_folders
from lmchat.services.backend import Backend
from lmchat.services.catalogue import Catalogue
from lmchat.services.importing import Importer
from lmchat.services.library import Library
from lmchat.services.monitor import Monitor
from lmchat.services.open_sessions import OpenSessions
from lmchat.services.ports import ChatStore, Engine, Lazy, ServerClient
from lmchat.services.server_launcher import ServerLauncher
from lmchat.services.workspace import Workspace
from lmchat.storage import remembered_file
from lmchat.tui.app import LMChatApp
from lmchat.tui.quirks.driver import guard_terminal, write_to_terminal


async def run_chat(settings: Settings, context: Context) -> int:
    """Run the screen and return the exit code."""
    remembered, warning = remembered_file.load(context.paths.remembered_file)

    @cache
    def make_launcher() -> ServerLauncher:
        from lmchat.cli.local import make_launcher

        return make_launcher(context)

    async def add_metrics(metrics: Metrics) -> None:
        await (await store.ready()).metrics.add(metrics)

    def write(data: str) -> bool:
        return write_to_terminal(app, data)

    store = Lazy[Any](lambda: _wiring().make_store(context))
    scratch = ScratchFolders(has_guard=context.options.temporary)
    workspace = _make_workspace(context, settings, store, remembered, write, scratch)
    workspace.make_launcher, workspace.warning = make_launcher, warning
    app = LMChatApp(workspace)

    async def end() -> None:
        # first: the editor may still show the file
        await asyncio.to_thread(scratch.remove_all)
        await app.stop_and_save()

    guard_terminal(app, end)
    backend = workspace.backend
    async with aclosing(store), counters_saved(backend.metrics, add_metrics), aclosing(backend):
        try:
            await app.run_async(mouse=settings.ui.mouse)
        finally:
            await workspace.open_sessions.save_all()
            await asyncio.to_thread(scratch.remove_all)
            if (toolbox := workspace.open_sessions.next_turn.toolbox) is not None:
                await toolbox.host.aclose()
            if make_launcher.cache_info().currsize:
                await make_launcher().aclose()
            _tell_unsaved(context, workspace.open_sessions)
    if (error := app.failure) is not None:
        raise error
    return app.return_code or 0


def sweep_leftovers(demo_dir: Path) -> None:
    """Remove the temporary folders that killed processes have left. Blocks."""
    sweep_scratch_folders()
    if demo_dir.is_dir():
        from lmchat.engine.download import sweep_downloads

        sweep_downloads(demo_dir)


def _wiring() -> ModuleType:
    from lmchat.cli import wiring  # imports httpx and SQLite: in a thread, after the first paint

    return wiring


def _tell_unsaved(context: Context, open_sessions: OpenSessions) -> None:
    """Say what could not be saved; the screen that warned of it is gone."""
    titles = ", ".join(f"“{one.title}”" for one in open_sessions.unsaved())
    if titles:
        warning = open_sessions.save_queue.warning
        why = "." if warning is None else f": {warning.message}"
        with suppress(OSError):  # the terminal may be gone, too
            context.output.note(f"lmchat: the end of {titles} could not be saved{why}")


def _make_workspace(
    context: Context,
    settings: Settings,
    late: Lazy[Any],
    remembered: Remembered,
    write: Write,
    scratch: ScratchFolders,
) -> Workspace:
    """Build the workspace without touching network or disk."""
    if context.local_model:  # it names a file, which no other server knows
        settings = replace(settings, model="")
    notices = [one.sentence for one in context.problems]
    store: ChatStore = late.port

    def make_client() -> ServerClient:
        sweep_leftovers(context.paths.demo_dir)
        keys = _wiring().keys_of(context)
        keys.load(is_separate=True)
        notices.extend(keys.warnings)
        frames_per_second = settings.ui.frames_per_second
        client: ServerClient = _wiring().make_client(
            context, settings, reads_per_second=frames_per_second
        )
        return client

    def find_chats() -> list[ChatPlace]:
        return chat_places(context.environ, Path.home())

    engine = Lazy[Engine](lambda: _wiring().make_engine(context, settings))
    backend = Backend(make_client, engine, used=remembered.endpoints)
    profile = context.options.profile or ""
    open_sessions = OpenSessions(
        chat=settings.chat, backend=backend, store=store, profile_name=profile
    )
    if context.has_tools:
        from lmchat.cli.tools import make_toolbox

        open_sessions.next_turn.toolbox = make_toolbox(context, settings, remembered)
    return Workspace(
        settings=settings,
        backend=backend,
        store=store,
        library=Library(store, empty_logs=partial(empty_log, context.paths.tools_log_file)),
        open_sessions=open_sessions,
        monitor=Monitor(backend),
        catalogue=Catalogue(
            backend, store, expected=own_endpoints(settings), names=own_names(settings)
        ),
        platform=ScreenPlatform(context, settings, backend, write, scratch),
        importer=None if context.options.temporary else Importer(store, find=find_chats),
        make_engine=engine.ready,
        remembered=remembered,
        is_temporary=context.options.temporary,
        resume_id=context.options.resume or "",
        notices=notices,
        is_local=context.is_local,
        local_model=context.local_model,
    )
