"""How the app gets in: an address that is typed, a host that is to be allowed, a key that is wanted."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from textual import on

from lmchat.domain.candidate import Arrival, Need, arrive_at, has_model
from lmchat.domain.server import Candidate, Endpoint, Verdict
from lmchat.errors import EndpointNotAllowed, LMChatError
from lmchat.services.workspace import Workspace
from lmchat.text import safe_line
from lmchat.tui.app.models import Models
from lmchat.tui.intents import ChooseCandidate, TryAddress, TryKey


class Entrances(Models):
    """The part of the app that asks for what a server wants before it answers."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__(workspace)
        self._look = asyncio.Event()
        self._asked: set[tuple[str, Need]] = set()

    def _go_on(self, arrival: Arrival, candidates: Sequence[Candidate] = ()) -> None:
        """Go on with what was found; who only asks at the entrance stays there, `Arrivals` goes in."""

    def _is_first(self, arrival: Arrival) -> bool:
        """Tell whether this was not asked before: a dialog that was left does not come again by itself."""
        place = arrival.candidate.endpoint.url if arrival.candidate else ""
        is_first = (place, arrival.need) not in self._asked
        self._asked.add((place, arrival.need))
        return is_first

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
            self._tell_of_address(error.words)
            return
        if candidate.verdict.is_server:
            self.workspace.catalogue.expect(endpoint)
        if candidate.verdict.is_usable and has_model(candidate):
            self._leave_address()
            self._go_on(self._arrive_at(candidate))
        elif candidate.verdict in (Verdict.NEEDS_KEY, Verdict.KEY_REJECTED):
            self._leave_address()
            self.ask_for_key(candidate)
        else:
            self._tell_of_address(f"{endpoint.netloc}: {candidate.finding}. {candidate.next_step}")

    def _tell_of_address(self, words: str) -> None:
        """Say what is wrong with an address, under it where it is still being asked for."""
        from lmchat.tui.screens.address_dialog import address_dialogs

        dialogs = address_dialogs(self)
        for dialog in dialogs:
            dialog.show_problem(words)
        if not dialogs:
            self.notify(safe_line(words), severity="warning", markup=False)

    def _leave_address(self) -> None:
        from lmchat.tui.screens.address_dialog import address_dialogs

        for dialog in address_dialogs(self):
            dialog.dismiss(None)

    def _ask_to_allow(self, error: LMChatError, endpoint: Endpoint | None = None) -> None:
        """Ask whether a host beyond this machine may be talked to, for this run."""
        from lmchat.tui.screens.address_dialog import AllowDialog, address_dialogs

        if endpoint is None:
            endpoint = Endpoint.parse(self.workspace.settings.endpoint)
            if not self._is_first(Arrival(need=Need.SERVER)):
                return
        asked = endpoint

        def allow(answer: bool | None) -> None:
            if answer:
                self.workspace.backend.allow(asked.netloc)
                self.begin_work(lambda: self._try(asked), "address")
            else:
                for dialog in address_dialogs(self):
                    dialog.show_problem(error.message)
                self._look.set()

        self.push_screen(AllowDialog(asked, allowed=self.workspace.settings.allowed_hosts), allow)

    def _arrive_at(self, candidate: Candidate) -> Arrival:
        return arrive_at(candidate, model=self.workspace.settings.model, remembered=self.workspace.remembered)

    def ask_for_key(self, candidate: Candidate) -> None:
        """Ask for the key of a server, once at a time."""
        from lmchat.tui.screens.key_dialog import KeyDialog

        self._asked.add((candidate.endpoint.url, Need.KEY))
        if any(isinstance(screen, KeyDialog) for screen in self.screen_stack):
            return
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
        except LMChatError as error:
            dialog.show_verdict(error.words, is_good=False)
            return
        try:
            if where := await self.workspace.outside.keep_key(endpoint, key):
                self.notify(f"The key is kept in {where}.", markup=False)
        except LMChatError as error:  # it holds until the end of this run
            self.chat.tell(error)
        dialog.dismiss(key)
        self._go_on(self._arrive_at(found))
