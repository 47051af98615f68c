"""Pages of the web that are attached to the prompt with `/file`."""

from __future__ import annotations

import asyncio
from functools import partial

from lmchat.attachments.web_page import PageAddress
from lmchat.safe_text import safe_line
from lmchat.services.open_sessions import OpenSession
from lmchat.tui.chat_view import Chat
from lmchat.tui.controllers.prompt_text import PromptText
from lmchat.tui.controllers.status import StatusDisplay
from lmchat.tui.dialogs.ask_dialog import page_question

_GROUP = "pages"  # of the workers that fetch


class PromptPages:
    """Fetches pages, one after the other, once the user allows it."""

    def __init__(self, chat: Chat, status: StatusDisplay, prompt_text: PromptText) -> None:
        self._chat = chat
        self._status = status
        self._prompt_text = prompt_text
        self._lock = asyncio.Lock()  # held while a page is fetched: one after the other
        self._fetched = ""  # the address that is being fetched; empty if none is

    @property
    def note(self) -> str:
        """Words for what is being fetched; empty if nothing is."""
        return f"Downloading: {safe_line(self._fetched)}" if self._fetched else ""

    def attach(self, address: str) -> None:
        """Fetch a page, and put it into the prompt of the session that is shown now."""
        work = partial(self._attach, address, self._chat.open_sessions.shown)
        self._chat.begin(work, _GROUP, typed=f"/file {address}")

    def stop(self) -> bool:
        """Stop what is being fetched; return whether anything was."""
        return self._chat.stop(_GROUP)

    async def _attach(self, address: str, opened: OpenSession) -> None:
        ending = "no page attached"
        async with self._lock:
            self._show(address, "downloading a page")
            try:
                file_text = await self._chat.workspace.pages.prompt_text(
                    address, opened.session_id, self._ask
                )
                ending = "page attached"
            finally:
                self._show("", ending)
        self._prompt_text.add_file(opened, file_text)

    def _show(self, address: str, action: str) -> None:
        """Note which page is being fetched ("" for none), and show an action in the panel."""
        self._fetched = address
        self._status.show_action(action)

    async def _ask(self, address: PageAddress) -> bool:
        """Ask whether a page may be fetched; until the answer, nothing counts as being fetched."""
        self._show("", "asking about a page")
        is_allowed = bool(await self._chat.ask(page_question(address)))
        if is_allowed:
            self._show(address.url, "downloading a page")
        return is_allowed
