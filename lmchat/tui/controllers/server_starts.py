"""Facts about this machine for the welcome page, and the servers that the page starts.

The facts are model files, installed programs and the built-in engine. They are read in workers, and
the page is drawn again when one is known.
"""

from __future__ import annotations

from functools import partial

from msgspec.structs import replace
from textual.screen import Screen

from lmchat.errors import LMChatError
from lmchat.processes.threads import run_abandonable
from lmchat.servers.discovery.launcher import ServerLauncher, ServerStart
from lmchat.servers.model import BUILT_IN
from lmchat.services.ports import Engine
from lmchat.services.server_rows import MachineState
from lmchat.tui.actions import Post
from lmchat.tui.chat_view import Chat, Work
from lmchat.tui.controllers.connect import Connect
from lmchat.tui.dialogs.ask_dialog import start_question
from lmchat.tui.dialogs.model_picker import FilePicker


class ServerStarts:
    """Model files and programs of this machine, and the servers that were started from the page.

    Facts are read in workers of the page. The starts run in workers of the app, so that an error is
    also shown after the page was closed.
    """

    class Learned(Post):
        """`machine`, `problem` or `has_read_disk` has changed: the page is to be drawn again."""

    def __init__(self, page: Screen[None], chat: Chat, connect: Connect) -> None:
        workspace = chat.workspace
        self._chat = chat
        state = workspace.state
        was_engine = state.endpoint == BUILT_IN
        self.machine = MachineState(last_model=state.model if was_engine else "")
        self.problem = ""  # why the last start failed
        self._page = page
        self._connect = connect
        self._engine = workspace.engine
        self._launcher = workspace.launcher
        self.has_read_disk = self._engine is None  # without an engine, no files are needed

    def _learn(self, **facts: object) -> None:
        """Change some fields of `machine`, and post `Learned`, with which the page draws them."""
        self.machine = replace(self.machine, **facts)
        self._page.post_message(self.Learned())

    def read_disk(self) -> None:
        """Search this disk in a worker for model files that the engine can serve."""
        if self._engine is not None:
            self._chat.begin(self._read_disk, "disk", is_only=True)

    async def _read_disk(self) -> None:
        """Read what the engine offers, and the model files of this disk.

        The first time, the engine may return the files that an earlier search has cached.
        """
        if self._engine is not None:
            await self._read_files(self._engine, is_refresh=self.has_read_disk)
        self.has_read_disk = True
        self._page.post_message(self.Learned())

    async def _read_files(self, engine: Engine, *, is_refresh: bool) -> None:
        """Read which demo model the engine offers, and then the model files of this disk.

        An engine that must be installed first offers none. An error is kept as `problem`.
        """
        try:
            if self._launcher is None or not self._launcher.engine_command:
                self._learn(offer=await engine.offer())
            self._learn(files=await engine.files(is_refresh=is_refresh))
        except LMChatError as error:
            self.problem = error.message_with_hint

    def read_programs(self) -> None:
        """Find in a worker which servers are installed on this machine."""
        if self._launcher is not None and self._page.is_attached:
            self._chat.begin(partial(self._read_programs, self._launcher), "programs", is_only=True)

    async def _read_programs(self, launcher: ServerLauncher) -> None:
        """Search for installed servers."""
        installed = tuple(await run_abandonable(launcher.find))
        self._learn(installed=installed, engine_command=launcher.engine_command)

    def begin(self, work: Work) -> None:
        """Run work that asks the user and starts a server, in a worker that outlives the page."""
        self._chat.begin(work, "start")

    async def start_engine(self) -> None:
        """Start the built-in engine with a model file that the user chooses."""
        if file := await self._chat.ask(FilePicker(self.machine.files)):
            self._connect.start_engine(file.name)

    async def start(self, start: ServerStart) -> None:
        """Show the command of a start; if the user agrees, run it and use the server that answers.

        If the start fails, show why.
        """
        launcher = self._launcher
        if launcher is None or not await self._chat.ask(start_question(start)):
            return
        self.problem = ""
        self._learn(starting=(*self.machine.starting, start))
        try:
            probed = await launcher.start(start)
        except LMChatError as error:
            self._connect.show_failed_start(error)
        else:
            if self._page.is_attached:
                self._connect.take_result(probed)
        others = [other for other in self.machine.starting if other != start]
        self._learn(starting=tuple(others))
