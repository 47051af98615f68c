"""Contents of a message outside the log: its text in the pager, its files, its links."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import partial
from pathlib import PurePath

from lmchat.commands.conditions import words_of
from lmchat.errors import LMChatError
from lmchat.markdown.commonmark import links
from lmchat.markdown.links import ascii_host, can_be_opened
from lmchat.safe_text import safe_line
from lmchat.sessions.details import details_text
from lmchat.sessions.message import ChatMessage, FilePart
from lmchat.sessions.stats import RECORD_DAYS
from lmchat.tui.chat_view import Chat
from lmchat.tui.dialogs.ask_dialog import ConfirmDialog
from lmchat.tui.dialogs.image_dialog import ImageDialog, decoded
from lmchat.tui.dialogs.text_dialog import LinksDialog, TextDialog
from lmchat.tui.widgets.line import cut_middle

_SUFFIXES = {f"image/{form}": f".{form}" for form in ("png", "jpeg", "webp", "gif")}
"""Suffixes for the system's viewer, by the type of the content: the name may have a wrong one."""
_ADDRESS_CELLS = 600
"""Width to which a question cuts a long address; it shows the host in full."""


class MessageContents:
    """Shows the text, the files and the links of a message in dialogs and other programs."""

    def __init__(self, chat: Chat) -> None:
        self._chat = chat

    async def page(self, message: ChatMessage) -> None:
        """Open each file of a message in the system's viewer; without files, page its text."""
        for file in message.files:
            await self._open_file(file)
        if not message.files:
            self.page_text(words_of(message))

    def page_text(self, text: str) -> None:
        """Show a text in the pager."""
        self._chat.lend_terminal_to(partial(self._chat.workspace.platform.page, text))

    def open_file(self, file: FilePart) -> None:
        """Open a file in the system's viewer, from a worker."""
        self._chat.begin(partial(self._open_file, file), "message")

    async def _open_file(self, file: FilePart) -> None:
        """Open a file in the system's viewer; its suffix is that of the type of its content."""
        stem = PurePath(safe_line(file.name)).stem
        name = stem + _SUFFIXES.get(file.media_type, ".txt")
        data = await self._chat.open_sessions.save_queue.read_file(file.digest)
        if not await self._chat.workspace.platform.open_file(name, data):
            self._chat.notify("No viewer is available on this machine.")

    async def show_files(self, message: ChatMessage) -> None:
        """Show the attached images of a message one after the other, then its attached texts."""
        images = [file for file in message.files if file.is_image]
        texts = [file for file in message.files if not file.is_image]
        if await self._show_images(images, dialogs_after=1 if texts else 0) and texts:
            await self._show_texts(texts)

    async def _show_images(self, images: Sequence[FilePart], *, dialogs_after: int) -> bool:
        """Show one image after the other; return False if the user leaves a dialog with Esc.

        `dialogs_after` is the number of dialogs that follow the last image. Each dialog says how
        many others are left.
        """
        for number, file in enumerate(images, 1):
            data = await self._chat.open_sessions.save_queue.read_file(file.digest)
            image = await decoded(self._chat.screen.app, file, data)
            dialog = ImageDialog(file, image, len(images) - number + dialogs_after)
            wants_next = await self._chat.ask(dialog)
            if not wants_next:
                return False
        return True

    async def _show_texts(self, files: Sequence[FilePart]) -> None:
        """Show the texts of files in one dialog."""
        texts = []
        for file in files:
            data = await self._chat.open_sessions.save_queue.read_file(file.digest)
            texts.append(data.decode("utf-8-sig", "replace"))
        names = ", ".join(file.name for file in files)
        self._chat.show(TextDialog(names, "\n\n".join(texts)))

    async def show_details(self, answer: ChatMessage) -> None:
        """Show everything that is known of an answer."""
        since = answer.created_at - timedelta(days=RECORD_DAYS)
        try:
            records = await self._chat.workspace.store.turn_records(since=since)
        except LMChatError:
            records = ()  # then nothing can be compared
        self._chat.show(TextDialog("Details", details_text(answer, records)))

    # Links

    async def list_links(self, message: ChatMessage) -> None:
        await self._offer_links(await asyncio.to_thread(links, message.text))

    def open_link(self, address: str) -> None:
        self._chat.begin(lambda: self._offer_links({address: ""}), "message")

    async def _offer_links(self, links: Mapping[str, str]) -> None:
        """Let the user choose a link from a list, and open it; a single link needs no list.

        Links that are no web pages are left out. If none remains, notify the user.

        Args:
            links: The texts of the links, by their addresses.
        """
        pages = {address: text for address, text in links.items() if can_be_opened(address)}
        if not pages:
            self._chat.notify("This message has no links.")
        elif len(pages) == 1:
            [address] = pages
            await self._open_page(address)
        elif chosen := await self._chat.ask(LinksDialog(pages)):
            await self._open_page(chosen)

    async def _open_page(self, address: str) -> None:
        """Open a page in the browser if the user agrees; without a browser, copy its address.

        The question names the host in full and in ASCII: an address may look like another one.
        """
        short_address = cut_middle(safe_line(address), _ADDRESS_CELLS)
        text = f"{short_address}\n\nThis page is at {safe_line(ascii_host(address))}"
        dialog = ConfirmDialog("Open this link?", text=text, verb="open it")
        if not await self._chat.ask(dialog):
            return
        if not await self._chat.workspace.platform.open_page(address):
            self._chat.copy(address, "No browser is available; address")
