"""Contents of a message outside the log: its text in the pager, its files, its links."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from pathlib import PurePath

from lmchat.domain.message import ChatMessage, FilePart
from lmchat.services.workspace import Workspace
from lmchat.text import safe_line
from lmchat.tui.message_needs import words_of
from lmchat.tui.screens.chat.background import Background
from lmchat.tui.screens.chat.notices import Notices
from lmchat.tui.screens.chat.widgets import ChatWidgets
from lmchat.tui.widgets.line import cut_middle

_SUFFIXES = {f"image/{form}": f".{form}" for form in ("png", "jpeg", "webp", "gif")}
"""Suffixes by which a viewer is chosen: that in the name may be another one."""
_ADDRESS_CELLS = 600  # of an address that a question shows; its host is shown in full


class MessageContents:
    """Opens what a message holds in other programs and dialogs."""

    def __init__(
        self,
        workspace: Workspace,
        widgets: ChatWidgets,
        notices: Notices,
        background: Background,
    ) -> None:
        self._platform = workspace.platform
        self._save_queue = workspace.open_sessions.save_queue
        self._widgets = widgets
        self._notices = notices
        self._background = background

    async def page(self, message: ChatMessage) -> None:
        """Open a prompt's files in the system's viewer, other messages in the pager."""
        for part in message.files:
            await self._open_file(part)
        if not message.files:
            page = partial(self._platform.page, words_of(message))
            self._background.lend_terminal_to(page)

    async def _open_file(self, part: FilePart) -> None:
        stem = PurePath(safe_line(part.name)).stem
        name = stem + _SUFFIXES.get(part.media_type, ".txt")
        data = await self._save_queue.read_file(part.digest)
        if not await self._platform.open_file(name, data):
            self._notices.notify("No viewer is available on this machine.")

    async def show_files(self, message: ChatMessage) -> None:
        """Show a prompt's images one after the other; without any, its texts."""
        images = [part for part in message.files if part.is_image]
        if images:
            await self._show_images(images)
        else:
            await self._show_texts(message)

    async def _show_images(self, images: list[FilePart]) -> None:
        from lmchat.tui.screens.image_dialog import ImageDialog, decoded

        for number, part in enumerate(images, 1):
            data = await self._save_queue.read_file(part.digest)
            image = await decoded(self._widgets.log.app, part, data)
            open_file = partial(self._background.attempt, partial(self._open_file, part), "message")
            dialog = ImageDialog(part, image, len(images) - number, open_file)
            if not await self._notices.ask(dialog):
                return

    async def _show_texts(self, message: ChatMessage) -> None:
        from lmchat.tui.screens.text_dialog import TextDialog

        texts = []
        for part in message.files:
            data = await self._save_queue.read_file(part.digest)
            texts.append(data.decode("utf-8-sig", "replace"))
        names = ", ".join(part.name for part in message.files)
        self._notices.show(TextDialog(names, "\n\n".join(texts)))

    # Links

    async def list_links(self, message: ChatMessage) -> None:
        from lmchat.tui.widgets.chat_log.markdown.parser import links

        await self._offer_links(await asyncio.to_thread(links, message.text))

    def open_link(self, address: str) -> None:
        self._background.attempt(lambda: self._offer_links({address: ""}), group="message")

    async def _offer_links(self, found: Mapping[str, str]) -> None:
        """List the addresses that can be opened; ask about a single one at once."""
        from lmchat.tui.screens.text_dialog import LinksDialog
        from lmchat.tui.widgets.chat_log.markdown.inline import can_be_opened

        pages = {address: words for address, words in found.items() if can_be_opened(address)}
        if not pages:
            self._notices.notify("This message has no links.")
            return
        address: str | None = next(iter(pages))
        if len(pages) > 1:
            address = await self._notices.ask(LinksDialog(pages))
        if address:
            await self._open_page(address)

    async def _open_page(self, address: str) -> None:
        """Ask before a page is opened, and show its host: an address may pretend to be another."""
        from lmchat.tui.screens.ask_dialog import ConfirmDialog
        from lmchat.tui.widgets.chat_log.markdown.inline import page_host

        shown = cut_middle(safe_line(address), _ADDRESS_CELLS)
        text = f"{shown}\n\nThis page is at {safe_line(page_host(address))}"
        dialog = ConfirmDialog("Open this link?", text=text, verb="open it")
        if not await self._notices.ask(dialog):
            return
        if not await self._platform.open_page(address):
            copied = safe_line(await self._platform.copy(address))
            words = f"{copied[:1].lower()}{copied[1:]}"
            self._notices.notify(f"No browser is available. Address: {words}")
