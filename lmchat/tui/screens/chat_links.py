"""Links of messages: listed, and opened after asking."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from lmchat.text import safe_line
from lmchat.tui.screens.chat_tree import ChatTree
from lmchat.tui.widgets.line import cut_middle

_MOST_ASKED = 600
"""Cells of an address that a question shows; its host is told in full."""


class ChatLinks(ChatTree):
    """Shows where links lead, and opens pages of the web, nothing else, in the user's browser."""

    def show_links(self, text: str) -> None:
        """List the links of a text; a giant one is read beside all else."""
        from lmchat.tui.widgets.chat_log.markdown.parser import links

        async def work() -> None:
            self.offer_links(await asyncio.to_thread(links, text))

        self.attempt(work, group="link")

    def offer_links(self, found: Mapping[str, str]) -> None:
        """List addresses with their words, those that can be opened; a single one is asked for at once."""
        from lmchat.tui.screens.links_dialog import LinksDialog
        from lmchat.tui.widgets.chat_log.markdown.inline import can_be_opened

        pages = {address: words for address, words in found.items() if can_be_opened(address)}
        if not pages:
            self.app.notify("This message has no links.", markup=False)
        elif len(pages) == 1:
            self.ask_to_open(*pages)
        else:
            self.app.push_screen(LinksDialog(pages), lambda chosen: self.ask_to_open(chosen or ""))

    def ask_to_open(self, address: str) -> None:
        """Ask whether a page shall be opened, and say where it is: an address may pretend to be another."""
        from lmchat.tui.screens.ask_dialog import ConfirmDialog
        from lmchat.tui.widgets.chat_log.markdown.inline import page_host

        if not address:
            return
        shown = cut_middle(safe_line(address), _MOST_ASKED)
        text = f"{shown}\n\nThis page is at {safe_line(page_host(address))}"
        self.app.push_screen(
            ConfirmDialog("Open this link?", text=text, verb="open it"),
            lambda answer: self.open_link(address) if answer else None,
        )

    def open_link(self, address: str) -> None:
        """Open a page in the browser, or copy its address where there is none."""

        async def work() -> None:
            outside = self.workspace.outside
            if not await outside.open_page(address):
                way = await outside.copy(address)
                self.app.notify(f"No browser answers here. The address: {safe_line(way)}", markup=False)

        self.attempt(work, group="link")
