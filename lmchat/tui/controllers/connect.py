"""Search for a server: the loop, the decision about what was found, and the welcome page.

Each round of the search probes all addresses; their results are the results. The decision is
which result is used, what the user is asked about it, or that the welcome page is shown.
"""

from __future__ import annotations

import asyncio
from abc import abstractmethod
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

from textual import events
from textual.screen import ModalScreen, Screen

from lmchat.errors import LMChatError
from lmchat.servers.discovery.choose_model import Missing, TargetChoice, choose, choose_on_server
from lmchat.servers.discovery.probe_result import WANTS_KEY, ProbeResult, TargetState, Verdict
from lmchat.servers.endpoint import Endpoint
from lmchat.servers.model import Target
from lmchat.tui.chat_view import Chat
from lmchat.tui.controllers.current_target import CurrentTarget
from lmchat.tui.controllers.engine_start import EngineStart
from lmchat.tui.controllers.model_switch import ModelSwitch
from lmchat.tui.controllers.saved_sessions import SavedSessions
from lmchat.tui.controllers.server_questions import ServerQuestions
from lmchat.tui.controllers.status import StatusDisplay
from lmchat.tui.dialogs.ask_dialog import KeyDialog
from lmchat.tui.quirks.keys import hand_over

AWAY_FACTOR = 2  # factor of the pause while the terminal does not have the focus
_LOADING_PAUSE_S = 1.0  # between two checks of a server that loads its model
_NO_MODEL_YET = "No model is ready yet. You can type; your messages wait for one."


class WelcomePage(Screen[None]):
    """What is asked of the welcome page."""

    has_waiting_message: bool
    is_leaving: bool

    @abstractmethod
    def show(
        self, results: Sequence[ProbeResult], searched_s_ago: float, next_search_s: float
    ) -> None:
        """Show what the last search found."""

    @abstractmethod
    def show_problem(self, words: str) -> None:
        """Show why the start of a server failed."""

    @abstractmethod
    def leave(self) -> bool:
        """Close as soon as no dialog is above; return whether that is now."""


