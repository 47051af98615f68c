"""Saving of a message, or of a code block in it, as a file."""

from __future__ import annotations

import asyncio
import re
import unicodedata
from pathlib import PurePath
from typing import NamedTuple

from lmchat.commands.conditions import words_of
from lmchat.errors import FileExists, LMChatError
from lmchat.files.disk import expanded_path, write_new_file
from lmchat.markdown.commonmark import code_blocks
from lmchat.safe_text import safe_line
from lmchat.sessions.message import ChatMessage
from lmchat.tui.chat_view import Chat
from lmchat.tui.dialogs.ask_dialog import AskDialog, ConfirmDialog

_MOST_WORDS = 6  # of the first line, in a suggested name
_MOST_CHARS = 60  # of a suggested name, without its suffix
_REFUSED = r'[<>:"/\\|?*\x00-\x1f\x7f]'  # characters that some system refuses in names
# names of devices on Windows, whatever their suffix is
_DEVICES = re.compile(r"(?i)(con|prn|aux|nul|com\d|lpt\d)(\..*)?$")
_SUFFIXES = {
    **dict.fromkeys(("bash", "shell", "zsh", "console"), ".sh"),
    **dict.fromkeys(("text", "plain", "output"), ".txt"),
    "c++": ".cpp",
    "c#": ".cs",
    "csharp": ".cs",
    "golang": ".go",
    "haskell": ".hs",
    "javascript": ".js",
    "kotlin": ".kt",
    "latex": ".tex",
    "markdown": ".md",
    "perl": ".pl",
    "powershell": ".ps1",
    "python": ".py",
    "python3": ".py",
    "ruby": ".rb",
    "rust": ".rs",
    "typescript": ".ts",
    "yaml": ".yaml",
}
"""Suffixes of languages whose usual name in a fence is not their suffix."""
_FILE_NAME = r"[\w.+-]*\.\w{1,8}"  # a word behind the language of a fence that names a file


class _Block(NamedTuple):
    """Text to save: a code block, or the words of a message without one."""

    text: str
    info: str = ""  # what follows the opening fence, as `python garden.py`; empty without a fence


class MessageFile:
    """Writes a code block of a message into a file, the first one and then the next; or its text.

    The user is asked for the name, and before a file is overwritten.
    """

    def __init__(self, chat: Chat) -> None:
        self._chat = chat
        # what the user was asked about last, also if it was not saved then
        self._last_id = ""  # id of the message
        self._last_index = -1  # index of the code block in it

    async def save(self, message: ChatMessage) -> None:
        """Ask for a file, and write the next code block of a message into it.

        If the message has no code block, write its words. An attempt that fails returns words for
        the dialog, which then stays open.
        """
        words = words_of(message)
        blocks = await _code_blocks(message.text)
        block, position = self._next(message, blocks or [_Block(words)])

        async def attempt(name: str) -> bool | str:
            try:
                return await self._write(name, block.text, is_forced=False)
            except LMChatError as error:
                return error.message_with_hint

        dialog = AskDialog(
            "Save to which file?",
            text=position,
            value=suggested_name(block.info, words, is_code=bool(blocks)),
            verb="save",
            attempt=attempt,
        )
        await self._chat.ask(dialog)

    def _next(self, message: ChatMessage, blocks: list[_Block]) -> tuple[_Block, str]:
        """Return the block to save, and its position in words, which are empty for a single block.

        If the user was asked about this message last, it is the next block, and after the last one
        the first; otherwise it is the first block.
        """
        is_again = message.message_id == self._last_id
        self._last_index = (self._last_index + 1) % len(blocks) if is_again else 0
        self._last_id = message.message_id
        if len(blocks) == 1:
            return blocks[0], ""
        position = f"Block {self._last_index + 1} of {len(blocks)}. To save the next one: w again."
        return blocks[self._last_index], position

    async def _write(self, name: str, text: str, *, is_forced: bool) -> bool | str:
        """Write a file, and return True; if it exists, ask whether to overwrite it.

        If the user says no, return an empty text: the dialog for the name stays open, and shows no
        words. Raises `FileRefused` if the file cannot be written.
        """
        path = expanded_path(name)
        ended_text = text if text.endswith("\n") else f"{text}\n"
        try:
            await asyncio.to_thread(write_new_file, path, ended_text, is_forced=is_forced)
        except FileExists as error:
            question = ConfirmDialog("Overwrite this file?", text=error.message, verb="overwrite")
            if not await self._chat.ask(question):
                return ""
            return await self._write(name, text, is_forced=True)
        self._chat.notify(f"Saved to {safe_line(str(path.absolute()))}")
        return True


async def _code_blocks(text: str) -> list[_Block]:
    """Return the code blocks of a text that are not blank; it is parsed in a thread."""
    found = await asyncio.to_thread(code_blocks, text)
    return [_Block(block.content, block.info) for block in found if block.content.strip()]


def suggested_name(info: str, words: str, *, is_code: bool) -> str:
    """Return the name of a file for a code block, or for a message without one.

    The fence may name the file, as `python src/garden.py` does: then the name is `garden.py`.
    Otherwise it is made of the first words of the message, with the suffix of the language.

    Args:
        info: What follows the opening fence of the block: the language, and perhaps other words.
        words: The text of the message.
        is_code: Whether a code block is saved; otherwise the suffix is that of Markdown.
    """
    language, _, rest = info.strip().partition(" ")
    for word in re.split(r"[\s=\"'{}]+", rest):
        name = _valid_on_all_systems(PurePath(word.replace("\\", "/")).name)
        if re.fullmatch(_FILE_NAME, name):
            return name
    line = next((line for line in words.splitlines() if line.strip()), "")
    plain_words = re.findall(r"\w+", unicodedata.normalize("NFC", safe_line(line)))
    stem = "-".join(plain_words[:_MOST_WORDS])[:_MOST_CHARS].strip("-_") or "message"
    suffix = _suffix_of(language) if is_code else ".md"
    return _valid_on_all_systems(stem + suffix)


def _valid_on_all_systems(name: str) -> str:
    """Return a name without characters that some system refuses, and not that of a device."""
    valid = re.sub(_REFUSED, "", name.replace("\ufffd", "")).strip(". ")
    return f"_{valid}" if _DEVICES.match(valid) else valid


def _suffix_of(language: str) -> str:
    """Return the suffix of files in a language, by the name that fences have for it.

    A short name that is not in the table is a suffix itself, as `json` and `rs`.
    """
    name = language.lower()
    if name in _SUFFIXES:
        return _SUFFIXES[name]
    return f".{name}" if re.fullmatch(r"[a-z0-9]{1,5}", name) else ".txt"
