"""Starts of installed servers and of the built-in engine from the welcome page."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from msgspec.structs import replace
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Static

from lmchat.domain.product import Lifetime, Product
from lmchat.domain.program import ServerStart
from lmchat.domain.server import Candidate
from lmchat.errors import LMChatError
from lmchat.services.candidates import MachineState, ServerRow
from lmchat.services.ports import Engine
from lmchat.services.workspace import Workspace
from lmchat.text import safe_line
from lmchat.tui.screens.ask_dialog import ConfirmDialog
from lmchat.tui.screens.chat.view import Work, begin_work
from lmchat.tui.screens.connect import Connect
from lmchat.tui.screens.model_picker import FilePicker
from lmchat.tui.widgets.line import MUTED, STRONG, content

_LIVES: Mapping[Lifetime, str] = {
    Lifetime.BRIEF: "The server keeps running when lmchat ends.",
    Lifetime.FREE: "It runs in the background and keeps running when lmchat ends.",
    Lifetime.TIED: "It runs in the background with the model in memory and stops when lmchat ends.",
}


class StartDialog(ConfirmDialog):
    """Asks before a server is started: which command, and how long the server lives."""

    def __init__(self, start: ServerStart) -> None:
        super().__init__(f"Start {start.product.value}?", verb="run this command")
        self._start = start

    def compose_content(self) -> Iterable[Widget]:
        lives = " ".join(
            (_LIVES[self._start.lifetime], self._start.product.facts.stop_words)
        ).rstrip()
        yield Static(
            content(((safe_line(self._start.command), STRONG),)), classes="words command gap"
        )
        yield Static(content(((lives, MUTED),)), classes="words gap")


class PageStarts:
    """Starts servers and the engine for the welcome page; a server is watched on when the page is left."""

    def __init__(
        self,
        page: Screen[None],
        workspace: Workspace,
        connect: Connect,
        changed: Callable[[], None],
    ) -> None:
        """`changed` is called when more is known of this machine."""
        last = workspace.remembered
        is_own = last.endpoint == Product.BUILT_IN.value
        self.here = MachineState(last_model=last.model if is_own else "")
        """What is known of this machine beside the places that were looked at."""
        self.problem = ""  # what went wrong last; empty until then
        self.is_known = workspace.make_engine is None  # whether enough is known to show it
        self._page = page
        self._connect = connect
        self._catalogue = workspace.catalogue
        self._make_engine = workspace.make_engine
        self._changed = changed
        self._engine: Engine | None = None
        self._launcher = workspace.make_launcher() if workspace.make_launcher else None

    def look_at_disk(self) -> None:
        """Look, behind what is shown, for model files that the engine can serve."""
        if self._make_engine is not None:
            begin_work(self._page, partial(self._look_at_disk, self._make_engine), "disk")

    async def _look_at_disk(self, make: Callable[[], Awaitable[Engine]]) -> None:
        is_first = self._engine is None
        self._engine = engine = self._engine or await make()
        try:
            if self._launcher is None or not self._launcher.engine_command:
                self._learn(offer=await engine.offer())
            self._learn(files=await engine.files(is_refresh=not is_first))
        except LMChatError as error:
            self.problem = error.words
        self.is_known = True
        self._changed()

    def _learn(self, **facts: object) -> None:
        self.here = replace(self.here, **facts)
        self._changed()

    def look_at_programs(self, candidates: Sequence[Candidate]) -> None:
        """See what is installed and runs; go on where a server that was started answers."""
        starts = self._launcher
        if starts is None or not self._page.is_attached:
            return
        for run in starts.running:
            found = next((one for one in candidates if one.endpoint == run.start.endpoint), None)
            if found is not None and found.verdict.is_usable:
                self._page.call_later(self._connect.take_candidate, found)

        async def look() -> None:
            await starts.look()
            self._learn(
                installed=starts.installed,
                running=starts.running,
                engine_command=starts.engine_command,
            )

        begin_work(self._page, look, "here")

    def tick(self) -> None:
        """Look every second while something starts."""
        starts = self._launcher
        if starts and starts.running:
            self._connect.look_now()

    def begin(self, work: Work) -> None:
        """Run a worker that asks and starts; it outlives the page."""
        begin_work(self._page.app, work, "start", is_only=False)

    async def _ask(self, dialog: Screen[Any]) -> Any:
        return await self._page.app.push_screen_wait(dialog)

    async def start_engine(self) -> None:
        if file := await self._ask(FilePicker(self.here.files, verb="start it")):
            self._connect.start_engine(file.name)

    async def start_with_file(self, place: ServerRow) -> None:
        """Let a model file be chosen for the server of a place, then ask to start that."""
        file = await self._ask(FilePicker(self.here.files, verb="show the command"))
        if file and self._launcher:
            await self.start(
                await self._launcher.with_file(place.candidate, place.program, file.path)
            )

    async def start(self, start: ServerStart) -> None:
        """Show the command, and run it until it ends if the user says so; the next looks find its server."""
        starts = self._launcher
        if not await self._ask(StartDialog(start)) or starts is None:
            return
        self.problem = ""
        self._changed()
        self._catalogue.expect(start.endpoint)
        try:
            await starts.watch(await starts.begin(start))
        except LMChatError as error:
            self._catalogue.forget(start.endpoint)
            self._connect.show_failed_start(start.endpoint, error)
        else:
            self._connect.look_now()
