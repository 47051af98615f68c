"""The way to a server: looking around, the welcome page, and asking for an address, a host or a key."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from msgspec.structs import replace
from textual import events
from textual.app import App
from textual.screen import ModalScreen, Screen

from lmchat.domain.server import Candidate, Endpoint, Target, Verdict
from lmchat.domain.target_choice import Need, TargetChoice, choose, choose_at
from lmchat.domain.telemetry import Health
from lmchat.errors import EndpointNotAllowed, LMChatError
from lmchat.services.workspace import Workspace
from lmchat.text import header_value, safe_line
from lmchat.tui.quirks.keys import hand_over
from lmchat.tui.screens.chat.screen import ChatScreen
from lmchat.tui.screens.chat.view import begin_work
from lmchat.tui.screens.models import Models, screens_of

LOOK_EVERY_S = 5.0  # between two looks around while there is no server
AWAY_FACTOR = 2  # how many times as long a pause is while the terminal has no focus
_LOOK_AT_LOADING_S = 1.0  # between two looks at a server that loads its model
_WRITE_ON = "No model is ready yet. You can type; your messages wait for one."
_WANTS_KEY = (Verdict.NEEDS_KEY, Verdict.KEY_REJECTED)


class Connect:
    """Looks for a server until there is a model to chat with, and watches the one that is used."""

    def __init__(
        self,
        app: App[None],
        workspace: Workspace,
        chat: ChatScreen,
        models: Models,
        make_page: Callable[[], Screen[None]],
    ) -> None:
        """`make_page` returns a new welcome page."""
        self.look_every_s = LOOK_EVERY_S
        self._app = app
        self._workspace = workspace
        self._open_sessions = workspace.open_sessions
        self._next_turn = workspace.open_sessions.next_turn
        self._chat = chat
        self._models = models
        self._make_page = make_page
        self._look = asyncio.Event()
        self._asked: set[tuple[str, Need]] = set()
        self._has_left_page = bool(workspace.resume_id)  # the session is to be read
        self._has_tried_engine = False
        models.when_used = self._leave_page
        models.show_servers = self._open_page

    @property
    def pause_s(self) -> float:
        return self.look_every_s * (1 if self._workspace.monitor.is_focused else AWAY_FACTOR)

    def start(self) -> None:
        """Look for a server, and watch the one that is found, unless that is going on."""
        busy = {worker.group for worker in self._app.workers if not worker.is_finished}
        if self._workspace.is_local and not self._has_tried_engine:
            self.start_engine()
        elif not busy & {"models", "engine"}:
            begin_work(self._app, self._look_for_server, "models")
        if "health" not in busy:
            begin_work(self._app, self._watch_server, "health")

    def look_now(self) -> None:
        """Look at once: around, and at the server in use."""
        if self._chat.view.is_leaving:  # what was started ends, and says so
            return
        self.start()
        self._look.set()
        self._workspace.monitor.look_now()
        self._chat.view.show_action("checking")

    def look_if_none(self) -> None:
        if self._next_turn.target is None:
            self._look.set()

    async def _watch_server(self) -> None:
        async for health in self._workspace.monitor.watch():
            target = self._next_turn.target
            if (
                target is not None
                and health.model is not None
                and health.endpoint == target.endpoint
            ):
                product = health.product or target.product
                self._next_turn.target = replace(target, product=product, model=health.model)
            if self._chat.is_mounted:
                self._chat.view.show_health(health)

    async def _look_for_server(self) -> None:
        """Look around until there is a server and a model, and the welcome page is gone."""
        while not self._has_model or self._page is not None:
            self._look.clear()
            try:
                await self._look_around()
            except EndpointNotAllowed:
                self._use_named(Endpoint.parse(self._workspace.settings.endpoint))
            except LMChatError as error:
                self._chat.view.tell(error)
            is_loading = self._next_turn.target is not None and self._next_turn.target.is_loading
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_AT_LOADING_S if is_loading else self.pause_s):
                    await self._look.wait()

    @property
    def _has_model(self) -> bool:
        return self._next_turn.target is not None and bool(self._next_turn.target.model_id)

    @property
    def _page(self) -> Any:
        """The welcome page while it is shown, or lies under a dialog."""
        return next(iter(screens_of(self._app, "WelcomeScreen")), None)

    async def _look_around(self) -> None:
        """Look everywhere; while a server loads its model, look there only."""
        target = self._next_turn.target
        if target is None or not target.is_loading:
            has_model = self._has_model
            found = await self._workspace.catalogue.look_around()
            (self._show_on_page if has_model else self._take)(found)
            return
        candidate = await self._workspace.backend.check(target.endpoint)
        if not candidate.verdict.is_usable:
            self._next_turn.target = None
            self._workspace.monitor.aim(None)
            self._chat.view.show_health(Health())
            self._look.set()
        elif candidate.verdict is not Verdict.LOADING:
            self.take_candidate(candidate)

    def _take(self, candidates: Sequence[Candidate]) -> None:
        settings, remembered = self._workspace.settings, self._workspace.remembered
        is_named = bool(settings.endpoint)
        arrival = choose(candidates, model=settings.model, remembered=remembered, is_named=is_named)
        if self._next_turn.target is not None and arrival.need is not Need.NOTHING:
            return  # the picker or a dialog is open; its answer decides
        asked = Endpoint.parse(settings.endpoint) if is_named else None
        is_forbidden = any(one.endpoint == asked and one.can_be_allowed for one in candidates)
        if not (is_forbidden and asked and self._use_named(asked)):
            self._go_on(arrival, candidates)

    def _go_on(self, arrival: TargetChoice, candidates: Sequence[Candidate] = ()) -> None:
        """Use the server, or ask for what it lacks; without one, show the welcome page.

        Nothing is asked over a dialog or a prompt: what is typed there is not meant for it.
        """
        need, candidate, target = arrival.need, arrival.candidate, arrival.target
        can_ask = not (isinstance(self._app.screen, ModalScreen) or self._is_writing)
        is_empty = candidate is not None and not any(
            one.has_model for one in (candidate, *candidates)
        )
        if target is not None and (need is Need.NOTHING or (can_ask and not is_empty)):
            if (
                candidate
                and candidate.key_withheld
                and self._is_first(candidate.endpoint.url, need)
            ):
                self._chat.view.warn(candidate.key_withheld)
            self._use(target)
        elif (
            candidate
            and need is Need.KEY
            and can_ask
            and self._is_first(candidate.endpoint.url, need)
        ):
            self._ask_for_key(candidate)
        else:
            self._show_page(candidates or self._workspace.catalogue.candidates)

    def _use(self, target: Target) -> None:
        self._models.close_unasked_picker()
        self._models.use(target)
        self._leave_page()
        if not (target.model_id or target.is_loading) and self._is_first(
            target.endpoint.url, Need.MODEL
        ):
            named = safe_line(self._workspace.settings.model)
            reason = (
                f"No server has a model {named}"
                if named
                else f"{target.product} has no model loaded"
            )
            self._models.open_picker(f"{reason}: choose one")

    @property
    def _is_writing(self) -> bool:
        """Whether a prompt is being written: a page over it would take the rest, and its Enter.

        The page comes with the next look after the prompt was sent or is empty.
        """
        return self._app.screen is self._chat and self._chat.view.prompt_input.is_being_written

    @property
    def _is_reading(self) -> bool:
        """Whether a session is shown that has messages; its row of keys leads to a server."""
        return bool(self._open_sessions.shown.conversation.messages)

    def _is_first(self, url: str, need: Need) -> bool:
        """Return whether this was not asked before: a dialog that was left does not come again."""
        is_first = (url, need) not in self._asked
        self._asked.add((url, need))
        return is_first

    def _show_page(self, candidates: Sequence[Candidate]) -> None:
        if self._is_writing:
            if self._is_first("", Need.NOTHING):
                self._app.notify(_WRITE_ON, markup=False)
        elif self._app.screen is self._chat and not (self._has_left_page or self._is_reading):
            self._app.push_screen(self._make_page())
        self._show_on_page(candidates)
        self._chat.view.refresh()

    def _open_page(self) -> None:
        """Show the ways to a server, and look around."""
        self._app.push_screen(self._make_page())
        self._show_on_page(self._workspace.catalogue.candidates)
        self.look_now()

    def _show_on_page(self, candidates: Sequence[Candidate]) -> None:
        if (page := self._page) is not None:
            page.has_waiting = self._open_sessions.shown.is_waiting
            page.show(candidates, 0.0, self.pause_s)

    def _leave_page(self) -> None:
        """Leave the welcome page; under a dialog it goes when the dialog does."""
        page, target = self._page, self._next_turn.target
        if page is not None and not page.is_leaving and not page.leave():
            words = f"{target.product.value if target else 'A server'} answers now."
            self._chat.view.notify(f"{words} Your text is kept; Esc returns to the chat.")

    def search_without_server(self) -> None:
        """Search the saved sessions; one that is chosen is shown instead of the welcome page."""
        self._chat.action_search_sessions(before=self.leave_page)

    def leave_page(self, typed: events.Key | events.Paste | None = None) -> None:
        """Show the chat; what was `typed` goes into its prompt, and the page comes back when that is sent."""
        if typed is None:
            self._has_left_page = True
        else:
            hand_over(typed, self._chat.view.prompt_input)
        self._leave_page()

    def show_failed_start(self, endpoint: Endpoint, error: LMChatError) -> None:
        """Show why a server that was started has ended; look for another where it was the one in use."""
        if self._chat.view.is_leaving:
            return
        target = self._next_turn.target
        if target is not None and target.endpoint == endpoint:
            self._next_turn.target = None
            self.start()
        if (page := self._page) is not None:
            page.show_problem(error.words)
        else:
            self._chat.view.tell(error)
        self._look.set()

    def start_engine(self, named: str = "") -> None:
        self._has_tried_engine = True

        async def start() -> None:
            if await self._models.start_engine(named):
                self._leave_page()
            else:
                begin_work(self._app, self._look_for_server, "models")

        begin_work(self._app, start, "engine")

    def take_candidate(self, candidate: Candidate | None) -> None:
        """Continue with a server that was chosen or found, if any."""
        if candidate is None:
            return
        if candidate.verdict in _WANTS_KEY:
            self._ask_for_key(candidate)
        elif candidate.verdict.is_usable:
            model, remembered = self._workspace.settings.model, self._workspace.remembered
            self._go_on(choose_at(candidate, model=model, remembered=remembered))
        else:
            self._look.set()

    async def try_address(self, typed: str) -> Candidate | str:
        """Return the server at an address, or why not; no words if the user refused."""
        try:
            endpoint = Endpoint.parse(typed)
        except EndpointNotAllowed as error:
            return error.message
        with suppress(EndpointNotAllowed):
            return await self._try(endpoint)
        return ""

    async def _try(self, endpoint: Endpoint) -> Candidate | str:
        """Check a server; ask first whether a host beyond this machine may be talked to, for this run."""
        from lmchat.tui.screens.ask_dialog import AllowDialog

        backend = self._workspace.backend
        try:
            candidate = await backend.check(endpoint)
        except EndpointNotAllowed:
            dialog = AllowDialog(endpoint, allowed=self._workspace.settings.allowed_hosts)
            if not await self._chat.view.ask(dialog):
                self._look.set()
                raise
            backend.allow(endpoint.netloc)
            return await self._try(endpoint)
        except LMChatError as error:
            return error.words
        if candidate.verdict.is_server:
            self._workspace.catalogue.expect(endpoint)
        if candidate.verdict in _WANTS_KEY or (candidate.verdict.is_usable and candidate.has_model):
            return candidate
        return f"{endpoint.netloc}: {candidate.finding}. {candidate.next_step}"

    def _use_named(self, endpoint: Endpoint) -> bool:
        """Ask to allow the server that the user named, and use it; return False if that was done before."""

        async def use() -> None:
            with suppress(EndpointNotAllowed):
                found = await self._try(endpoint)
                if isinstance(found, str):
                    self._chat.view.warn(found)
                else:
                    self.take_candidate(found)

        is_first = self._is_first("", Need.SERVER)
        if is_first:
            begin_work(self._app, use, "allow")
        return is_first

    def _ask_for_key(self, candidate: Candidate) -> None:
        from lmchat.tui.screens.ask_dialog import KeyDialog

        endpoint, problem = candidate.endpoint, candidate.key_withheld
        if candidate.verdict is Verdict.KEY_REJECTED:
            problem = "The previous API key was rejected."
        self._asked.add((endpoint.url, Need.KEY))
        if not screens_of(self._app, "KeyDialog"):
            try_key = partial(self._try_key, endpoint)
            dialog = KeyDialog(candidate.product, endpoint, try_key, problem=problem)
            self._app.push_screen(dialog, self.take_candidate)

    async def _try_key(self, endpoint: Endpoint, key: str) -> Candidate | str:
        """Keep a key that the server accepts, and return the server; else why the key is no good."""
        try:
            header_value(key)
        except ValueError as error:
            return f"What you typed {error}. Type the API key without them."
        try:
            found = await self._workspace.backend.try_key(endpoint, key)
        except LMChatError as error:
            return error.words
        if found.verdict is Verdict.KEY_REJECTED:
            return "The server rejects this API key."
        if not found.verdict.is_usable:
            return found.next_step or str(found.verdict)
        try:
            if where := await self._workspace.platform.keep_key(endpoint, key):
                self._chat.view.notify(f"The API key is saved in {where}.")
        except LMChatError as error:  # it holds until the end of this run
            self._chat.view.tell(error)
        return found
