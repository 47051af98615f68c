"""What the welcome page can start: installed servers, and the built-in engine."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial

from msgspec.structs import replace
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Static
from textual.worker import Worker

from lmchat.domain.candidate import Lifetime, ServerStart
from lmchat.domain.engine import ModelFile
from lmchat.domain.server import Candidate, Product
from lmchat.errors import LMChatError
from lmchat.services.candidates import MachineState, ServerRow
from lmchat.services.ports import Engine
from lmchat.services.server_launcher import Run, ServerLauncher
from lmchat.services.workspace import Workspace
from lmchat.text import safe_line
from lmchat.tui.intents import ChooseCandidate, CopyText, LookNow, StartEngine, StartFailed
from lmchat.tui.screens.ask_dialog import ConfirmDialog
from lmchat.tui.screens.model_picker import FilePicker
from lmchat.tui.widgets.line import MUTED, STRONG, content

LOOK_OFTEN_S = 120.0
"""How long after a start there is a look every second."""
_READING_S = 10.0
"""How long an unexpected notification stays."""
_LIVES: Mapping[Lifetime, str] = {
    Lifetime.BRIEF: "The server goes on when lmchat ends.",
    Lifetime.FREE: "It runs in the background, and goes on when lmchat ends.",
    Lifetime.TIED: "It runs in the background with the model in memory, and ends when lmchat does.",
}
_ENDS: Mapping[Product, str] = {Product.LM_STUDIO: "`lms server stop` ends it."}


class StartDialog(ConfirmDialog):
    """Asks before a server is started: which command, and how long the server lives."""

    def __init__(self, start: ServerStart) -> None:
        super().__init__(f"Start {start.product.value}?", verb="run this command")
        self._start = start

    def compose_content(self) -> Iterable[Widget]:
        """Return the command and what becomes of it."""
        lives = " ".join((_LIVES[self._start.lifetime], _ENDS.get(self._start.product, ""))).rstrip()
        yield Static(content(((safe_line(self._start.command), STRONG),)), classes="words command gap")
        yield Static(content(((lives, MUTED),)), classes="words gap")


class EndDialog(ConfirmDialog):
    """Asks before a server that was started is ended."""

    leave_word = "let it run"

    def __init__(self, start: ServerStart, *, log_file: str) -> None:
        name = safe_line(start.short)
        super().__init__(
            f"End {name}?",
            text=f"{name} runs, but no server answers at {safe_line(start.endpoint.netloc)} yet.\n\n"
            f"Its output: {log_file}",
            verb="end it",
        )


class PageStarts:
    """Starts servers and the engine for the welcome page; a server is watched on when the page is left."""

    def __init__(
        self,
        page: Screen[None],
        workspace: Workspace | None,
        *,
        changed: Callable[[], None],
        show_problem: Callable[[str], None],
    ) -> None:
        """`changed` is called when more is known of this machine."""
        self.here = MachineState()
        """What is known of this machine beside the places that were looked at."""
        self.is_known = True
        """Whether enough is known to show it."""
        self._page = page
        self._workspace = workspace
        self._changed = changed
        self._show_problem = show_problem
        self._engine: Engine | None = None
        self._launcher: ServerLauncher | None = (
            workspace.make_launcher() if workspace and workspace.make_launcher else None
        )

    def look_at_disk(self) -> None:
        """Look, behind what is shown, for model files that the engine can serve."""
        if self._workspace is not None and self._workspace.make_engine is not None:
            self.is_known = self._engine is not None
            _: Worker[None] = self._page.run_worker(
                partial(self._look_at_disk, self._workspace.make_engine), group="disk", exclusive=True
            )

    async def _look_at_disk(self, make: Callable[[], Awaitable[Engine]]) -> None:
        is_first = self._engine is None
        engine: Engine = self._engine or await make()
        self._engine = engine
        try:
            can_have = self._launcher is None or not self._launcher.engine_command
            self._learn(offer=await engine.offer() if can_have else None)
            self._learn(files=await engine.files(is_refresh=not is_first))
        except LMChatError as error:
            self._show_problem(error.words)
        self.is_known = True
        self._changed()

    def _learn(self, **facts: object) -> None:
        self.here = replace(self.here, **facts)
        self._changed()

    def look_at_programs(self, candidates: Sequence[Candidate]) -> None:
        """See what is installed and runs; go on where a server that was started answers."""
        starts = self._launcher
        if starts is None:
            return
        for run in starts.running:
            found = next((one for one in candidates if one.endpoint == run.start.endpoint), None)
            if found is not None and found.verdict.is_usable:
                self._page.post_message(ChooseCandidate(found))

        async def look() -> None:
            await starts.look()
            self._learn(
                installed=starts.installed, running=starts.running, engine_command=starts.engine_command
            )

        if self._page.is_attached:
            _: Worker[None] = self._page.run_worker(look, group="here", exclusive=True)

    def tick(self) -> None:
        """Look every second while something starts."""
        starts = self._launcher
        if starts and any(starts.elapsed_s(run) < LOOK_OFTEN_S for run in starts.running):
            self._page.post_message(LookNow())

    def show_what_stays(self) -> None:
        """Show which of the servers that were started stay when lmchat ends."""
        for run in self._launcher.running if self._launcher else ():
            if run.start.lifetime is Lifetime.FREE:
                name, pid = run.start.product.value, run.program.pid
                words = f"{name} goes on when lmchat ends; `kill {pid}` ends it."
                self._page.app.notify(words, timeout=_READING_S, markup=False)

    def start_demo(self) -> None:
        """Ask for the demo model."""
        if self.here.offer is not None:
            self._page.post_message(StartEngine(self.here.offer.name))

    def copy_command(self) -> None:
        """Copy the command that installs the engine."""
        self._page.post_message(CopyText(self.here.engine_command))

    def pick_file(self) -> None:
        """Let a model file be chosen, and start the engine with it."""

        def take(file: ModelFile | None) -> None:
            if file is not None:
                self._page.post_message(StartEngine(file.name))

        self._page.app.push_screen(FilePicker(self.here.files, verb="start it"), take)

    def pick_file_for(self, place: ServerRow) -> None:
        """Let a model file be chosen for the server of a place, then ask to start that."""

        async def ask(starts: ServerLauncher, file: ModelFile) -> None:
            self.ask_to_start(await starts.with_file(place.candidate, place.program, file.path))

        def take(file: ModelFile | None) -> None:
            if file is not None and self._launcher is not None:
                _: Worker[None] = self._page.run_worker(partial(ask, self._launcher, file), group="ask")

        self._page.app.push_screen(FilePicker(self.here.files, verb="show the command"), take)

    def ask_to_start(self, start: ServerStart) -> None:
        """Show the command, and run it if the user says so."""

        def answer(is_wanted: bool | None) -> None:
            if is_wanted and self._launcher is not None:
                self._show_problem("")
                name = f"start {start.product}"
                work = partial(self._run, self._launcher, start)
                _: Worker[None] = self._page.app.run_worker(work, name=name, group=name)

        self._page.app.push_screen(StartDialog(start), answer)

    async def _run(self, starts: ServerLauncher, start: ServerStart) -> None:
        """Run it until it ends; the server that it starts is found by the ordinary look."""
        app, catalogue = self._page.app, self._workspace.catalogue if self._workspace else None
        if catalogue is not None:
            catalogue.expect(start.endpoint)
        try:
            await starts.watch(await starts.begin(start))
        except LMChatError as error:
            if catalogue is not None:
                catalogue.forget(start.endpoint)
            app.post_message(StartFailed(start.endpoint, error))
            return
        app.post_message(LookNow())

    def ask_to_end(self, place: ServerRow) -> None:
        """End what was started and does not answer, if the user says so."""
        starts = self._launcher
        running = starts.running if starts else ()
        run = next((one for one in running if one.start == place.start), None)
        if starts is None or run is None:
            return

        async def end(starts: ServerLauncher, run: Run) -> None:
            await starts.end(run)
            if self._workspace is not None:
                self._workspace.catalogue.forget(run.start.endpoint)
            self._page.post_message(LookNow())

        def answer(is_wanted: bool | None) -> None:
            if is_wanted:
                _: Worker[None] = self._page.app.run_worker(
                    partial(end, starts, run), name="end", group="end"
                )

        self._page.app.push_screen(EndDialog(run.start, log_file=str(run.program.log_file)), answer)
