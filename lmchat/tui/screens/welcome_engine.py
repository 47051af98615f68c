"""The built-in engine on the welcome page: the demo model, and the model files of this disk."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

from msgspec.structs import replace
from textual.worker import Worker

from lmchat.domain.engine import ModelFile
from lmchat.errors import LMChatError
from lmchat.services.candidates import ServerRow
from lmchat.services.ports import Engine
from lmchat.services.server_launcher import ServerLauncher
from lmchat.tui.intents import CopyText, StartEngine
from lmchat.tui.screens.file_picker import FilePicker
from lmchat.tui.screens.welcome_starts import WelcomeStarts


class WelcomeEngine(WelcomeStarts):
    """Offers what the engine can serve; who is asked to start it asks for whatever it lacks."""

    _engine: Engine | None = None

    def on_mount(self) -> None:
        """Look at once at what the engine can serve; rows wait a moment for that."""
        self.look_at_disk()

    def look_at_disk(self) -> None:
        """Look, behind what is shown, for model files."""
        if self.workspace is not None and self.workspace.make_engine is not None:
            self.is_known = self._engine is not None
            _: Worker[None] = self.run_worker(
                partial(self._look_at_disk, self.workspace.make_engine), group="disk", exclusive=True
            )

    async def _look_at_disk(self, make: Callable[[], Awaitable[Engine]]) -> None:
        is_first = self._engine is None
        engine: Engine = self._engine or await make()
        self._engine = engine
        try:
            offer = await engine.offer() if self.starts is None or not self.starts.engine_command else None
            self.show_here(replace(self.here, offer=offer))
            files = await engine.files(is_refresh=not is_first)
        except LMChatError as error:
            self.show_problem(error.words)
        else:
            self.show_here(replace(self.here, files=files))
        if is_first:
            self.end_wait()

    def start_demo(self) -> None:
        """Ask for the demo model."""
        if self.here.offer is not None:
            self.post_message(StartEngine(self.here.offer.name))

    def pick_file(self) -> None:
        """Let a file be chosen, and ask for it."""

        def take(file: ModelFile | None) -> None:
            if file is not None:
                self.post_message(StartEngine(file.name))

        self.app.push_screen(FilePicker(self.here.files, verb="start it"), take)

    def copy_command(self) -> None:
        """Put what installs the engine on the clipboard."""
        self.post_message(CopyText(self.here.engine_command))

    def pick_file_for(self, place: ServerRow) -> None:
        """Let a file be chosen for the server of a place, then ask to start that."""

        def take(file: ModelFile | None) -> None:
            if file is not None and self.starts is not None:
                _: Worker[None] = self.run_worker(
                    partial(self._ask_to_start_with, self.starts, place, file), group="ask"
                )

        self.app.push_screen(FilePicker(self.here.files, verb="show the command"), take)

    async def _ask_to_start_with(self, starts: ServerLauncher, place: ServerRow, file: ModelFile) -> None:
        self.ask_to_start(await starts.with_file(place.candidate, place.program, file.path))
