"""Pages of the web that are attached to the prompt: those of `/file` and of `@https://…`."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial

from lmchat.domain.web_page import PageAddress
from lmchat.errors import LMChatError
from lmchat.services.open_sessions import OpenSession
from lmchat.text import safe_line
from lmchat.tui.screens.chat.core import ChatCore
from lmchat.tui.screens.chat.prompt_text import PromptText
from lmchat.tui.screens.chat.status import StatusDisplay
from lmchat.tui.widgets.prompt_input import PromptInput

_GROUP = "pages"  # of the workers that fetch


class PromptPages:
    """Fetches pages, one after the other, once the user allows it."""

    def __init__(self, core: ChatCore, status: StatusDisplay, prompt_text: PromptText) -> None:
        self._pages = core.workspace.pages
        self._open_sessions = core.open_sessions
        self._widgets = core.widgets
        self._notices = core.notices
        self._background = core.background
        self._status = status
        self._prompt_text = prompt_text
        self._lock = asyncio.Lock()  # held while pages are fetched: one after the other
        self._fetched = ""  # the address that is being fetched; empty if none is

    @property
    def note(self) -> str:
        """Words for what is being fetched; empty if nothing is."""
        return f"Downloading: {safe_line(self._fetched)}" if self._fetched else ""

    @property
    def _input(self) -> PromptInput:
        return self._widgets.prompt_input

    def attach(self, address: str) -> None:
        """Fetch a page, and put it into the prompt of the session that is shown now."""
        work = partial(self._attach, address, self._open_sessions.shown)
        self._background.attempt(work, group=_GROUP, typed=f"/file {address}")

    def attach_mentioned(self, addresses: Sequence[str]) -> None:
        """Fetch the pages that the prompt names with `@`, in a worker.

        If Enter was pressed for the prompt, it is sent once it has all pages. The first address
        that the user refuses, or whose page cannot be attached, ends this: it stays in the prompt
        as text, and the prompt is not sent.
        """
        work = partial(self._attach_mentioned, addresses, self._open_sessions.shown)
        self._background.begin(work, _GROUP, is_only=False)

    def stop(self) -> bool:
        """Stop what is being fetched; return whether anything was."""
        return self._background.stop(_GROUP)

    async def _attach(self, address: str, opened: OpenSession) -> None:
        async with self._lock:
            file_text = await self._fetch(address, opened)
        self._prompt_text.add_file(opened, file_text)

    async def _attach_mentioned(self, addresses: Sequence[str], opened: OpenSession) -> None:
        """Fetch pages one after the other into the prompt; see `attach_mentioned`.

        The first page that cannot be fetched ends this, and so does a change of the session or of
        the text while a page is fetched: the prompt is then not sent.
        """
        async with self._lock:
            for address in addresses:
                if address not in self._input.unread_pages:  # attached by now, or deleted
                    continue
                try:
                    file_text = await self._fetch(address, opened)
                except LMChatError as error:
                    self._input.keep_address(address)  # as text: Enter does not fetch it again
                    next_step = "Enter sends the text as it is."
                    if self._input.unread_pages:
                        next_step = "Enter tries the other pages."
                    self._notices.warn(f"{error.message_with_hint} {next_step}")
                    return
                is_named = address in self._input.unread_pages
                if opened is not self._open_sessions.shown or not is_named:
                    return  # the user has changed the text, or the session
                self._input.attach_page(address, file_text)
            if self._input.waits_to_send:
                self._input.submit()

    async def _fetch(self, address: str, opened: OpenSession) -> str:
        """Return a page as the text of a file in a prompt; raises `LMChatError`."""
        session_id = opened.conversation.header.session_id
        ending = "no page attached"
        self._show(address, "downloading a page")
        try:
            file_text = await self._pages.prompt_text(address, session_id, self._ask)
            ending = "page attached"
        finally:
            self._show("", ending)
        return file_text

    def _show(self, address: str, action: str) -> None:
        """Note which page is being fetched ("" for none), and show an action in the panel."""
        self._fetched = address
        self._status.show_action(action)

    async def _ask(self, address: PageAddress) -> bool:
        """Ask whether a page may be fetched; until the answer, nothing counts as being fetched."""
        from lmchat.tui.screens.ask_dialog import PageDialog

        self._show("", "asking about a page")
        is_allowed = bool(await self._notices.ask(PageDialog(address)))
        if is_allowed:
            self._show(address.url, "downloading a page")
        return is_allowed