class Connect:
    """Searches for a server until there is a model to chat with, and watches the one in use."""

    def __init__(
        self,
        chat: Chat,
        status: StatusDisplay,
        target: CurrentTarget,
        models: ModelSwitch,
        saved_sessions: SavedSessions,
        make_page: Callable[[], WelcomePage],
    ) -> None:
        """`make_page` returns a new welcome page."""
        self._chat = chat
        self._app = chat.app
        self._workspace = chat.workspace
        self._status = status
        self._target = target
        self._models = models
        self._saved_sessions = saved_sessions
        self._engine = EngineStart(chat, status, target)
        self.questions = ServerQuestions(chat)
        self._make_page = make_page
        self._page: WelcomePage | None = None  # while it is open, also below a dialog
        self._key_dialog: KeyDialog | None = None  # while it asks for a key
        self._wake = asyncio.Event()  # ends the pause between two searches
        # URLs of servers with what they lacked when the user was asked about that
        self._asked: set[tuple[str, Missing]] = set()
        self._has_asked_host = False  # whether the user was asked about the host of `--endpoint`
        self._has_notified_of_waiting = False
        self._has_tried_engine = False  # whether the engine was started, or failed to start
        # whether the page stays closed: the user has left it, or wants to read a resumed session
        self._has_left_page = bool(chat.workspace.resume_id)

    # The search

    @property
    def pause_s(self) -> float:
        """Seconds between two searches; longer while the terminal does not have the focus."""
        factor = 1 if self._workspace.monitor.is_focused else AWAY_FACTOR
        return self._workspace.search_pause_s * factor

    def start(self) -> None:
        """Start the search and the health checks, each in a worker, unless they are running.

        With `--local`, the first call starts the built-in engine in place of the search.
        """
        running_groups = {worker.group for worker in self._app.workers if not worker.is_finished}
        if self._workspace.is_local and not self._has_tried_engine:
            self.start_engine()
        elif running_groups.isdisjoint({"search", "engine"}):
            self._start_search()
        if "health" not in running_groups:
            self._chat.begin(self._watch_server, "health", is_only=True)

    def _start_search(self) -> None:
        self._chat.begin(self._search, "search", is_only=True)

    def check_now(self) -> None:
        """Search at once, and check the server in use; do nothing while lmchat quits."""
        if self._workspace.is_leaving:
            return
        self.start()
        self._wake.set()
        self._workspace.monitor.check_now()
        self._status.show_action("checking")

    def search_if_no_server(self) -> None:
        """End the pause of the search if there is no server yet."""
        if self._target.value is None:
            self._wake.set()

    async def _watch_server(self) -> None:
        """Take over and show the results of the health checks, until lmchat ends."""
        async for health in self._workspace.monitor.watch():
            self._target.take_over(health)
            self._status.show_health(health)

    async def _search(self) -> None:
        """Search, with pauses, until a model is in use and the welcome page is closed.

        `_wake` ends a pause early.
        """
        while not self._has_model or self._page is not None:
            self._wake.clear()
            try:
                await self._search_once()
            except LMChatError as error:
                self._chat.show_error(error)
            is_loading = self._target.state is TargetState.LOADING
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOADING_PAUSE_S if is_loading else self.pause_s):
                    await self._wake.wait()

    @property
    def _has_model(self) -> bool:
        target = self._target.value
        return target is not None and bool(target.model_id)

    async def _search_once(self) -> None:
        """Probe all addresses, and decide what to use; if a model is in use, only show the results.

        While the server in use loads its model, check only this server.
        """
        target = self._target.value
        if target is not None and target.is_loading:
            await self._check_loading(target.endpoint)
            return
        had_model = self._has_model
        results = await self._workspace.catalogue.probe_all()
        if had_model:
            self._show_on_page(results)
        else:
            self._decide(results)

    async def _check_loading(self, endpoint: Endpoint) -> None:
        """Check the server in use, which loads its model.

        If it cannot be used any more, drop it, and let the search continue at once. If it does not
        load any more, use it.
        """
        probed = await self._workspace.backend.check(endpoint)
        if not probed.verdict.is_usable:
            self._target.drop()
            self._wake.set()
        elif probed.verdict is not Verdict.LOADING:
            self.take_result(probed)

    # The decision

    def _decide(self, results: Sequence[ProbeResult]) -> None:
        """Choose a server among the results, and use it or ask for what it lacks.

        Do nothing if a server is in use already and no result could be used without a question.
        If the user named a server on another machine that is not allowed yet, ask about that first,
        once.
        """
        settings, state = self._workspace.settings, self._workspace.state
        named = Endpoint.parse(settings.endpoint) if settings.endpoint else None
        choice = choose(results, model=settings.model, state=state, is_named=named is not None)
        is_asked_already = self._target.value is not None and choice.missing is not Missing.NOTHING
        if is_asked_already:  # a dialog or the model picker has asked when that server was taken
            return
        if named is not None and not self._has_asked_host:
            matches = [probed for probed in results if probed.endpoint == named]
            if any(probed.can_be_allowed for probed in matches):
                if self._can_ask:
                    self._ask_about_host(named)
                else:
                    self._show_page(results)
                return
        self._use_choice(choice, results)

    def take_result(self, probed: ProbeResult | None) -> None:
        """Use a server that the user has chosen or that has become ready; do nothing for None.

        If it needs an API key, ask for that. If it cannot be used, search at once.
        """
        if probed is None:
            return
        if probed.verdict in WANTS_KEY:
            self._ask_for_key(probed)
        elif probed.verdict.is_usable:
            model, state = self._workspace.settings.model, self._workspace.state
            self._use_choice(choose_on_server(probed, model=model, state=state))
        else:
            self._wake.set()

    def _use_choice(self, choice: TargetChoice, results: Sequence[ProbeResult] = ()) -> None:
        """Use the chosen server, or ask for what it lacks; otherwise show the welcome page.

        A server with a chosen model is used at once. One whose model the user must choose is used
        if any result has models: the picker, which lists the models of all servers, asks then.
        An API key is asked for once per server.
        """
        probed, target = choice.probed, choice.target
        if probed is not None and target is not None:
            is_complete = choice.missing is Missing.NOTHING
            has_models = any(server.has_model for server in (probed, *results))
            if is_complete or (self._can_ask and has_models):
                self._use(target)
                return
        asks_for_key = choice.missing is Missing.KEY and self._can_ask
        if probed is not None and asks_for_key:
            is_first_time = self._note_question(probed.endpoint, Missing.KEY)
            if is_first_time:
                self._ask_for_key(probed)
                return
        self._show_page(results or self._workspace.catalogue.results)

    @property
    def _can_ask(self) -> bool:
        """Whether a question may open by itself.

        It may not while a dialog is open or a prompt is typed: the next keys are not meant for it.
        """
        return not (isinstance(self._app.screen, ModalScreen) or self._is_writing)

    def _use(self, target: Target) -> None:
        """Use a server from now on, and close the welcome page.

        If no model of it is in use, open the model picker, once for each server.
        """
        self._models.close_unasked_picker()
        self._target.use(target)
        self.close_page()
        lacks_model = self._target.state is TargetState.NO_MODEL
        if lacks_model and self._note_question(target.endpoint, Missing.MODEL):
            named = self._workspace.settings.model
            reason = f"No server has a model {named}"
            if not named:
                reason = f"{target.product} has no model loaded"
            self._models.open_picker(f"{reason}: choose one")

    def _note_question(self, endpoint: Endpoint, missing: Missing) -> bool:
        """Note that a question is asked about a server; return False if it was asked before.

        Thus a dialog that the user has left does not come again.
        """
        is_first = (endpoint.url, missing) not in self._asked
        self._asked.add((endpoint.url, missing))
        return is_first

    def _ask_about_host(self, endpoint: Endpoint) -> None:
        """Ask in a worker whether the host of the named server may be used, only the first time."""
        if not self._has_asked_host:
            self._has_asked_host = True
            self._chat.begin(partial(self._try_named, endpoint), "allow", is_only=True)

    async def _try_named(self, endpoint: Endpoint) -> None:
        """Check the server that the user named, and use it; `try_server` asks about its host.

        If the server cannot be used, warn why. If the user does not allow its host, search at once.
        """
        result = await self.questions.try_server(endpoint)
        if not isinstance(result, str):
            self.take_result(result)
        elif result:  # why it cannot be used
            self._chat.warn(result)
        else:  # its host was not allowed
            self._wake.set()

    def _ask_for_key(self, probed: ProbeResult) -> None:
        """Ask for the API key of a server, unless a dialog asks for one already.

        The dialog tries the keys; when the server accepts one, the server is used.
        """
        endpoint = probed.endpoint
        problem = probed.key_withheld
        if probed.verdict is Verdict.KEY_REJECTED:
            problem = "The previous API key was rejected."
        self._asked.add((endpoint.url, Missing.KEY))
        if self._key_dialog is None:
            try_key = partial(self.questions.try_key, endpoint)
            self._key_dialog = KeyDialog(probed.product, endpoint, try_key, problem=problem)
            self._chat.show(self._key_dialog, self._take_key_result)

    def _take_key_result(self, probed: ProbeResult | None) -> None:
        self._key_dialog = None
        self.take_result(probed)

    # The built-in engine and other servers that lmchat starts

    def start_engine(self, named: str = "") -> None:
        """Start the built-in engine in a worker; if it does not serve a model then, search.

        `named` is the name of the model; if it is empty, the engine chooses one.
        """
        self._has_tried_engine = True

        async def start() -> None:
            if await self._engine.run(named):
                self.close_page()
            else:
                self._start_search()

        self._chat.begin(start, "engine", is_only=True)

    def show_failed_start(self, error: LMChatError) -> None:
        """Show why a server could not be started, on the welcome page if it is open."""
        if (page := self._page) is not None:
            page.show_problem(error.message_with_hint)
        else:
            self._chat.show_error(error)
        self._wake.set()

    # The welcome page

    def _open_page(self) -> None:
        """Open a new welcome page."""

        def forget(_: None) -> None:
            self._page = None

        self._page = self._make_page()
        self._app.push_screen(self._page, forget)

    @property
    def _is_writing(self) -> bool:
        """Whether the user is writing a prompt in the chat.

        The welcome page must not open then: it would get the next keys, and the Enter. A later
        search opens it, after the prompt was sent or deleted.
        """
        is_shown = self._app.screen is self._chat.screen
        return is_shown and self._chat.widgets.prompt_input.is_being_written

    def _show_page(self, results: Sequence[ProbeResult]) -> None:
        """Show the results on the welcome page, and open the page if it may be opened.

        It is not opened while the user writes a prompt, reads a session with messages, or is in
        a dialog, nor after the user has left it. While a prompt is written, notify the user once.
        """
        is_reading = bool(self._workspace.open_sessions.shown.conversation.messages)
        if self._is_writing:
            self._notify_of_waiting()
        elif self._app.screen is self._chat.screen and not (self._has_left_page or is_reading):
            self._open_page()
        self._show_on_page(results)
        self._status.refresh()

    def _notify_of_waiting(self) -> None:
        """Tell the user once that messages wait until a model is ready."""
        if not self._has_notified_of_waiting:
            self._has_notified_of_waiting = True
            self._chat.notify(_NO_MODEL_YET)

    def open_page(self) -> None:
        """Show the welcome page because the user asks for it, and search."""
        self._open_page()
        self._show_on_page(self._workspace.catalogue.results)
        self.check_now()

    def _show_on_page(self, results: Sequence[ProbeResult]) -> None:
        """Show results of the last search on the welcome page, if it is open."""
        if (page := self._page) is not None:
            page.has_waiting_message = self._workspace.open_sessions.shown.is_waiting
            page.show(results, searched_s_ago=0.0, next_search_s=self.pause_s)

    def close_page(self) -> None:
        """Close the welcome page, if it is open and not about to close.

        If a dialog is above it, the page closes with that dialog, and a notification says that
        a server answers.
        """
        page = self._page
        if page is None or page.is_leaving:
            return
        is_closed = page.leave()
        if not is_closed:
            target = self._target.value
            name = target.product if target else "A server"
            self._chat.notify(f"{name} answers now. Your text is kept; Esc returns to the chat.")

    def leave_page(self, typed: events.Key | events.Paste | None = None) -> None:
        """Close the welcome page, so that the chat is shown.

        `typed`, a key or a paste that is meant for the prompt, is handed to it. A user who types
        has not decided against the page: the next search opens it again, once the prompt is sent or
        deleted. A user who leaves it in another way does not want to see it: it stays closed.
        """
        if typed is None:
            self._has_left_page = True
        else:
            hand_over(typed, self._chat.widgets.prompt_input)
        self.close_page()

    def search_sessions(self) -> None:
        """Search the saved sessions; a chosen one is shown instead of the welcome page."""
        self._saved_sessions.search(on_choice=self.leave_page)
