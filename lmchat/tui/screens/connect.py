"""Search for a server: the loop, the decision about what was found, and the welcome page."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

from textual import events
from textual.app import App
from textual.screen import ModalScreen, Screen

from lmchat.domain.server import Candidate, Endpoint, Target, Verdict
from lmchat.domain.target_choice import Missing, TargetChoice, choose, choose_on_server
from lmchat.errors import LMChatError
from lmchat.services.target_state import WANTS_KEY, TargetState
from lmchat.services.workspace import Workspace
from lmchat.tui.quirks.keys import hand_over
from lmchat.tui.screens.chat.core import begin_work, open_screens
from lmchat.tui.screens.chat.screen import ChatScreen
from lmchat.tui.screens.current_target import CurrentTarget
from lmchat.tui.screens.engine_start import EngineStart
from lmchat.tui.screens.model_switch import ModelSwitch
from lmchat.tui.screens.server_questions import ServerQuestions

SEARCH_PAUSE_S = 5.0  # between two searches while there is no server
AWAY_FACTOR = 2  # factor of the pause while the terminal does not have the focus
_LOADING_PAUSE_S = 1.0  # between two checks of a server that loads its model
_NO_MODEL_YET = "No model is ready yet. You can type; your messages wait for one."


class Connect:
    """Searches for a server until there is a model to chat with, and watches the one in use."""

    def __init__(
        self,
        app: App[None],
        workspace: Workspace,
        chat: ChatScreen,
        target: CurrentTarget,
        models: ModelSwitch,
        make_page: Callable[[], Screen[None]],
    ) -> None:
        """`make_page` returns a new welcome page."""
        self.search_pause_s = SEARCH_PAUSE_S
        self._app = app
        self._workspace = workspace
        self._chat = chat
        self._target = target
        self._models = models
        self._make_page = make_page
        self._engine = EngineStart(app, workspace, chat, target)
        self.questions = ServerQuestions(workspace, chat.notices)
        self._wake = asyncio.Event()  # ends the pause between two searches
        self._asked: set[tuple[str, Missing]] = set()  # the questions that were asked, by URL
        self._has_asked_host = False  # whether the host of `--endpoint` may be used
        self._has_notified_of_waiting = False
        self._has_tried_engine = False
        # whether the page stays closed: the user has left it, or wants to read a resumed session
        self._has_left_page = bool(workspace.resume_id)

    # The search

    @property
    def pause_s(self) -> float:
        """Seconds between two searches; longer while the terminal does not have the focus."""
        factor = 1 if self._workspace.monitor.is_focused else AWAY_FACTOR
        return self.search_pause_s * factor

    def start(self) -> None:
        """Start the workers for the search, or for the engine, and for the health checks.

        A worker that is running is left alone.
        """
        running = {worker.group for worker in self._app.workers if not worker.is_finished}
        if self._workspace.is_local and not self._has_tried_engine:
            self.start_engine()
        elif running.isdisjoint({"search", "engine"}):
            self._start_search()
        if "health" not in running:
            begin_work(self._app, self._watch_server, "health")

    def _start_search(self) -> None:
        begin_work(self._app, self._search, "search")

    def check_now(self) -> None:
        """Search at once, and check the server in use."""
        if self._workspace.is_leaving:
            return
        self.start()
        self._wake.set()
        self._workspace.monitor.check_now()
        self._chat.status.show_action("checking")

    def check_if_none(self) -> None:
        """End the pause of the search if there is no server yet."""
        if self._target.value is None:
            self._wake.set()

    async def _watch_server(self) -> None:
        """Take over and show the results of the health checks, until lmchat ends."""
        async for health in self._workspace.monitor.watch():
            self._target.take_over(health)
            if self._chat.is_mounted:
                self._chat.status.show_health(health)

    async def _search(self) -> None:
        """Search until a model is in use and the welcome page is closed."""
        while not self._has_model or self._page is not None:
            self._wake.clear()
            try:
                await self._search_once()
            except LMChatError as error:
                self._chat.notices.show_error(error)
            is_loading = self._target.state is TargetState.LOADING
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOADING_PAUSE_S if is_loading else self.pause_s):
                    await self._wake.wait()

    @property
    def _has_model(self) -> bool:
        target = self._target.value
        return target is not None and bool(target.model_id)

    async def _search_once(self) -> None:
        """Probe all addresses; while a server loads its model, only this one."""
        target = self._target.value
        if target is not None and target.is_loading:
            await self._check_loading(target.endpoint)
            return
        had_model = self._has_model
        candidates = await self._workspace.catalogue.probe_all()
        if had_model:
            self._show_on_page(candidates)
        else:
            self._decide(candidates)

    async def _check_loading(self, endpoint: Endpoint) -> None:
        """Check a server that loads its model: use it once it is ready, drop it if it has ended."""
        candidate = await self._workspace.backend.check(endpoint)
        if not candidate.verdict.is_usable:
            self._target.drop()
            self._wake.set()
        elif candidate.verdict is not Verdict.LOADING:
            self.take_candidate(candidate)

    # The decision

    def _decide(self, candidates: Sequence[Candidate]) -> None:
        """Choose a server among those that were found, and use it or ask for what it lacks."""
        settings, remembered = self._workspace.settings, self._workspace.remembered
        named = Endpoint.parse(settings.endpoint) if settings.endpoint else None
        choice = choose(
            candidates, model=settings.model, remembered=remembered, is_named=named is not None
        )
        is_asking = self._target.value is not None and choice.missing is not Missing.NOTHING
        if is_asking:  # a server is in use, and the picker or a dialog asks for the rest
            return
        if named is not None and not self._has_asked_host:
            matches = [candidate for candidate in candidates if candidate.endpoint == named]
            if any(candidate.can_be_allowed for candidate in matches):
                self._ask_about_host(named)
                return
        self._use_choice(choice, candidates)

    def take_candidate(self, candidate: Candidate | None) -> None:
        """Use a server that was chosen, or found ready; ask for its key, or search again."""
        if candidate is None:
            return
        if candidate.verdict in WANTS_KEY:
            self._ask_for_key(candidate)
        elif candidate.verdict.is_usable:
            model, remembered = self._workspace.settings.model, self._workspace.remembered
            self._use_choice(choose_on_server(candidate, model=model, remembered=remembered))
        else:
            self._wake.set()

    def _use_choice(self, choice: TargetChoice, candidates: Sequence[Candidate] = ()) -> None:
        """Use a server, or ask for what it lacks; without one, show the welcome page.

        Nothing is asked over a dialog or a prompt: what is typed there is not meant for it.
        """
        candidate, target = choice.candidate, choice.target
        can_ask = not (isinstance(self._app.screen, ModalScreen) or self._is_writing)
        if candidate is not None and target is not None:
            has_choice = any(server.has_model for server in (candidate, *candidates))
            if choice.missing is Missing.NOTHING or (can_ask and has_choice):
                self._warn_of_withheld_key(candidate)
                self._use(target)
                return
        lacks_key = choice.missing is Missing.KEY and can_ask
        if candidate is not None and lacks_key:
            is_new = self._note_question(candidate.endpoint, Missing.KEY)
            if is_new:
                self._ask_for_key(candidate)
                return
        self._show_page(candidates or self._workspace.catalogue.candidates)

    def _warn_of_withheld_key(self, candidate: Candidate) -> None:
        """Warn once that the saved API key is not sent to a server, and why."""
        if candidate.key_withheld and self._note_question(candidate.endpoint, Missing.NOTHING):
            self._chat.notices.warn(candidate.key_withheld)

    def _use(self, target: Target) -> None:
        """Use a server, and let the user choose a model if it has none loaded."""
        self._models.close_unasked_picker()
        self._target.use(target)
        self.close_page()
        is_missing = self._target.state is TargetState.NO_MODEL
        if is_missing and self._note_question(target.endpoint, Missing.MODEL):
            named = self._workspace.settings.model
            missing = f"No server has a model {named}"
            if not named:
                missing = f"{target.product} has no model loaded"
            self._models.open_picker(f"{missing}: choose one")

    def _note_question(self, endpoint: Endpoint, missing: Missing) -> bool:
        """Note that a question is asked about a server; return False if it was asked before.

        A dialog that the user has left thus does not come again.
        """
        is_first = (endpoint.url, missing) not in self._asked
        self._asked.add((endpoint.url, missing))
        return is_first

    def _ask_about_host(self, endpoint: Endpoint) -> None:
        """Ask once whether the server that the user named may be used on another machine."""
        if not self._has_asked_host:
            self._has_asked_host = True
            begin_work(self._app, partial(self._try_named, endpoint), "allow")

    async def _try_named(self, endpoint: Endpoint) -> None:
        """Check the server that the user named, which asks about its host, and use it."""
        result = await self.questions.try_server(endpoint)
        if not isinstance(result, str):
            self.take_candidate(result)
        elif result:  # why it cannot be used
            self._chat.notices.warn(result)
        else:  # its host was not allowed
            self._wake.set()

    def _ask_for_key(self, candidate: Candidate) -> None:
        """Ask for the API key of a server, and use the server when it accepts a key."""
        from lmchat.tui.screens.server_dialog import KeyDialog

        endpoint = candidate.endpoint
        problem = candidate.key_withheld
        if candidate.verdict is Verdict.KEY_REJECTED:
            problem = "The previous API key was rejected."
        self._asked.add((endpoint.url, Missing.KEY))
        if not open_screens(self._app, "KeyDialog"):
            try_key = partial(self.questions.try_key, endpoint)
            dialog = KeyDialog(candidate.product, endpoint, try_key, problem=problem)
            self._app.push_screen(dialog, self.take_candidate)

    # The built-in engine and other servers that lmchat starts

    def start_engine(self, named: str = "") -> None:
        """Start the built-in engine with the named model, or one it chooses; search if it fails."""
        self._has_tried_engine = True

        async def start() -> None:
            if await self._engine.run(named):
                self.close_page()
            else:
                self._start_search()

        begin_work(self._app, start, "engine")

    def show_failed_start(self, endpoint: Endpoint, error: LMChatError) -> None:
        """Show why a started server has ended; search for another one if it was in use."""
        if self._workspace.is_leaving:
            return
        target = self._target.value
        if target is not None and target.endpoint == endpoint:
            self._target.drop()
            self.start()
        if (page := self._page) is not None:
            page.show_problem(error.message_with_hint)
        else:
            self._chat.notices.show_error(error)
        self._wake.set()

    # The welcome page

    @property
    def _page(self) -> Any:
        """The welcome page while it is shown, also below a dialog."""
        pages = open_screens(self._app, "WelcomeScreen")
        return pages[0] if pages else None

    @property
    def _is_writing(self) -> bool:
        """Whether the user is writing a prompt: a page would get the next keys, and the Enter.

        The page is opened by the next search after the prompt was sent or deleted.
        """
        is_shown = self._app.screen is self._chat
        return is_shown and self._chat.widgets.prompt_input.is_being_written

    def _show_page(self, candidates: Sequence[Candidate]) -> None:
        """Show what was found on the welcome page, and open it unless it would cover a chat."""
        is_reading = bool(self._workspace.open_sessions.shown.conversation.messages)
        if self._is_writing:
            self._notify_of_waiting()
        elif self._app.screen is self._chat and not (self._has_left_page or is_reading):
            self._app.push_screen(self._make_page())
        self._show_on_page(candidates)
        self._chat.status.refresh()

    def _notify_of_waiting(self) -> None:
        """Tell the user once that messages wait until a model is ready."""
        if not self._has_notified_of_waiting:
            self._has_notified_of_waiting = True
            self._app.notify(_NO_MODEL_YET)

    def open_page(self) -> None:
        """Show the welcome page because the user asks for it, and search."""
        self._app.push_screen(self._make_page())
        self._show_on_page(self._workspace.catalogue.candidates)
        self.check_now()

    def _show_on_page(self, candidates: Sequence[Candidate]) -> None:
        """Show what was found on the welcome page, if it is open."""
        if (page := self._page) is not None:
            page.has_waiting_message = self._workspace.open_sessions.shown.is_waiting
            page.show(candidates, 0.0, self.pause_s)

    def close_page(self) -> None:
        """Close the welcome page: at once, or with the dialog above it."""
        page = self._page
        if page is not None and not page.is_leaving and not page.leave():
            target = self._target.value
            name = target.product.value if target else "A server"
            self._chat.notices.notify(
                f"{name} answers now. Your text is kept; Esc returns to the chat."
            )

    def leave_page(self, typed: events.Key | events.Paste | None = None) -> None:
        """Show the chat. `typed` goes into its prompt; when that is sent, the page comes back."""
        if typed is None:
            self._has_left_page = True
        else:
            hand_over(typed, self._chat.widgets.prompt_input)
        self.close_page()

    def search_sessions(self) -> None:
        """Search the saved sessions; a chosen one is shown instead of the welcome page."""
        self._chat.action_search_sessions(on_choice=self.leave_page)
