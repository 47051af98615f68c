"""`lmchat` without a command: runs the chat screen and cleans up."""

from __future__ import annotations

import asyncio
from contextlib import ExitStack, aclosing, suppress

from lmchat.cli.chat_workspace import late_store, make_workspace
from lmchat.cli.context import Context
from lmchat.cli.counters import counters_saved
from lmchat.config.settings import Settings
from lmchat.processes.system import HANG_UP
from lmchat.servers.discovery.launcher import ServerLauncher
from lmchat.services.open_sessions import OpenSessions
from lmchat.services.workspace import Workspace
from lmchat.sessions.stats import Metrics
from lmchat.tui.app import LMChatApp
from lmchat.tui.quirks.driver import guard_terminal


async def run_chat(settings: Settings, context: Context) -> int:
    """Run the chat screen until the user quits, and return its exit code.

    At its end, save the sessions, remove the temporary folders, and end the tool servers. Raises
    the error that ended the screen, if any.
    """
    lazy_store = late_store(context)
    folders = ExitStack()  # of the editor's and the viewer's files
    workspace = make_workspace(context, settings, lazy_store, folders)

    def launcher() -> ServerLauncher:
        from lmchat.cli import local

        return local.make_launcher(context, workspace.backend)

    workspace.make_launcher = launcher
    app = LMChatApp(workspace)

    async def add_metrics(metrics: Metrics) -> None:
        store = await lazy_store.ready()
        await store.metrics.add(metrics)

    async def save_before_exit(signal_number: int) -> None:
        if signal_number == HANG_UP:  # the terminal is gone: servers may continue answers
            workspace.open_sessions.leave_answers()
        # before saving, as that may take long: an editor may still show a file with chat text
        await asyncio.to_thread(folders.close)
        await app.stop_and_save()

    guard_terminal(app, save_before_exit)
    backend = workspace.backend
    # closed from the last to the first: the last counters of the backend are saved in the store
    async with (
        aclosing(workspace.store),
        counters_saved(backend.metrics, add_metrics),
        aclosing(backend),
    ):
        try:
            await app.run_async(mouse=settings.ui.mouse)
        finally:
            await workspace.open_sessions.save_all()
            await asyncio.to_thread(folders.close)
            await _stop_tool_servers(workspace)
            _note_unsaved(context, workspace.open_sessions)
    if app.failure is not None:
        raise app.failure
    return app.return_code or 0


async def _stop_tool_servers(workspace: Workspace) -> None:
    """Stop the tool servers; do nothing if no tools are configured."""
    toolbox = workspace.open_sessions.next_turn.toolbox
    if toolbox is not None:
        await toolbox.host.aclose()


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
