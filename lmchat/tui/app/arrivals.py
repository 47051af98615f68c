"""How the app arrives at a server and model: looking around, asking for what is missing, switching."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from textual import on
from textual.reactive import var

from lmchat.domain.server import Candidate, Endpoint, Target, Verdict
from lmchat.domain.session import SearchHit
from lmchat.domain.telemetry import Health
from lmchat.errors import EndpointNotAllowed, LMChatError
from lmchat.safe_text import safe_line
from lmchat.services.arrival import Arrival, Need, arrive_at, choose
from lmchat.services.workspace import Workspace
from lmchat.tui.app.models import Models
from lmchat.tui.intents import ChooseCandidate, LookNow, SearchSessions, StartEngine, TryAddress, TryKey
from lmchat.tui.screens.chat_screen import ChatScreen

LOOK_EVERY_S = 5.0
"""Between two looks around while there is no server."""


class Arrivals(Models):
    """The part of the app that knows how to get to a server."""

    health: var[Health] = var(Health())
    """What the monitor saw last; the worker `health` is its only writer."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace)
        self.look_every_s = LOOK_EVERY_S
        """Between two looks around while there is no server."""
        self._look = asyncio.Event()
        self._has_left_welcome = False
        self._has_tried_engine = False
        self._asked: set[tuple[str, Need]] = set()

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
            self.health = health
            target = self.desk.target
            if target is not None and health.model is not None and health.endpoint == target.endpoint:
                self.desk.target = Target(
                    endpoint=target.endpoint, product=target.product, model=health.model
                )

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
        else:
            self.call_later(self.start_looking)

    async def _arrive(self) -> None:
        """Look around until there is a server and a model."""
        while self.desk.target is None or not self.desk.target.model_id:
            self._look.clear()
            try:
                self._take(await self.workspace.catalogue.look_around())
            except EndpointNotAllowed as error:
                self._ask_to_allow(error)
            except LMChatError as error:
                self.chat.tell(error)
            try:
                async with asyncio.timeout(self.look_every_s):
                    await self._look.wait()
            except TimeoutError:
                continue

    def _take(self, candidates: Sequence[Candidate]) -> None:
        """Go on with what was found, or ask for what is missing."""
        settings, remembered = self.workspace.settings, self.workspace.remembered
        arrival = choose(
            candidates, model=settings.model, remembered=remembered, is_named=bool(settings.endpoint)
        )
        if self.desk.target is not None and arrival.need is not Need.NOTHING:
            return  # the picker or a dialog is open; its answer decides
        self._go_on(arrival, candidates)

    def _go_on(self, arrival: Arrival, candidates: Sequence[Candidate] = ()) -> None:
        match arrival:
            case Arrival(need=Need.NOTHING | Need.MODEL, target=Target() as target):
                self._leave_welcome()
                self.use(target)
                if arrival.need is Need.MODEL and self._is_first(arrival):
                    self.open_picker()
            case Arrival(need=Need.KEY, candidate=Candidate() as candidate) if self._is_first(arrival):
                self.ask_for_key(candidate)
            case _:
                self._show_welcome(candidates)

    def _is_first(self, arrival: Arrival) -> bool:
        """Tell whether this was not asked before: a dialog that was left does not come again by itself."""
        place = arrival.candidate.endpoint.url if arrival.candidate else ""
        is_first = (place, arrival.need) not in self._asked
        self._asked.add((place, arrival.need))
        return is_first

    def _show_welcome(self, candidates: Sequence[Candidate]) -> None:
        from lmchat.tui.screens.welcome_screen import WelcomeScreen

        if isinstance(self.screen, ChatScreen) and not self._has_left_welcome:
            self.push_screen(WelcomeScreen())
        for screen in self.screen_stack:
            if isinstance(screen, WelcomeScreen):
                screen.show(candidates, 0.0, self.look_every_s)

    def _leave_welcome(self) -> None:
        from lmchat.tui.screens.welcome_screen import WelcomeScreen

        for screen in list(self.screen_stack):
            if isinstance(screen, WelcomeScreen):
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
        self.start_looking()
        self._look.set()
        self.workspace.monitor.look_now()
        self.chat.show_action("looking")

    @on(TryAddress)
    def try_address(self, event: TryAddress) -> None:
        """Look at an address that the user typed."""
        try:
            endpoint = Endpoint.parse(event.text)
        except LMChatError as error:
            self.chat.tell(error)
            return
        self.begin_work(lambda: self._try(endpoint), "address")

    @on(ChooseCandidate)
    def take_candidate(self, event: ChooseCandidate) -> None:
        """Go on with a place that was looked at: use it, ask for its key, or look again."""
        if event.candidate.verdict in (Verdict.NEEDS_KEY, Verdict.KEY_REJECTED):
            self.ask_for_key(event.candidate)
        elif event.candidate.verdict.is_usable:
            self._go_on(self._arrive_at(event.candidate))
        else:
            self._look.set()

    async def _try(self, endpoint: Endpoint) -> None:
        try:
            candidate = await self.workspace.backend.check(endpoint)
        except EndpointNotAllowed as error:
            self._ask_to_allow(error, endpoint)
            return
        except LMChatError as error:
            self.chat.tell(error)
            return
        if candidate.verdict.is_usable:
            self._go_on(self._arrive_at(candidate))
        elif candidate.verdict in (Verdict.NEEDS_KEY, Verdict.KEY_REJECTED):
            self.ask_for_key(candidate)
        else:
            words = f"{endpoint.netloc}: {candidate.verdict}. {safe_line(candidate.next_step)}"
            self.notify(words, severity="warning", markup=False)

    def _ask_to_allow(self, error: LMChatError, endpoint: Endpoint | None = None) -> None:
        """Ask whether a host beyond this machine may be talked to, for this run."""
        from lmchat.tui.screens.ask_dialog import ConfirmDialog

        if endpoint is None:
            endpoint = Endpoint.parse(self.workspace.settings.endpoint)
            if not self._is_first(Arrival(need=Need.SERVER)):
                return
        asked = endpoint

        def allow(answer: bool | None) -> None:
            if answer:
                self.workspace.backend.allow(asked.netloc)
                self.begin_work(lambda: self._try(asked), "address")

        text = (
            f"{safe_line(error.message)}\n\n{asked.netloc} is not this machine: what you write "
            "would leave it. To allow it for good, put it into allowed_hosts of the configuration."
        )
        self.push_screen(
            ConfirmDialog("Talk to another machine?", text=text, verb="allow for this run"), allow
        )

    def _arrive_at(self, candidate: Candidate) -> Arrival:
        return arrive_at(candidate, model=self.workspace.settings.model, remembered=self.workspace.remembered)

    def ask_for_key(self, candidate: Candidate) -> None:
        """Ask for the key of a server."""
        from lmchat.tui.screens.key_dialog import KeyDialog

        self._key_candidate = candidate
        is_rejected = candidate.verdict is Verdict.KEY_REJECTED
        self.push_screen(KeyDialog(candidate.product, candidate.endpoint, is_rejected=is_rejected))

    @on(TryKey)
    def try_key(self, event: TryKey) -> None:
        """Try a key before it is kept."""
        self.begin_work(lambda: self._try_key(event.key), "key")

    async def _try_key(self, key: str) -> None:
        from lmchat.tui.screens.key_dialog import KeyDialog

        dialog, endpoint = self.screen, self._key_candidate.endpoint
        if not isinstance(dialog, KeyDialog):
            return
        try:
            found = await self.workspace.backend.try_key(endpoint, key)
            if not found.verdict.is_usable:
                words = (
                    "The server refuses this key."
                    if found.verdict is Verdict.KEY_REJECTED
                    else found.next_step
                )
                dialog.show_verdict(words or str(found.verdict), is_good=False)
                return
            await self.workspace.outside.keep_key(endpoint, key)
        except LMChatError as error:
            dialog.show_verdict(error.words, is_good=False)
            return
        dialog.dismiss(key)
        self._go_on(self._arrive_at(found))
