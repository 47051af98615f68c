"""`lmchat` without a command: runs the chat screen and cleans up."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress
from functools import cache

from lmchat.cli.chat_workspace import late_store, make_workspace
from lmchat.cli.context import Context
from lmchat.cli.counters import counters_saved
from lmchat.config.settings import Settings
from lmchat.domain.telemetry import Metrics
from lmchat.machine.scratch import ScratchFolders
from lmchat.services.open_sessions import OpenSessions
from lmchat.services.server_launcher import ServerLauncher
from lmchat.services.workspace import Workspace
from lmchat.tui.app import LMChatApp
from lmchat.tui.quirks.driver import guard_terminal, write_to_terminal


async def run_chat(settings: Settings, context: Context) -> int:
    """Run the screen and return the exit code."""

    @cache
    def make_launcher() -> ServerLauncher:
        from lmchat.cli.local import make_launcher

        return make_launcher(context)

    async def add_metrics(metrics: Metrics) -> None:
        await (await store.ready()).metrics.add(metrics)

    def write(data: str) -> bool:
        return write_to_terminal(app, data)

    store = late_store(context)
    scratch = ScratchFolders(has_guard=context.options.temporary)
    workspace = make_workspace(context, settings, store, write, scratch)
    workspace.make_launcher = make_launcher
    app = LMChatApp(workspace)

    async def end() -> None:
        # first: the editor may still show the file
        await asyncio.to_thread(scratch.remove_all)
        await app.stop_and_save()

    guard_terminal(app, end)
    backend = workspace.backend
    closing = aclosing(workspace.store)
    async with closing, counters_saved(backend.metrics, add_metrics), aclosing(backend):
        try:
            await app.run_async(mouse=settings.ui.mouse)
        finally:
            await workspace.open_sessions.save_all()
            await asyncio.to_thread(scratch.remove_all)
            await _end_tools(workspace)
            has_launcher = make_launcher.cache_info().currsize > 0
            if has_launcher:
                await make_launcher().aclose()
            _note_unsaved(context, workspace.open_sessions)
    if app.failure is not None:
        raise app.failure
    return app.return_code or 0


async def _end_tools(workspace: Workspace) -> None:
    toolbox = workspace.open_sessions.next_turn.toolbox
    if toolbox is not None:
        await toolbox.host.aclose()


def _note_unsaved(context: Context, open_sessions: OpenSessions) -> None:
    """Say what could not be saved; the screen that warned of it is gone."""
    titles = ", ".join(f"“{header.title}”" for header in open_sessions.unsaved())
    if not titles:
        return
    warning = open_sessions.save_queue.warning
    reason = "." if warning is None else f": {warning.message}"
    with suppress(OSError):  # the terminal may be gone, too
        context.output.note(f"lmchat: the end of {titles} could not be saved{reason}")
