"""What the welcome page can start: asks, runs it, and says what became of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial

from msgspec.structs import replace
from textual.worker import Worker

from lmchat.domain.candidate import Lifetime, ServerStart
from lmchat.domain.server import Candidate
from lmchat.errors import LMChatError
from lmchat.services.candidates import ServerRow
from lmchat.services.server_launcher import Run, ServerLauncher
from lmchat.services.workspace import Workspace
from lmchat.tui.intents import ChooseCandidate, LookNow, StartFailed
from lmchat.tui.screens.start_dialog import EndDialog, StartDialog
from lmchat.tui.screens.welcome_page import WelcomePage

LOOK_OFTEN_S = 120.0
"""How long after a start there is a look every second."""
_READING_S = 10.0
"""How long a notice stays that nobody expects."""


class WelcomeStarts(WelcomePage):
    """Starts what is installed and does not run. What runs is watched on when the page is left."""

    def __init__(
        self, workspace: Workspace | None = None, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Without a workspace, the page only shows what it is handed."""
        super().__init__(clock)
        self.workspace = workspace
        self.starts: ServerLauncher | None = (
            workspace.make_launcher() if workspace and workspace.make_launcher else None
        )

    def show(
        self,
        candidates: Sequence[Candidate],
        looked_s_ago: float | None = None,
        next_look_s: float | None = None,
    ) -> None:
        """Show what was found; go on where what was started answers."""
        super().show(candidates, looked_s_ago, next_look_s)
        if self.starts is None:
            return
        for run in self.starts.running:
            found = next((one for one in candidates if one.endpoint == run.start.endpoint), None)
            if found is not None and found.verdict.is_usable:
                self.post_message(ChooseCandidate(found))
        if self.is_attached:
            _: Worker[None] = self.run_worker(
                partial(self._look_here, self.starts), group="here", exclusive=True
            )

    def tick(self) -> None:
        """Look every second while something starts."""
        super().tick()
        starts = self.starts
        if starts and any(starts.elapsed_s(run) < LOOK_OFTEN_S for run in starts.running):
            self.post_message(LookNow())

    def tell_what_goes_on(self) -> None:
        """Say what was started here and goes on when lmchat ends."""
        for run in self.starts.running if self.starts else ():
            if run.start.lifetime is Lifetime.FREE:
                words = (
                    f"{run.start.product.value} goes on when lmchat ends; `kill {run.program.pid}` ends it."
                )
                self.app.notify(words, timeout=_READING_S, markup=False)

    async def _look_here(self, starts: ServerLauncher) -> None:
        """See what is installed and what runs."""
        await starts.look()
        self.show_here(
            replace(
                self.here,
                installed=starts.installed,
                running=starts.running,
                engine_command=starts.engine_command,
            )
        )

    def ask_to_start(self, start: ServerStart) -> None:
        """Show the command, and run it if the user says so."""

        def answer(is_wanted: bool | None) -> None:
            if is_wanted and self.starts is not None:
                self.show_problem("")
                starts = self.starts
                _: Worker[None] = self.app.run_worker(
                    partial(self._run, starts, start),
                    name=f"start {start.product}",
                    group=f"start {start.product}",
                )

        self.app.push_screen(StartDialog(start), answer)

    def ask_to_end(self, place: ServerRow) -> None:
        """End what was started and does not answer, if the user says so."""
        starts = self.starts
        run = (
            None
            if starts is None
            else next((one for one in starts.running if one.start == place.start), None)
        )
        if starts is None or run is None:
            return

        async def end(starts: ServerLauncher, run: Run) -> None:
            await starts.end(run)
            if self.workspace is not None:
                self.workspace.catalogue.forget(run.start.endpoint)
            self.post_message(LookNow())

        def answer(is_wanted: bool | None) -> None:
            if is_wanted:
                _: Worker[None] = self.app.run_worker(partial(end, starts, run), name="end", group="end")

        self.app.push_screen(EndDialog(run.start, log_file=str(run.program.log_file)), answer)

    async def _run(self, starts: ServerLauncher, start: ServerStart) -> None:
        """Run it until it ends; the server that it starts is found by the ordinary look."""
        app, catalogue = self.app, self.workspace.catalogue if self.workspace else None
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
