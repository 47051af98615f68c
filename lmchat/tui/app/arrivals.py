"""How the app arrives at a server and model: looking around, asking for what is missing, switching."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from msgspec.structs import replace
from textual import on
from textual.reactive import var
from textual.screen import ModalScreen

from lmchat.domain.candidate import Arrival, Need, can_be_allowed, choose, has_model
from lmchat.domain.server import Candidate, Endpoint, Target, Verdict
from lmchat.domain.session import SearchHit
from lmchat.domain.telemetry import Health
from lmchat.errors import EndpointNotAllowed, LMChatError
from lmchat.services.workspace import Workspace
from lmchat.tui.app.entrances import Entrances
from lmchat.tui.intents import LookNow, SearchSessions, StartEngine, StartFailed
from lmchat.tui.screens.chat_screen import ChatScreen

LOOK_EVERY_S = 5.0
"""Between two looks around while there is no server."""
AWAY_FACTOR = 2
"""So many times as long is waited while the terminal has no focus."""
LOOK_AT_LOADING_S = 1.0
"""Between two looks at a server that loads its model."""
_WRITE_ON = "No model is ready yet. Write on: what you send waits for one."


class Arrivals(Entrances):
    """The part of the app that knows how to get to a server."""

    health: var[Health] = var(Health())
    """What the monitor saw last; the worker `health` is its only writer."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace)
        self.look_every_s = LOOK_EVERY_S
        """Between two looks around while there is no server."""
        self._has_left_welcome = False
        self._has_welcome = False
        self._has_tried_engine = False
        self._has_told_to_write_on = False

    @property
    def pause_s(self) -> float:
        """Until the next look around."""
        return self.look_every_s * (1 if self.workspace.monitor.is_focused else AWAY_FACTOR)

    def start_looking(self) -> None:
        """Look for a server, and watch the one that is found, unless that is done; after the first paint."""
        busy = {worker.group for worker in self.workers if not worker.is_finished}
        if self.workspace.is_local and not self._has_tried_engine:
            self.start_engine()
        elif "models" not in busy and "engine" not in busy:
            self.begin_work(self._arrive, "models")
        if "health" not in busy:
            self.begin_work(self._follow_server, "health")

    async def _follow_server(self) -> None:
        async for health in self.workspace.monitor.watch():
            target = self.open_sessions.target
            if target is not None and health.model is not None and health.endpoint == target.endpoint:
                self.open_sessions.target = replace(
                    target, product=health.product or target.product, model=health.model
                )
            self.health = health

    def watch_health(self, health: Health) -> None:
        """Show what was seen."""
        if self.is_running and self.chat.is_mounted:
            self.chat.show_health(health)

    @on(StartEngine)
    def start_engine(self, event: StartEngine | None = None) -> None:
        """Start the built-in engine; without it, look for another server."""
        self._has_tried_engine = True
        self.begin_work(lambda: self._start_engine(event.named if event else ""), "engine")

    async def _start_engine(self, named: str) -> None:
        from lmchat.tui.app.engine_start import EngineStart

        if await EngineStart(self).run(named):
            self._leave_welcome()
        elif all(worker.is_finished for worker in self.workers if worker.group == "models"):
            self.begin_work(self._arrive, "models")

    async def _arrive(self) -> None:
        """Look around until there is a server and a model."""
        while self.open_sessions.target is None or not self.open_sessions.target.model_id:
            self._look.clear()
            target = self.open_sessions.target
            try:
                if target is not None and target.is_loading:
                    await self._follow_loading(target)
                else:
                    self._take(await self.workspace.catalogue.look_around())
            except EndpointNotAllowed as error:
                self._ask_to_allow(error)
            except LMChatError as error:
                self.chat.tell(error)
            is_loading = self.open_sessions.target is not None and self.open_sessions.target.is_loading
            try:
                async with asyncio.timeout(LOOK_AT_LOADING_S if is_loading else self.pause_s):
                    await self._look.wait()
            except TimeoutError:
                continue

    async def _follow_loading(self, target: Target) -> None:
        """Look at the server that loads its model; if it is gone, look for another."""
        candidate = await self.workspace.backend.check(target.endpoint)
        if not candidate.verdict.is_usable:
            self.open_sessions.target = None
            self.workspace.monitor.aim(None)
            self.health = Health()
            self._look.set()
        elif candidate.verdict is not Verdict.LOADING:
            self._go_on(self._arrive_at(candidate))

    def _take(self, candidates: Sequence[Candidate]) -> None:
        """Go on with what was found, or ask for what is missing."""
        settings, remembered = self.workspace.settings, self.workspace.remembered
        arrival = choose(
            candidates, model=settings.model, remembered=remembered, is_named=bool(settings.endpoint)
        )
        if self.open_sessions.target is not None and arrival.need is not Need.NOTHING:
            return  # the picker or a dialog is open; its answer decides
        forbidden = self._forbidden(candidates)
        if forbidden is not None and self._is_first(Arrival(need=Need.SERVER)):
            self._ask_to_allow(EndpointNotAllowed(forbidden.detail), forbidden.endpoint)
        else:
            self._go_on(arrival, candidates)

    def _forbidden(self, candidates: Sequence[Candidate]) -> Candidate | None:
        """Return the server that the user named, where the allow-list keeps lmchat from asking it."""
        named = self.workspace.settings.endpoint
        asked = Endpoint.parse(named) if named else None
        return next((one for one in candidates if one.endpoint == asked and can_be_allowed(one)), None)

    def _go_on(self, arrival: Arrival, candidates: Sequence[Candidate] = ()) -> None:
        known = candidates or self.workspace.catalogue.candidates
        match arrival:
            case Arrival(need=Need.MODEL, candidate=Candidate() as empty) if not any(
                map(has_model, (empty, *candidates))
            ):
                self._show_welcome(known)
            case Arrival(need=Need.MODEL) if isinstance(self.screen, ModalScreen) or self._is_writing:
                # what is typed into a dialog or a prompt is not meant for the picker
                self._show_welcome(known)
            case Arrival(need=Need.NOTHING | Need.MODEL, target=Target() as target):
                self._leave_picker()
                self.use(target)
                self._leave_welcome()
                if arrival.need is Need.MODEL and self._is_first(arrival):
                    self.open_picker(f"{target.product} has no model loaded: choose one")
            case Arrival(need=Need.KEY, candidate=Candidate() as candidate) if not (
                isinstance(self.screen, ModalScreen) or self._is_writing
            ) and self._is_first(arrival):
                self.ask_for_key(candidate)
            case _:
                self._show_welcome(candidates)

    def use(self, target: Target) -> None:
        """Use a server and model from the next turn on; the page that waits for one has done its work."""
        super().use(target)
        if target.model_id:
            self._leave_welcome()

    @property
    def _is_writing(self) -> bool:
        """Whether a prompt is being written: what came over it would take the rest, and its Enter.

        It comes with the next look after the prompt was sent or is empty.
        """
        return isinstance(self.screen, ChatScreen) and self.chat.prompt_input.is_being_written

    def _show_welcome(self, candidates: Sequence[Candidate]) -> None:
        from lmchat.tui.screens.welcome_screen import WelcomeScreen

        if self._is_writing:
            self._tell_to_write_on()
        elif isinstance(self.screen, ChatScreen) and not self._has_left_welcome:
            self._has_welcome = True
            self.push_screen(WelcomeScreen(self.workspace, clock=self.workspace.clock))
        for screen in self.screen_stack:
            if isinstance(screen, WelcomeScreen):
                screen.has_waiting = self.open_sessions.shown.is_waiting
                screen.show(candidates, 0.0, self.pause_s)

    def _tell_to_write_on(self) -> None:
        if not self._has_told_to_write_on:
            self._has_told_to_write_on = True
            self.notify(_WRITE_ON, markup=False)

    def _leave_welcome(self) -> None:
        if not self._has_welcome:  # who finds a server at once need not wait for the page's import
            return
        from lmchat.tui.screens.welcome_screen import WelcomeScreen

        self._has_welcome = False
        for screen in list(self.screen_stack):
            if isinstance(screen, WelcomeScreen):
                screen.leave()
                if not isinstance(self.screen, (WelcomeScreen, ChatScreen)):
                    self._tell_arrival()

    def _tell_arrival(self) -> None:
        """Say to who is in the middle of a dialog that there is a server now."""
        target = self.open_sessions.target
        words = f"{target.product.value} answers now." if target else "A server answers now."
        self.notify(f"{words} Nothing that you typed is lost; Esc goes to the chat.", markup=False)

    @on(StartFailed)
    def tell_failed_start(self, event: StartFailed) -> None:
        """Say why what was started has ended; look for another server where it was the one in use."""
        if self.chat.is_leaving:
            return
        target = self.open_sessions.target
        if target is not None and target.endpoint == event.endpoint:
            self.open_sessions.target = None
            self.start_looking()
        from lmchat.tui.screens.welcome_screen import WelcomeScreen

        pages = [screen for screen in self.screen_stack if isinstance(screen, WelcomeScreen)]
        for page in pages:
            page.show_problem(event.error.words)
        if not pages:
            self.chat.tell(event.error)
        self._look.set()

    def _leave_picker(self) -> None:
        """Close the picker that came unasked: a model was loaded elsewhere."""
        from lmchat.tui.screens.model_picker import ModelPicker

        for screen in list(self.screen_stack):
            if isinstance(screen, ModelPicker) and screen.reason and not screen.is_touched:
                screen.dismiss(None)

    @on(SearchSessions)
    def search_without_server(self) -> None:
        """Search the saved sessions; one that is chosen is shown instead of the page."""

        def leave(_hit: SearchHit) -> None:
            self._has_left_welcome = True
            self._leave_welcome()

        self.chat.action_search_sessions(before=leave)

    @on(LookNow)
    def look_now(self) -> None:
        """Do not wait for the next poll."""
        if self.chat.is_leaving:  # what was started ends, and says so
            return
        self.start_looking()
        self._look.set()
        self.workspace.monitor.look_now()
        self.chat.show_action("looking")
