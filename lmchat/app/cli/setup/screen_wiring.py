"""Assembly of all behind the painted widgets: the dispatcher, its servers and store.

Importing this takes longer than the first paint, so `cli/run_screen.py` paints first.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable
from contextlib import ExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path

from msgspec.structs import replace

from lmchat.app.cli.context import Context
from lmchat.app.cli.setup import local_servers, wiring
from lmchat.app.terminal.clipboard import Clipboard, terminal_copy
from lmchat.app.terminal.output import SHORT_ID
from lmchat.app.terminal.programs import (
    Editor,
    notification,
    open_file,
    open_in_browser,
    show_in_pager,
)
from lmchat.app.terminal.tty import takes_text
from lmchat.app.tui.app import LMChatApp
from lmchat.app.tui.dispatcher import Dispatcher
from lmchat.app.tui.workspace import Report, Workspace
from lmchat.base.errors import LMChatError, StoreUnavailable
from lmchat.base.files.left_files import left_files
from lmchat.base.leaf import leaf
from lmchat.base.processes.background import run_abandonable
from lmchat.base.safe_text import safe_line
from lmchat.core.attachments.file_finder import FileFinder
from lmchat.core.attachments.shell_command import ShellCommand
from lmchat.core.config.settings import Settings
from lmchat.core.config.state import Change, State, change_state
from lmchat.core.library.importer import Importer
from lmchat.core.library.library import Library
from lmchat.core.servers.discovery.finder import ServerFinder
from lmchat.core.servers.discovery.monitor import Monitor
from lmchat.core.servers.endpoint import Endpoint
from lmchat.core.servers.protocols import ServerClient

# Reads of a stream for each frame: with 1, a text could wait for the next frame.
_READS_PER_FRAME = 0.9
_MOST_TITLE_CHARS = 60


@asynccontextmanager
async def make_dispatcher(
    app: LMChatApp, context: Context, settings: Settings, state: State, warning: str
) -> AsyncIterator[Dispatcher]:
    """At the end of the block, save the sessions, and end servers that lmchat has started.

    `warning` says what was wrong with the file of `state`.
    """
    # a command that prints a key may ask for a password
    wiring.setup_of(context).keys.suspended = app.suspended
    options = context.options
    notices = [
        *filter(None, [warning]),
        *(problem.sentence for problem in (*context.problems, *context.loaded.notes)),
    ]
    notices += await asyncio.to_thread(left_files, context.paths)
    notices = [*dict.fromkeys(notices)]

    async with wiring.open_runtime(
        context,
        reads_per_second=_READS_PER_FRAME * settings.ui.frames_per_second,
        warn=notices.append,
    ) as runtime:
        store = runtime.store
        backend = runtime.backend
        local_model = await local_servers.model_for_engine(context, runtime)
        if local_model:  # no server knows it
            settings = replace(settings, model="")
        # it ends with lmchat: a title is not worth a request
        chat = wiring.make_chat(context, runtime, with_titles=not options.temporary)
        folders = ExitStack()  # with the viewer's files
        platform = ScreenPlatform(context, settings, backend, folders)
        workspace = Workspace(
            settings=settings,
            backend=backend,
            store=store,
            saved=runtime.saved,
            stats_store=runtime.stats_store,
            library=Library(store),
            chat=chat,
            monitor=Monitor(backend.models.check),
            finder=ServerFinder(backend.models, settings, lambda: workspace.state),
            platform=platform,
            importer=(  # a temporary chat cannot import
                None
                if options.temporary
                else Importer(store, programs=leaf("imports:PROGRAMS", ()), environ=context.environ)
            ),
            engine=runtime.engine,
            launcher=wiring.setup_of(context).launcher(backend),
            state=state,
            is_temporary=options.temporary,
            resume_id=options.resume or "",
            system_prompt=options.system_prompt,
            notices=notices,
            is_local=local_model is not None,
            local_model=local_model or "",
        )
        dispatcher = Dispatcher(app, workspace)
        dispatcher.start()
        try:
            yield dispatcher
        finally:
            await chat.close()  # after an error; if the user has quit, all is saved
            await asyncio.to_thread(folders.close)
            if chat.turn_options.toolbox is not None:
                await chat.turn_options.toolbox.host.aclose()
            # shown before, but the screen is closed now
            if unsaved := chat.unsaved_text():
                error = chat.save_queue.warning
                reason = "." if error is None else f": {error.message}"
                with suppress(OSError):  # the terminal may be gone, too
                    context.note(f"{unsaved} could not be saved{reason}")
            elif chat.active.messages and not options.temporary and takes_text(sys.stderr.fileno()):
                header = chat.active.header
                title = safe_line(header.title, limit=_MOST_TITLE_CHARS)
                command = f"lmchat -r {header.session_id[:SHORT_ID]}"
                context.output.note(f"To continue “{title}”: {command}")
            if platform.state_error is not None:
                with suppress(OSError):
                    context.note(platform.state_error.message_with_next_step)


class ScreenPlatform:
    """The `Platform` of the screen, which `workspace.py` describes."""

    def __init__(
        self, context: Context, settings: Settings, backend: ServerClient, folders: ExitStack
    ) -> None:
        """`folders` removes the temporary folders of the viewer."""
        environ = context.environ_of_programs
        clipboard = Clipboard(environ)
        self.log_file = str(context.paths.log_file)
        self.config_file = context.config_file
        self.state_folder = context.paths.state_dir
        self.copy = clipboard.copy
        self.terminal_copy = partial(terminal_copy, environ=environ)
        self.paste = clipboard.paste
        self.paste_image = clipboard.paste_image
        self.paste_files = clipboard.paste_files
        self.find_files = FileFinder(Path()).find
        self.editor = partial(
            Editor,
            environ=environ,
            # after a kill, the text is found there
            parent=None if context.options.temporary else context.paths.editor_dir,
        )
        self.show_in_pager = partial(show_in_pager, environ=environ)
        self.shell_command = partial(ShellCommand, environ=environ, shell=settings.chat.shell)
        self.open_in_browser = partial(open_in_browser, environ=environ)
        self.open_file = partial(open_file, environ=environ, folders=folders)
        self.notification = partial(notification, settings.ui.notify, environ=environ)
        self.state_error: LMChatError | None = None  # until the last change is written
        self._context = context
        self._backend = backend

    def examine(self, used: Endpoint | None) -> Awaitable[Report]:
        """Raises `WrongUse` in a build without the doctor."""
        examine = leaf("doctor.checks:examine")
        report: Awaitable[Report] = examine(self._context, self._backend, used)
        return report

    async def remember(self, change: Change) -> None:
        self.state_error = StoreUnavailable(
            "state.toml was not written before lmchat ended.",
            next_step="Make the change again at the next start.",
        )
        try:
            await run_abandonable(partial(change_state, self._context.paths.state_file, change))
        except LMChatError as error:
            self.state_error = error
            raise
        self.state_error = None

    async def keep_key(self, endpoint: Endpoint, key: str) -> None:
        await asyncio.to_thread(wiring.setup_of(self._context).keys.keep, endpoint, key)
