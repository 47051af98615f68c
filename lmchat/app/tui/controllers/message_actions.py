"""Commands on single messages: copy, save, edit, files, links, details."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import PurePath, PureWindowsPath

from lmchat.app.commands.conditions import NO_CODE
from lmchat.app.commands.shared import CodeRing
from lmchat.app.markdown_lines.code import language_and_file, language_of
from lmchat.app.tui.chat_log.excerpt import is_long
from lmchat.app.tui.controllers.export_import import write_asking
from lmchat.app.tui.controllers.prompt_text import PromptText
from lmchat.app.tui.dialogs.ask_dialog import AskDialog, ConfirmDialog
from lmchat.app.tui.dialogs.report_texts import details
from lmchat.app.tui.dialogs.text_dialog import LinksDialog, TextDialog
from lmchat.app.tui.screen_services import ScreenServices
from lmchat.app.tui.widgets.line import cut_middle
from lmchat.base import units
from lmchat.base.errors import LMChatError
from lmchat.base.files.disk import expanded_path, write_new_file
from lmchat.base.markdown.commonmark import code_blocks, links
from lmchat.base.markdown.links import ascii_host, can_be_opened
from lmchat.base.safe_text import safe_line
from lmchat.core.sessions.message import (
    AnswerState,
    ChatMessage,
    Failure,
    FilePart,
    Role,
    now,
    readable_text,
)
from lmchat.core.sessions.prompts import joined_paragraphs, text_with_files

_ADDRESS_CELLS = 600
"""Width to which a question cuts a long address; it shows the host in full."""
_VIEWED_SUFFIXES = {f"image/{form}": f".{form}" for form in ("png", "jpeg", "webp", "gif")}
_MOST_WORDS = 6  # of the first line, in a suggested name
_MOST_CHARS = 60  # of a suggested name, without its suffix
_SUFFIXES = {
    "bash": "sh",
    "javascript": "js",
    "markdown": "md",
    "python": "py",
    "rust": "rs",
    "shell": "sh",
    "typescript": "ts",
}
"""Suffixes of languages; other short names of languages, as `json`, are suffixes themselves."""


class MessageActions:
    def __init__(self, ui: ScreenServices, prompt_text: PromptText) -> None:
        self._ui = ui
        self._log = ui.widgets.log
        self._chat = ui.workspace.chat
        self._store = ui.workspace.store
        self._platform = ui.workspace.platform
        self._prompt_text = prompt_text
        self._copied_code = CodeRing()  # in texts, not in reasoning
        self._saved_code = CodeRing()

    def fold(self, message: ChatMessage) -> Awaitable[None] | None:
        """Fold or unfold a message, and show its files, whose rows in the log never unfold."""
        self._focus(message)
        self._log.toggle("is_collapsed")
        return self._open_files(message) if message.files else None

    def switch_source(self, message: ChatMessage) -> None:
        self._focus(message)
        self._log.toggle("is_source")

    def copy_code(
        self, message: ChatMessage, index: int | None = None, *, is_thought: bool = False
    ) -> None:
        """Copy a code block of a message, and say which one it is.

        A click gives its index among the blocks of the text, or with `is_thought` of the reasoning.
        None: the block of the text after the one that was copied last, in a ring.
        """
        # `current`: after a click, the message may be as it was when its answer started to stream
        message = self._chat.active.current(message)
        blocks = code_blocks(message.reasoning if is_thought else message.text)
        # `conditions` looks for a fence, but only parsing tells whether it is a block
        if not blocks:
            self._ui.notify(NO_CODE)
            return
        ring = CodeRing() if is_thought else self._copied_code
        block, place = ring.take(message, blocks, index)
        self._ui.copy(block.content, place)

    def _focus(self, message: ChatMessage) -> None:
        """Let the user see what changes."""
        chosen = self._log.focused_message
        if chosen is None or chosen.message_id != message.message_id:
            self._log.go_to_message(message.message_id)

    async def copy(self, message: ChatMessage) -> None:
        """Copy the text with its text files, or else reasoning or calls; a failure follows."""
        contents: dict[str, bytes] = {}
        for file in message.files:
            # without its content, `text_with_files` says that the file is missing
            with suppress(LMChatError):
                contents[file.digest] = await self._store.files.read(file.digest)
        text = text_with_files(message.text, message.files, contents)
        text = text or readable_text(message)
        failure = message.failure
        # the log shows no failure of a complete message
        if failure is not None and message.state is not AnswerState.COMPLETE:
            text = joined_paragraphs(text, failure_text(failure))
        self._ui.copy(text)

    async def edit(self, message: ChatMessage) -> None:
        """Edit a prompt; for an answer or a tool message, the prompt before it on the path."""
        session = self._chat.active
        await session.load_older()  # the prompt may not be read yet
        prompt: ChatMessage | None = message
        while prompt is not None and prompt.role is not Role.USER:
            prompt = session.messages.find(prompt.parent_id or "")
        if prompt is None:
            self._ui.notify("There is no prompt before this answer.")
        else:
            self._prompt_text.start_edit(prompt)

    # Files and links

    async def open_in_pager(self, message: ChatMessage) -> None:
        """Show the text of a message in the user's pager, or its files in the system's viewer.

        Any text of which the log shows only the two ends is in the pager, too.
        """
        await self._open_in_viewer(message.files)
        arguments = (call.arguments for call in message.tool_calls)
        texts = [text for text in (message.reasoning, *arguments, message.text) if is_long(text)]
        if not message.files:
            texts.append(readable_text(message))
        if texts:
            self._ui.show_in_pager("\n\n".join(dict.fromkeys(texts)))

    async def _open_in_viewer(self, files: Sequence[FilePart]) -> None:
        """Open copies of files; copy the paths of those for which there is no viewer.

        The suffix follows the type of the content, as the name may have a wrong one.
        """
        paths = []
        for file in files:
            suffix = _VIEWED_SUFFIXES.get(file.media_type, ".txt")
            name = PurePath(safe_line(file.name)).stem + suffix
            data = await self._store.files.read(file.digest)
            paths.append(await self._platform.open_file(name, data))
        if unseen := "\n".join(filter(None, paths)):
            self._ui.copy(unseen, f"No viewer is available. {unseen}")

    async def _open_files(self, message: ChatMessage) -> None:
        """Open the images of a message in the viewer, and show its texts in one dialog."""
        await self._open_in_viewer([file for file in message.files if file.is_image])
        texts: list[str] = []
        for file in message.files:
            if not file.is_image:
                data = await self._store.files.read(file.digest)
                texts.append(data.decode("utf-8-sig", "replace"))
        if texts:
            names = ", ".join(file.name for file in message.files if not file.is_image)
            self._ui.open_dialog(TextDialog(names, "\n\n".join(texts)))

    async def list_links(self, message: ChatMessage) -> None:
        await self._offer_links(await asyncio.to_thread(links, message.text))

    def open_link(self, address: str) -> None:
        self._ui.start(lambda: self._offer_links({address: ""}), "message")

    async def _offer_links(self, texts_by_address: Mapping[str, str]) -> None:
        """Open a link that the user chooses; a single one needs no list.

        The question names the host in full and in ASCII, as an address may look like another one.
        """
        links_to_pages = {
            address: text for address, text in texts_by_address.items() if can_be_opened(address)
        }
        if not links_to_pages:
            self._ui.notify("This message has no links.")
            return
        [address, *others] = links_to_pages
        if others:
            address = await self._ui.ask(LinksDialog(links_to_pages))
        if not address:  # the user has left the list
            return
        short_address = cut_middle(safe_line(address), _ADDRESS_CELLS)
        text = f"{short_address}\n\nThis page is at {safe_line(ascii_host(address))}"
        dialog = ConfirmDialog("Open this link?", text=text, verb="open it")
        if await self._ui.ask(dialog) and not await self._platform.open_in_browser(address):
            self._ui.copy(address, "No browser is available; address")

    def open_details(self, answer: ChatMessage) -> None:
        local = answer.created_at.astimezone()
        when = f"{units.day(local, now().astimezone())} {local:%H:%M}"
        product = answer.stats.product if answer.stats else ""
        figures = [*filter(None, (answer.model, product, when))]
        self._ui.open_dialog(TextDialog("Details", partial(details, answer), figures))

    async def save(self, message: ChatMessage) -> None:
        """Ask for a file, and write a code block of a message into it; without code, its words.

        Each further call takes the next block, in a ring.
        """
        words = readable_text(message)
        # without code; `suggested_name` says what `info` is
        text = words
        info = "markdown"
        place = ""
        if blocks := await asyncio.to_thread(code_blocks, message.text):
            block, place = self._saved_code.take(message, blocks)
            text, info = block.content, block.info
        ended_text = text.removesuffix("\n") + "\n"

        dialog = AskDialog(
            "Save to which file?",
            text=place and f"{place}.",
            value=suggested_name(info, words),
            verb="save",
            attempt=partial(self._write, ended_text),
        )
        self._ui.open_dialog(dialog)

    async def _write(self, text: str, name: str) -> None:
        # `write_asking` adds `is_forced`
        write = partial(asyncio.to_thread, write_new_file, expanded_path(name), text)
        await write_asking(self._ui, write, "Saved")


def suggested_name(info: str, text: str) -> str:
    """Return the name of a file for a code block, or for the words of a message.

    `info` is what the opening fence says: the language, and often the name of a file, as `python
    garden.py`. Without one, the first words of the message make a name.
    """
    language = language_of(info)
    _, path = language_and_file(info.strip())
    name = PureWindowsPath(path).name  # without folders, whether they are divided by / or by \\
    if re.fullmatch(r"\w[\w.-]{0,50}\.\w{1,9}", name):
        return name
    plain_words = re.findall(r"\w+", safe_line(text.strip().partition("\n")[0]))
    stem = "-".join(plain_words[:_MOST_WORDS])[:_MOST_CHARS].strip("-_") or "message"
    suffix = _SUFFIXES.get(language.lower(), language.lower())
    if not re.fullmatch(r"[a-z0-9]{1,5}", suffix):
        suffix = "txt"
    return f"{stem}.{suffix}"


def failure_text(failure: Failure) -> str:
    failure_id = f"error id {failure.failure_id}" if failure.failure_id else ""
    lines = [failure.message, failure.hint, failure.details, failure_id]
    return "\n".join(line for line in lines if line)
