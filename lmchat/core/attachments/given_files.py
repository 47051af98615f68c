"""What the user gives for a prompt: files, pages and sets, by their names or by a paste."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path

from msgspec import Struct

from lmchat.base.errors import EndpointNotAllowed, FileRefused, LMChatError, WrongUse
from lmchat.base.files.disk import current_folder, expanded_path
from lmchat.base.processes.background import run_abandonable
from lmchat.base.safe_text import marked_line
from lmchat.base.units import counted
from lmchat.core.attachments.attachment import (
    Attachment,
    ClipboardReader,
    decoding_note,
    file_attachment,
    files_outside,
    image_attachment,
    read_attachment,
    text_attachment,
    text_of,
)
from lmchat.core.attachments.dropped_files import named_files
from lmchat.core.attachments.file_sets import FileSet, parse_set_name, read_set
from lmchat.core.attachments.web_page import PageAddress, WebPages, is_page_address
from lmchat.core.config.settings import Settings

_MOST_UNASKED = 50  # files that are attached without a question
_MOST_PATHS = 8  # named in one question; the others are counted


class Question(Struct, frozen=True, kw_only=True):
    """Question whether something may be done."""

    title: str
    text: str  # lines below the title
    verb: str  # word for a yes
    refusal: LMChatError | None = None
    """Raised where nobody can be asked. Without it, a pipe means yes: its lines are no paste."""


Confirm = Callable[[Question], Awaitable[bool]]


class GivenFiles:
    """Reads what the user gives, and asks about what may not be meant."""

    def __init__(self, settings: Settings, confirm: Confirm, *, is_typed: bool = False) -> None:
        """With `is_typed`, as in an option of a command, a name is one path, which is meant.

        Pages of hosts that are not allowed are refused then, and `confirm` is asked about sets
        alone. Raises `EndpointNotAllowed` for a wrong entry of the allowed hosts.
        """
        self._pages = WebPages(settings.allowed_hosts, settings.ca_file)
        self._confirm = confirm
        self._is_typed = is_typed

    async def named(
        self, name: str, session_id: str = ""
    ) -> tuple[Sequence[Attachment], FileSet | None]:
        """Read a page, files as a terminal pastes them, one file, a folder, or a pattern.

        A set may need `require_consent_to`. For each session, the user is asked once about a host.
        """
        if is_page_address(name):
            return [await self._pages.attachment(name, session_id, self._ask_to_fetch)], None
        if not self._is_typed and (pasted := await self.pasted(name)):
            return pasted, None
        set_name = await parse_set_name(name, Path())
        if set_name is None:
            return await self.read(name), None
        await self._require_consent([set_name.folder])
        found = await read_set(set_name)
        return found.files, found

    async def require_consent_to(self, found: FileSet, window: int | None) -> None:
        """Raise `WrongUse` if a large set is not wanted; `window` is in tokens."""
        fills_half = window is not None and found.tokens > window / 2
        if len(found.files) <= _MOST_UNASKED and not fills_half:
            return
        problem = f"More than {_MOST_UNASKED} files, or half of the context window, need --yes"
        question = Question(
            title=f"Attach {counted(len(found.files), 'file')}?",
            text=found.label,
            verb="attach them",
            refusal=WrongUse(
                f"{problem}: {found.label}.", next_step="Add --yes, or name fewer files."
            ),
        )
        if not await self._confirm(question):
            raise WrongUse(
                "The files were not attached.", next_step="Name a smaller folder or a pattern."
            )

    async def pasted(self, text: str) -> Sequence[Attachment]:
        """Read the files that a text names, if it names nothing else."""
        return await self._read(await run_abandonable(partial(named_files, text)))

    async def copied(self, clipboard: ClipboardReader) -> Sequence[Attachment]:
        """Read the files that are copied, or else the image in the clipboard, or else its text."""
        if files := await self.pasted(await clipboard.paste_files()):
            return files
        if image := await clipboard.paste_image():
            return [await run_abandonable(lambda: image_attachment("clipboard.png", image))]
        text = (await clipboard.paste()).encode("utf-8", "replace")
        return [text_attachment("clipboard.txt", "text/plain", text, language="txt")]

    async def read(self, name: str) -> Sequence[Attachment]:
        return await self._read([expanded_path(name)])

    async def _read(self, paths: Sequence[Path]) -> Sequence[Attachment]:
        await self._require_consent(paths)
        return [
            await read_attachment(
                path,
                # opened by the shell, as `<(git diff)`
                may_stream=self._is_typed and path.is_relative_to("/dev/fd"),
            )
            for path in paths
        ]

    async def _require_consent(self, paths: Sequence[Path]) -> None:
        """Ask about paths outside the working folder; raise `WrongUse` after a no.

        A path may be pasted unnoticed with a text, which must not be enough to send a file.
        """
        if self._is_typed or not paths:
            return
        outside = await files_outside(paths, current_folder())
        lines: list[str] = [marked_line(str(path)) for path in outside[:_MOST_PATHS]]
        if more := len(outside) - len(lines):
            lines.append(f"and {counted(more, 'more file')}")
        question = Question(
            title="Attach from outside this folder?", text="\n".join(lines), verb="attach"
        )
        if outside and not await self._confirm(question):
            raise WrongUse("The file was not attached.", next_step="Name it again, and say yes.")

    async def _ask_to_fetch(self, address: PageAddress) -> bool:
        refusal = EndpointNotAllowed(
            f"{address.origin} is not allowed: lmchat asks only hosts that you name.",
            next_step=f"Add --allow-host {address.endpoint.netloc}.",
        )
        if self._is_typed:
            raise refusal
        return await self._confirm(
            Question(
                title="Download this page?",
                text=f"{address.url}\nHost: {address.endpoint.host}, port {address.endpoint.port}",
                verb="download",
                refusal=refusal,
            )
        )


async def read_piped(name: str, data: bytes) -> tuple[str, Attachment | None, str]:
    """Return the text of what is piped in, or its image or PDF, and what was left out of either.

    Raises `WrongUse`.
    """
    try:
        if (found := await file_attachment(name, data)) is not None:
            return "", found, found.part.left_out
        return text_of(name, data).rstrip("\n"), None, decoding_note(data)
    except FileRefused as error:
        raise WrongUse(error.message, next_step=error.next_step) from error
